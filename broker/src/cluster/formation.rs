//! How a node becomes part of a cluster: it founds one, joins one, or waits for one.
//!
//! ```text
//! empty directory, no --join      founds
//! empty directory, --join         asks those addresses until `rule` says what to do
//! a cluster's directory           goes on there; --join may name only nodes of the same cluster
//! ```
//! The cluster's id is that of the directory which founded it, so that a founder that crashes before
//! its metadata group exists knows that nobody else will found it, and a joiner never founds a second
//! group under the same id.
//!
//! A node that joins is registered by any member on its behalf; the leader of the metadata group then
//! sends it the metadata.

mod message;
pub(crate) mod reception;
mod rule;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::join_all;
use protocol::types::LogIndex;
use raft::peers::{PeerAddress, Peers, ServiceId};
use raft::types::ReplicaId;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use self::message::{Answer, Ask};
use self::reception::Reception;
use self::rule::{Heard, Verdict};
use super::image::BrokerImage;
use crate::config::HostPort;

/// How long an address may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a member may take to have a node registered.
const REGISTER_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two rounds of questions.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// Between two sentences that say for whom this node waits.
const TELL_EVERY: Duration = Duration::from_secs(5);
/// The first such sentence; most waits are over before.
const TELL_AFTER: Duration = Duration::from_secs(1);

/// Why a node cannot become part of a cluster.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FormationError {
    /// It was told to join two.
    #[error("{} belongs to cluster {}, and {} to cluster {}", .0[0].0, .0[0].1, .0[1].0, .0[1].1)]
    TwoClusters(Box<[(HostPort, String); 2]>),
    /// Its data is of another cluster.
    #[error("the data directory belongs to cluster {ours}, and {address} to cluster {theirs}")]
    OtherCluster {
        /// Of the data.
        ours: String,
        /// Who was asked.
        address: HostPort,
        /// Its cluster.
        theirs: String,
    },
    /// A member says that it never will.
    #[error("{address} refuses to take this node in: {why}")]
    Refused {
        /// Who was asked.
        address: HostPort,
        /// Its word.
        why: String,
    },
}

/// The id of a cluster that a directory founds.
pub(crate) fn founded_id(directory_id: Uuid) -> String {
    URL_SAFE_NO_PAD.encode(directory_id.as_bytes())
}

/// Finds out which cluster a node with an empty directory belongs to: one that it founds, under
/// [`founded_id`], or one that it joins. Waits as long as it takes. Safe to drop.
///
/// # Errors
/// [`FormationError::TwoClusters`].
pub(crate) async fn seek(
    peers: &Peers,
    reception: &Reception,
    join: &[HostPort],
) -> Result<String, FormationError> {
    let me = peers.me();
    let mut waiting = Waiting::new();
    loop {
        let answers = ask_all(peers, join).await;
        reception.heard(rule::names(me, &answers));
        match rule::judge(me, &answers) {
            Verdict::Join(cluster_id) => return Ok(cluster_id),
            Verdict::Found => return Ok(founded_id(me.directory_id)),
            Verdict::TwoClusters(both) => return Err(FormationError::TwoClusters(Box::new(both))),
            Verdict::Wait(what) => waiting.tell(&what),
        }
        sleep(ASK_EVERY).await;
    }
}

/// Refuses to go on with data of cluster `ours` if one of `join` belongs to another. Who does not
/// answer soon is not waited for: a member must start also when all others are down.
///
/// # Errors
/// [`FormationError::OtherCluster`].
pub(crate) async fn check(
    peers: &Peers,
    join: &[HostPort],
    ours: &str,
) -> Result<(), FormationError> {
    for (address, heard) in ask_all(peers, join).await {
        if let Heard::Member { cluster_id, .. } | Heard::Bound { cluster_id, .. } = heard
            && cluster_id != ours
        {
            let ours = ours.to_owned();
            return Err(FormationError::OtherCluster { ours, address, theirs: cluster_id });
        }
    }
    Ok(())
}

async fn ask_all(peers: &Peers, join: &[HostPort]) -> Vec<(HostPort, Heard)> {
    let asked = join.iter().map(|address| async {
        let heard = match ask(peers, address, &Ask::Who, ANSWER_TIMEOUT).await {
            Ok((replica, Answer::Waiting(names))) => Heard::Waiting { replica, names },
            Ok((replica, Answer::Bound(cluster_id))) => Heard::Bound { replica, cluster_id },
            Ok((replica, Answer::Member { cluster_id, .. })) => {
                Heard::Member { replica, cluster_id }
            }
            Ok((replica, other)) => Heard::Nothing(format!("{replica} answers {other:?}")),
            Err(why) => Heard::Nothing(why),
        };
        (address.clone(), heard)
    });
    join_all(asked).await
}

async fn ask(
    peers: &Peers,
    address: &HostPort,
    ask: &Ask,
    timeout: Duration,
) -> Result<(ReplicaId, Answer), String> {
    let to = PeerAddress { host: address.host.clone(), port: address.port };
    let request = vec![ask.encode()];
    let called = peers.call_address(&to, ServiceId::FORMATION, request, timeout).await;
    let (caller, answer) = called.map_err(|error| error.to_string())?;
    let answer = Answer::decode(&answer).map_err(|error| error.to_string())?;
    Ok((caller.replica, answer))
}

/// Has a member at one of `addresses` register this node; tries each once.
///
/// # Errors
/// [`FormationError::Refused`]. `Ok(Err(..))` says why none of them has done it yet.
pub(super) async fn register(
    peers: &Peers,
    addresses: &BTreeSet<HostPort>,
    image: &BrokerImage,
) -> Result<Result<LogIndex, String>, FormationError> {
    let me = peers.me();
    let request = Ask::Register { broker: me.broker_id, image: image.clone() };
    let mut answers = Vec::new();
    for address in addresses {
        match ask(peers, address, &request, REGISTER_TIMEOUT).await {
            Ok((_, Answer::Registered(index))) => return Ok(Ok(index)),
            Ok((_, Answer::Refused(why))) => {
                return Err(FormationError::Refused { address: address.clone(), why });
            }
            Ok((_, Answer::Later(why))) | Err(why) => answers.push(format!("{address}: {why}")),
            Ok((_, other)) => answers.push(format!("{address}: {other:?}")),
        }
    }
    Ok(Err(answers.join("; ")))
}

/// Says now and then what this node waits for.
#[derive(Debug)]
pub(super) struct Waiting {
    next: Instant,
}

impl Waiting {
    pub(super) fn new() -> Self {
        Self { next: Instant::now() + TELL_AFTER }
    }

    /// Says that it waits `what`, unless it has said something a moment ago.
    pub(super) fn tell(&mut self, what: &str) {
        let now = Instant::now();
        if now >= self.next {
            self.next = now + TELL_EVERY;
            tracing::info!("waiting {what}");
        }
    }
}
