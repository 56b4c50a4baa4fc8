//! Topics that are created because a client asked for their metadata (behaviour 9).
//!
//! One task creates them, in batches; a name waits at most once. A client that finds the queue full is
//! told that the topic is unknown, as one that has just been queued, and asks again.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;
use protocol::topic::TopicName;
use protocol::types::LogIndex;
use tokio::sync::{mpsc, watch};

use super::controller::{Controller, Layout, TopicSpec};
use crate::settings::Values;

/// Names that may wait.
const WAITING_MAX: usize = 1000;
/// Topics created with one command.
const BATCH_MAX: usize = 100;

/// Handle to the task.
#[derive(Debug)]
pub(super) struct AutoCreation {
    waiting: Arc<Mutex<BTreeSet<TopicName>>>,
    names: mpsc::Sender<TopicName>,
}

impl AutoCreation {
    /// Starts the task. It ends when the handle is dropped.
    pub(super) fn start(
        controller: Arc<Controller>,
        reconciled: watch::Receiver<LogIndex>,
    ) -> Self {
        let waiting = Arc::new(Mutex::new(BTreeSet::new()));
        let (names, receiver) = mpsc::channel(WAITING_MAX);
        tokio::spawn(run(controller, reconciled, waiting.clone(), receiver));
        Self { waiting, names }
    }

    /// Sees to it that the topic will exist, unless too many others wait.
    pub(super) fn request(&self, name: TopicName) {
        let mut waiting = self.waiting.lock();
        if !waiting.contains(&name) && self.names.try_send(name.clone()).is_ok() {
            waiting.insert(name);
        }
    }
}

async fn run(
    controller: Arc<Controller>,
    mut reconciled: watch::Receiver<LogIndex>,
    waiting: Arc<Mutex<BTreeSet<TopicName>>>,
    mut names: mpsc::Receiver<TopicName>,
) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    while names.recv_many(&mut batch, BATCH_MAX).await > 0 {
        let spec = |name: &TopicName| TopicSpec {
            name: name.clone(),
            layout: Layout::Counts { partitions: None, replicas: None },
            overrides: Values::new(),
        };
        let planned = controller.plan_topics(batch.iter().map(|name| Ok(spec(name))).collect());
        let changed = controller.create_topics(planned).await;
        for (name, created) in batch.iter().zip(&changed.items) {
            match created {
                Ok(_) => tracing::info!(topic = %name, "created a topic that a client asked for"),
                Err(error) => tracing::debug!(topic = %name, %error, "a topic was not created"),
            }
        }
        // An end means that the broker stops.
        if reconciled.wait_for(|done| *done >= changed.index).await.is_err() {
            return;
        }
        let mut waiting = waiting.lock();
        for name in batch.drain(..) {
            waiting.remove(&name);
        }
    }
}
