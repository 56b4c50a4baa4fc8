//! All groups of partitions in which this node takes part.
//!
//! It opens and closes them, finds the group that a peer's request is for, remembers what they need
//! beside their logs, and sees to it that each has a leader: the preferred replica of a group
//! campaigns when it opens, and when a broker is found to be gone the groups that it led elect
//! another (`takeover`). It never says what a partition is for.

mod answers;
mod campaign;
mod change;
mod leaderships;
mod parking;
mod returners;
mod takeover;
mod unfit;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;
use protocol::types::BrokerId;
use storage::device::Device;
use storage::error::OpenError;
use storage::log::Log;
use tokio::sync::Notify;

use crate::group::{Beginning, Group, GroupParts};
pub use crate::group::{ChangeError, Clock};
use crate::metrics;
use crate::peers::{Peers, ServiceId};
use crate::replica::Replica;
pub use crate::types::{GroupId, ReplicaId};
use crate::votes::Votes;
use answers::{Answer, Answers};
use leaderships::Changes;
pub use leaderships::Leaderships;

/// The file in which votes and progress of all groups are kept.
const VOTES: &str = "votes";
/// How often it is noted how far the groups have come.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);
/// Groups that are opened within this are told of together.
const ANNOUNCE_AFTER: Duration = Duration::from_millis(5);
/// How long a transfer of leadership is waited for.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(3);
/// How often it is looked whether the next leader has all records.
const CATCH_UP_LOOK_EVERY: Duration = Duration::from_millis(5);
/// How long the hand-over of all leaderships may take.
const HAND_OVER_TIMEOUT: Duration = Duration::from_secs(10);

/// What the groups of a node are started with.
pub struct GroupsConfig {
    /// This node.
    pub me: ReplicaId,
    /// How it talks to the others.
    pub peers: Peers,
    /// Where the votes are kept.
    pub device: Arc<dyn Device>,
    /// A directory that exists; the file `votes` in it belongs to the groups.
    pub directory: PathBuf,
    /// The wall clock.
    pub clock: Clock,
}

/// Why a group was not opened.
#[derive(Debug, thiserror::Error)]
pub enum GroupError {
    /// The group has no replica on this node.
    #[error("{me} is not among the voters of {group}")]
    NotAVoter {
        /// The group.
        group: GroupId,
        /// This node.
        me: ReplicaId,
    },
    /// It is just being opened or closed by another call.
    #[error("{0} is being opened or closed")]
    Busy(GroupId),
    /// Its log or its vote cannot be used.
    #[error("{group} cannot be opened: {cause}")]
    Failed {
        /// The group.
        group: GroupId,
        /// Why.
        cause: io::Error,
    },
}

/// Why a leadership was not transferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// This node has no such group.
    #[error("{0} is not open here")]
    Unknown(GroupId),
    /// This node does not lead it.
    #[error("{0} is not led from here")]
    NotLeader(GroupId),
    /// That broker has no replica of it.
    #[error("broker {1} has no replica of {0}")]
    NotAVoter(GroupId, BrokerId),
    /// Its disk is not fit for it.
    #[error("the disk of broker {1} is unfit, so that it does not lead {0}")]
    Unfit(GroupId, BrokerId),
    /// It did not take the leadership in time.
    #[error("broker {1} did not take over {0} in time")]
    TimedOut(GroupId, BrokerId),
}

/// The groups of this node. Cheap to clone; they run until [`Groups::shutdown`].
#[derive(Clone)]
pub struct Groups {
    inner: Arc<Inner>,
}

struct Inner {
    me: ReplicaId,
    peers: Peers,
    votes: Votes,
    clock: Clock,
    groups: Mutex<BTreeMap<GroupId, Slot>>,
    changes: Arc<Changes>,
    opened: Opened,
}

/// Groups that were opened and of which the others were not told yet.
#[derive(Default)]
struct Opened {
    ids: Mutex<Vec<GroupId>>,
    wake: Arc<Notify>,
}

/// A group as far as this node has it.
#[derive(Clone)]
enum Slot {
    /// Somebody opens or closes it.
    Busy,
    Open(Arc<Group>),
}

