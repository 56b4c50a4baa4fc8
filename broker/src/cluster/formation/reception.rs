//! What other nodes are told who ask how to form or join a cluster: the service behind
//! [`super::seek`].
//!
//! It answers from the moment that the inter-node port is open. Everybody may ask it, also a node of
//! no cluster; a node of another cluster has been refused before.

use std::collections::BTreeSet;
use std::sync::Arc;

use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use protocol::types::BrokerId;
use raft::peers::{Caller, Message, PeerAddress, Peers, Service, ServiceId};
use raft::replica::SeamFuture;
use raft::types::ReplicaId;
use tokio::time::timeout;

use super::message::{Answer, Ask};
use crate::cluster::command::Command;
use crate::cluster::controller::Controller;
use crate::cluster::image::{BrokerImage, NodeImage};
use crate::cluster::nodes;
use crate::config::HostPort;

/// How long the metadata group may take: less than who asks waits.
const PROPOSE_TIMEOUT: Duration = Duration::from_secs(8);
/// How long a node may take to say that it is still there when another one comes with its id.
const STILL_THERE_TIMEOUT: Duration = Duration::from_secs(1);

/// Answers for this node.
#[derive(Debug)]
pub(crate) struct Reception {
    stage: Mutex<Stage>,
}

/// Where this node stands.
#[derive(Debug, Clone)]
enum Stage {
    /// In no cluster; whom it has heard.
    Waiting(Option<BTreeSet<ReplicaId>>),
    /// About to be a member.
    Bound(String),
    /// A member.
    Member(Member),
}

/// What a member needs to take others in.
#[derive(Debug, Clone)]
struct Member {
    cluster_id: String,
    controller: Arc<Controller>,
    peers: Peers,
}

impl Reception {
    /// For a node that belongs to no cluster yet.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { stage: Mutex::new(Stage::Waiting(None)) })
    }

    /// The node has asked all its addresses once more.
    pub(super) fn heard(&self, names: Option<BTreeSet<ReplicaId>>) {
        *self.stage.lock() = Stage::Waiting(names);
    }

    /// The node's data directory belongs to this cluster now.
    pub(crate) fn bind(&self, cluster_id: String) {
        *self.stage.lock() = Stage::Bound(cluster_id);
    }

    /// The node is a member.
    pub(in crate::cluster) fn open(
        &self,
        cluster_id: String,
        controller: Arc<Controller>,
        peers: Peers,
    ) {
        *self.stage.lock() = Stage::Member(Member { cluster_id, controller, peers });
    }

    /// The node takes nobody in any more.
    pub(in crate::cluster) fn close(&self) {
        let mut stage = self.stage.lock();
        if let Stage::Member(Member { cluster_id, .. }) = &*stage {
            *stage = Stage::Bound(cluster_id.clone());
        }
    }

    async fn answer(&self, from: ReplicaId, ask: Ask) -> Answer {
        let stage = self.stage.lock().clone();
        match (stage, ask) {
            (Stage::Waiting(names), Ask::Who) => Answer::Waiting(names),
            (Stage::Bound(cluster_id), Ask::Who) => Answer::Bound(cluster_id),
            (Stage::Member(Member { cluster_id, controller, .. }), Ask::Who) => {
                Answer::Member { cluster_id, nodes: nodes::of(&controller.image()) }
            }
            (Stage::Member(member), Ask::Register { broker, image }) => {
                member.register(from, broker, image).await
            }
            (Stage::Waiting(_) | Stage::Bound(_), Ask::Register { .. }) => {
                Answer::Later("this node is not a member yet".to_owned())
            }
        }
    }
}

impl Service for Reception {
    fn call(
        self: Arc<Self>,
        from: Caller,
        request: Bytes,
    ) -> SeamFuture<'static, Result<Message, String>> {
        Box::pin(async move {
            let ask = Ask::decode(&request).map_err(|error| error.to_string())?;
            Ok(vec![self.answer(from.replica, ask).await.encode()])
        })
    }
}

impl Member {
    async fn register(&self, from: ReplicaId, broker: BrokerId, image: BrokerImage) -> Answer {
        let node = image.node.as_ref().filter(|node| node.directory_id == from.directory_id);
        let Some(node) = node.filter(|_| broker == from.broker_id) else {
            return Answer::Refused(format!("{from} may register itself only"));
        };
        let address = HostPort { host: node.host.clone(), port: node.port };
        if !address.is_plausible() {
            return Answer::Refused(format!("nobody can connect to {address}"));
        }
        let known = self.controller.image().brokers.get(&broker).cloned();
        let before = known.and_then(|known| known.node);
        let before = before.filter(|before| before.directory_id != from.directory_id);
        if let Some(before) = before
            && self.is_there(broker, &before).await
        {
            return Answer::Later(format!(
                "another node with the id {broker} is running: give each its own --node-id"
            ));
        }
        let registering = self.controller.propose(Command::RegisterBroker { broker, image });
        match timeout(PROPOSE_TIMEOUT, registering).await {
            Ok(Ok(outcome)) => Answer::Registered(outcome.index),
            Ok(Err(error)) => Answer::Later(error.to_string()),
            Err(_elapsed) => Answer::Later("no answer of the metadata group".to_owned()),
        }
    }
    /// Whether a node still answers where it was, on the same disk.
    async fn is_there(&self, broker_id: BrokerId, node: &NodeImage) -> bool {
        let replica = ReplicaId { broker_id, directory_id: node.directory_id };
        if replica == self.peers.me() {
            return true;
        }
        let address = PeerAddress { host: node.host.clone(), port: node.port };
        let who = vec![Ask::Who.encode()];
        let asking = ServiceId::FORMATION;
        let answer = self.peers.call_address(&address, asking, who, STILL_THERE_TIMEOUT).await;
        answer.is_ok_and(|(caller, _)| caller.replica == replica)
    }
}
