//! What the tasks of the transport share: who this node is, whom it knows, and who answers.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use protocol::types::BrokerId;
use tokio::sync::watch;
use tokio::time::Instant;

use super::hello::{Identity, Purpose, Secret};
use super::incoming::Lanes;
use super::link::Link;
use super::{CallError, Caller, Health, Message, PeerAddress, Service, ServiceId};
use crate::fitness::Fitness;
use crate::types::ReplicaId;

/// Warnings in a second; more of them are not worth a log that is full of them.
const WARNINGS_PER_SECOND_MAX: u32 = 10;

/// What all tasks of the transport share.
pub(super) struct Node {
    pub(super) me: ReplicaId,
    pub(super) secret: Option<Secret>,
    pub(super) cluster_id: Mutex<Option<String>>,
    pub(super) services: Mutex<HashMap<ServiceId, Arc<dyn Service>>>,
    pub(super) peers: Mutex<BTreeMap<BrokerId, Arc<Peer>>>,
    pub(super) health: watch::Sender<Arc<BTreeMap<BrokerId, Health>>>,
    /// Of this node and of every peer that has said so, also of those that are down.
    pub(super) fitness: watch::Sender<Arc<BTreeMap<BrokerId, Fitness>>>,
    pub(super) lanes: Lanes,
    pub(super) closing: watch::Sender<bool>,
    /// A receiver is held by everything that a shutdown waits for.
    pub(super) running: watch::Sender<()>,
    pub(super) warnings: Warnings,
}

/// A peer that this node knows.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) broker_id: BrokerId,
    pub(super) address: PeerAddress,
    pub(super) control: Arc<Link>,
    pub(super) bulk: Arc<Link>,
    pub(super) closed: watch::Sender<bool>,
}

impl Node {
    pub(super) fn new(me: ReplicaId, cluster_id: Option<String>, secret: Option<Secret>) -> Self {
        Self {
            me,
            secret,
            cluster_id: Mutex::new(cluster_id),
            services: Mutex::default(),
            peers: Mutex::default(),
            health: watch::Sender::default(),
            fitness: watch::Sender::default(),
            lanes: Lanes::default(),
            closing: watch::Sender::new(false),
            running: watch::Sender::default(),
            warnings: Warnings::default(),
        }
    }

    pub(super) fn identity(&self) -> Identity {
        let cluster_id = self.cluster_id.lock().clone();
        Identity { me: self.me, cluster_id, secret: self.secret.clone() }
    }

    /// Who answers a request, if the caller may ask.
    pub(super) fn handler(
        &self,
        service: ServiceId,
        from: &Caller,
    ) -> Result<Arc<dyn Service>, String> {
        if service != ServiceId::FORMATION {
            let ours = self.cluster_id.lock();
            let name = |id: &Option<String>| {
                id.as_ref().map_or_else(|| "no cluster".to_owned(), |id| format!("cluster {id}"))
            };
            if ours.is_none() || *ours != from.cluster_id {
                let (me, you) = (self.me, from.replica);
                let (ours, theirs) = (name(&ours), name(&from.cluster_id));
                return Err(format!("{me} belongs to {ours}, and {you} to {theirs}"));
            }
        }
        let handler = self.services.lock().get(&service).cloned();
        handler.ok_or_else(|| format!("{} does not serve service {}", self.me, service.0))
    }

    pub(super) async fn call_self(
        &self,
        service: ServiceId,
        request: Message,
    ) -> Result<Bytes, CallError> {
        let caller = Caller { replica: self.me, cluster_id: self.cluster_id.lock().clone() };
        let handler = self.handler(service, &caller).map_err(CallError::Refused)?;
        let answering = handler.call(caller, request.concat().into());
        // On a task, as for anybody else: handlers are not cancelled.
        let running = self.running.subscribe();
        let answered = tokio::spawn(async move {
            let answered = answering.await;
            drop(running);
            answered
        });
        let answered = answered.await.map_err(|error| CallError::Lost(error.to_string()))?;
        answered.map(|answer| answer.concat().into()).map_err(CallError::Refused)
    }

    pub(super) fn health_of(&self, broker_id: BrokerId) -> Option<Health> {
        self.health.borrow().get(&broker_id).copied()
    }

    pub(super) fn own_fitness(&self) -> Fitness {
        self.fitness.borrow().get(&self.me.broker_id).copied().unwrap_or_default()
    }

    /// Notes how the disk of a node stands; true if that is news.
    pub(super) fn set_fitness(&self, broker_id: BrokerId, fitness: Fitness) -> bool {
        self.fitness.send_if_modified(|all| {
            let changes = all.get(&broker_id).copied().unwrap_or_default() != fitness;
            if changes {
                Arc::make_mut(all).insert(broker_id, fitness);
            }
            changes
        })
    }

    pub(super) fn set_health(&self, peer: &Peer, health: Health, why: &str) {
        let broker_id = peer.broker_id;
        let changed = self.health.send_if_modified(|all| {
            // One that is not listed has left.
            let changes = all.get(&broker_id).is_some_and(|known| *known != health);
            if changes {
                Arc::make_mut(all).insert(broker_id, health);
            }
            changes
        });
        if !changed {
            return;
        }
        let address = &peer.address;
        match health {
            Health::Up => {
                peer.bulk.wake();
                tracing::info!(%broker_id, %address, "a peer is there");
            }
            Health::Suspected => {
                tracing::info!(%broker_id, %address, why, "a peer does not answer");
            }
            Health::Down => tracing::warn!(%broker_id, %address, why, "a peer is down"),
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("me", &self.me).finish_non_exhaustive()
    }
}

impl Peer {
    pub(super) fn new(node: &Arc<Node>, broker_id: BrokerId, address: PeerAddress) -> Arc<Self> {
        let link = |purpose| Link::new(Arc::clone(node), broker_id, address.clone(), purpose);
        let (control, bulk) = (link(Purpose::Control), link(Purpose::Bulk));
        Arc::new(Self { broker_id, address, control, bulk, closed: watch::Sender::new(false) })
    }

    pub(super) fn close(&self, why: &str) {
        self.closed.send_replace(true);
        self.control.close(why);
        self.bulk.close(why);
    }
}

/// Warns of what others do, and not without end.
#[derive(Debug, Default)]
pub(super) struct Warnings {
    second: Mutex<Option<(Instant, u32)>>,
}

impl Warnings {
    pub(super) fn say(&self, what: &str, message: &'static str) {
        let mut second = self.second.lock();
        let now = Instant::now();
        let (began, count) = second
            .filter(|(began, _)| now.duration_since(*began) < Duration::from_secs(1))
            .unwrap_or((now, 0));
        *second = Some((began, count.saturating_add(1)));
        if count < WARNINGS_PER_SECOND_MAX {
            tracing::warn!(what, "{message}");
        }
    }
}