impl fmt::Debug for Groups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Groups").field("me", &self.inner.me).finish_non_exhaustive()
    }
}

impl Groups {
    /// Reads what is remembered of the groups and begins to answer for them.
    ///
    /// # Errors
    /// [`OpenError`] of the file of the votes.
    pub async fn start(config: GroupsConfig) -> Result<Self, OpenError> {
        let GroupsConfig { me, peers, device, directory, clock } = config;
        let path = directory.join(VOTES);
        let failed = path.clone();
        let opened = tokio::task::spawn_blocking(move || Votes::open(device, &path)).await;
        let votes = opened.map_err(|stopped| OpenError::Io {
            path: failed,
            operation: "open",
            cause: io::Error::other(stopped),
        })??;
        let inner = Arc::new(Inner {
            me,
            peers,
            votes,
            clock,
            groups: Mutex::default(),
            changes: Arc::new(Changes::default()),
            opened: Opened::default(),
        });
        let service = |answer| Arc::new(Answers { inner: Arc::downgrade(&inner), answer });
        inner.peers.serve(ServiceId::PARTITIONS, service(Answer::Partitions));
        inner.peers.serve(ServiceId::TAKEOVER, service(Answer::Takeover));
        tokio::spawn(note_progress(Arc::downgrade(&inner)));
        tokio::spawn(parking::run(Arc::downgrade(&inner)));
        tokio::spawn(announce(Arc::downgrade(&inner)));
        tokio::spawn(returners::greet(Arc::downgrade(&inner)));
        tokio::spawn(unfit::run(Arc::downgrade(&inner)));
        Ok(Self { inner })
    }

    /// Opens the replica of a group on this node, whose log is `log`. `voters[0]` is preferred as its
    /// leader. A group that is open already is returned as it is.
    ///
    /// The log must be a replicated one, without another writer and listener, and stay open until
    /// [`Groups::close`] returns.
    ///
    /// # Errors
    /// [`GroupError`].
    pub async fn open(
        &self,
        id: GroupId,
        log: Arc<Log>,
        voters: Vec<ReplicaId>,
    ) -> Result<Arc<dyn Replica>, GroupError> {
        self.begin(Beginning::Found, id, log, voters).await
    }

    async fn begin(
        &self,
        beginning: Beginning,
        id: GroupId,
        log: Arc<Log>,
        voters: Vec<ReplicaId>,
    ) -> Result<Arc<dyn Replica>, GroupError> {
        let inner = &self.inner;
        if !voters.contains(&inner.me) {
            return Err(GroupError::NotAVoter { group: id, me: inner.me });
        }
        {
            let mut groups = inner.groups.lock();
            match groups.get(&id) {
                Some(Slot::Open(group)) => return Ok(Arc::new(Arc::clone(group))),
                Some(Slot::Busy) => return Err(GroupError::Busy(id)),
                None => groups.insert(id, Slot::Busy),
            };
        }
        // On a task of its own: a caller that goes away must not leave the group half open.
        let inner = Arc::clone(inner);
        let opening = tokio::spawn(async move { inner.open(beginning, id, log, voters).await });
        let opened = opening.await.unwrap_or_else(|stopped| Err(io::Error::other(stopped)));
        match opened {
            Ok(group) => Ok(Arc::new(group)),
            Err(cause) => {
                self.inner.groups.lock().remove(&id);
                Err(GroupError::Failed { group: id, cause })
            }
        }
    }

    /// Stops the replica of a group on this node. Its log may be closed or deleted then.
    pub async fn close(&self, id: GroupId) {
        let group = {
            let mut groups = self.inner.groups.lock();
            match groups.get(&id).cloned() {
                Some(Slot::Open(group)) => {
                    groups.insert(id, Slot::Busy);
                    group
                }
                Some(Slot::Busy) | None => return,
            }
        };
        let inner = Arc::clone(&self.inner);
        let closing = tokio::spawn(async move { inner.close(group).await });
        if let Err(error) = closing.await {
            tracing::error!(group = %id, %error, "a group was not closed as it should");
        }
    }

    /// Forgets the vote of a group whose partition was deleted; closes it first if it is open.
    pub async fn forget(&self, id: GroupId) {
        self.close(id).await;
        if let Err(error) = self.inner.votes.forget(id).await {
            // It is asked for again when the partition is found missing at the next start.
            tracing::warn!(group = %id, %error, "the vote of a deleted group is still there");
        }
    }

    /// The leaders of all groups of this node: those known now, and each change.
    #[must_use]
    pub fn leaderships(&self) -> Leaderships {
        self.inner.changes.subscribe()
    }

    /// How many groups cost nothing while nobody uses them, because their leader is settled.
    #[must_use]
    pub fn resting(&self) -> usize {
        self.inner.open_groups().iter().filter(|group| !group.is_ticking()).count()
    }

    /// Elects other leaders for the groups that a broker led which is gone. Returns when that is done
    /// or was tried often enough.
    pub async fn broker_down(&self, broker: BrokerId) {
        let groups = self.inner.open_groups();
        // On a task of its own: see the file header of `group`.
        let taking = tokio::spawn(takeover::take_over(Arc::clone(&self.inner), broker, groups));
        if let Err(error) = taking.await {
            tracing::error!(%broker, %error, "a takeover did not end as it should");
        }
    }

    /// Makes another broker the leader of a group that this one leads.
    ///
    /// # Errors
    /// [`TransferError`].
    pub async fn transfer(&self, id: GroupId, to: BrokerId) -> Result<(), TransferError> {
        let group = self.inner.group(id).ok_or(TransferError::Unknown(id))?;
        if !group.leadership().is_local {
            return Err(TransferError::NotLeader(id));
        }
        let voter = group.voters().into_iter().find(|voter| voter.broker_id == to);
        let voter = voter.ok_or(TransferError::NotAVoter(id, to))?;
        if !self.inner.peers.is_fit(to) {
            return Err(TransferError::Unfit(id, to));
        }
        let mut leadership = group.watch_leadership();
        if leadership.borrow().leader == Some(to) {
            return Ok(());
        }
        let handing_over = async {
            while !group.has_caught_up(voter) {
                tokio::time::sleep(CATCH_UP_LOOK_EVERY).await;
            }
            // On a task of its own: see the file header of `group`.
            drop(tokio::spawn(Arc::clone(&group).hand_over(voter)));
            leadership.wait_for(|now| now.leader == Some(to)).await.is_ok()
        };
        let outcome = tokio::time::timeout(TRANSFER_TIMEOUT, handing_over).await;
        if matches!(outcome, Ok(true)) { Ok(()) } else { Err(TransferError::TimedOut(id, to)) }
    }

    /// Makes other brokers the leaders of all groups that this one leads, as far as they can be.
    /// Called before the node stops.
    pub async fn hand_over_all(&self) {
        let me = self.inner.me.broker_id;
        let transfers = self.inner.open_groups().into_iter().filter_map(|group| {
            let others = group.in_sync().into_iter().filter(|broker| *broker != me);
            // In the order of preference, so that what one broker led spreads over the others.
            let voters = group.voters();
            let prefer =
                |broker: &BrokerId| voters.iter().position(|voter| voter.broker_id == *broker);
            let to = others.filter(|broker| prefer(broker).is_some()).min_by_key(prefer)?;
            let (id, groups) = (group.id(), self.clone());
            Some(async move {
                if let Err(error) = groups.transfer(id, to).await {
                    tracing::warn!(%error, "a leadership was not handed over");
                }
            })
        });
        let all = join_all(transfers.collect::<Vec<_>>());
        if tokio::time::timeout(HAND_OVER_TIMEOUT, all).await.is_err() {
            tracing::warn!("not all leaderships were handed over in time");
        }
    }

    /// Closes all groups, and then what is remembered of them.
    pub async fn shutdown(&self) {
        let ids: Vec<_> = self.inner.groups.lock().keys().copied().collect();
        join_all(ids.into_iter().map(|id| self.close(id))).await;
        self.inner.votes.close().await;
    }
}

impl Inner {
    async fn open(
        self: Arc<Self>,
        beginning: Beginning,
        id: GroupId,
        log: Arc<Log>,
        voters: Vec<ReplicaId>,
    ) -> io::Result<Arc<Group>> {
        let parts = GroupParts {
            beginning,
            id,
            me: self.me,
            log,
            voters,
            votes: self.votes.clone(),
            peers: self.peers.clone(),
            clock: Arc::clone(&self.clock),
        };
        let group = Group::open(parts).await?;
        self.groups.lock().insert(id, Slot::Open(Arc::clone(&group)));
        self.opened.ids.lock().push(id);
        self.opened.wake.notify_one();
        tokio::spawn(watch(Arc::downgrade(&self), Arc::clone(&group)));
        tokio::spawn(campaign::run(Arc::clone(&group)));
        Ok(group)
    }

    async fn close(&self, group: Arc<Group>) {
        let id = group.id();
        let progress = group.progress();
        group.close().await;
        if let Some(progress) = progress
            && let Err(error) = self.votes.save_progress(vec![(id, progress)]).await
        {
            tracing::warn!(group = %id, %error, "the next start reads more of a log than it need");
        }
        self.changes.remove(id);
        self.groups.lock().remove(&id);
    }

    fn group(&self, id: GroupId) -> Option<Arc<Group>> {
        match self.groups.lock().get(&id)? {
            Slot::Open(group) => Some(Arc::clone(group)),
            Slot::Busy => None,
        }
    }

    fn open_groups(&self) -> Vec<Arc<Group>> {
        let groups = self.groups.lock();
        let open = groups.values().filter_map(|slot| match slot {
            Slot::Open(group) => Some(Arc::clone(group)),
            Slot::Busy => None,
        });
        open.collect()
    }
}

/// Tells the others which groups were opened here, many in one message, so that their leaders do not
/// wait before they call.
async fn announce(inner: Weak<Inner>) {
    let Some(wake) = inner.upgrade().map(|inner| Arc::clone(&inner.opened.wake)) else { return };
    loop {
        wake.notified().await;
        tokio::time::sleep(ANNOUNCE_AFTER).await;
        let Some(inner) = inner.upgrade() else { return };
        let ids = std::mem::take(&mut *inner.opened.ids.lock());
        let groups: Vec<_> = ids.into_iter().filter_map(|id| inner.group(id)).collect();
        takeover::announce(&inner, &groups).await;
    }
}

/// Tells of the leaders of a group, and of its end.
async fn watch(inner: Weak<Inner>, group: Arc<Group>) {
    let mut leadership = group.watch_leadership();
    let mut leader_before = None;
    let ended = group.ended();
    tokio::pin!(ended);
    let cause = loop {
        let now = *leadership.borrow_and_update();
        if now.leader.is_some() && leader_before.is_some() && now.leader != leader_before {
            metrics::leadership_changed();
        }
        leader_before = now.leader.or(leader_before);
        let Some(inner) = inner.upgrade() else { return };
        inner.changes.note(group.id(), now);
        drop(inner);
        tokio::select! {
            cause = &mut ended => break cause,
            changed = leadership.changed() => if changed.is_err() { return },
        }
    };
    let Some(inner) = inner.upgrade() else { return };
    inner.changes.note(group.id(), group.leadership());
    let Some(cause) = cause else { return };
    tracing::error!(group = %group.id(), cause, "a replica has stopped");
    if leader_before == Some(inner.me.broker_id) {
        takeover::ask_others(&inner, &group).await;
    }
}

/// Notes now and then how far the groups have come.
async fn note_progress(inner: Weak<Inner>) {
    let mut noted = BTreeMap::new();
    loop {
        tokio::time::sleep(PROGRESS_EVERY).await;
        let Some(inner) = inner.upgrade() else { return };
        let progress = inner.open_groups().into_iter().filter_map(|group| {
            let progress = group.progress()?;
            let is_new = noted.insert(group.id(), progress.applied) != Some(progress.applied);
            is_new.then_some((group.id(), progress))
        });
        let progress: Vec<_> = progress.collect();
        if !progress.is_empty() && inner.votes.save_progress(progress).await.is_err() {
            // Said by the votes themselves; they are finished.
            return;
        }
    }
}
