//! Makes the local partitions match the image.
//!
//! One task follows the images, plans the difference between the one that it has made true and the
//! newest, and carries it out on a few blocking threads: first deletions, so that a topic that was
//! created anew finds its directories free, then openings, then changed settings. Every step is
//! idempotent, so that a crash between any two of them is repaired by the next start. A log is
//! deleted only because an image of the metadata group, which is durable, says so.

mod plan;

use std::sync::Arc;

use parking_lot::Mutex;
use protocol::types::{BrokerId, LogIndex};
use raft::types::ReplicaId;
use storage::data_dir::{DataDir, LogName};
use storage::error::OpenError;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use uuid::Uuid;

use self::plan::{Local, Plan, Strays};
use super::image::Image;
use crate::partitions::Partitions;
use crate::replication::Beginning;
use crate::settings::BrokerSettings;

/// Logs that are opened or deleted at once. Opening waits for the disk most of the time.
const WORKERS: usize = 8;

/// Groups that are opened or deleted at once. Each waits for its log, and then for its votes, which
/// those that wait together read and write together.
const GROUPS_AT_ONCE: usize = 64;

/// Follows the images of the cluster.
pub(super) struct Reconciler {
    pub(super) images: watch::Receiver<Arc<Image>>,
    pub(super) reconciled: watch::Sender<LogIndex>,
    pub(super) partitions: Arc<Partitions>,
    pub(super) settings: Arc<BrokerSettings>,
    pub(super) broker_id: BrokerId,
}

impl Reconciler {
    /// Brings the partitions on disk in line with the first image. Partitions that the image does not
    /// know are deleted if it remembers that their topic was deleted; else they are set aside, not
    /// deleted: metadata that lost a topic must not take its data along.
    ///
    /// # Errors
    /// [`OpenError::Io`] if the directory cannot be listed.
    pub(super) async fn start(&mut self, data_dir: &Arc<DataDir>) -> Result<Arc<Image>, OpenError> {
        let image = self.images.borrow_and_update().clone();
        let strays = Strays::find(data_dir.list()?, &image, self.broker_id);
        for name in &strays.deleted {
            self.partitions.forget_group(name).await;
        }
        let dir = data_dir.clone();
        each(strays.deleted, move |name| delete_log(&dir, &name)).await;
        let dir = data_dir.clone();
        each(strays.unknown, move |name| set_aside(&dir, &name)).await;
        let plan = Plan::between(&Image::default(), &image, self.broker_id, &self.settings);
        self.carry_out(plan, &image).await;
        self.reconciled.send_replace(image.index);
        Ok(image)
    }

    /// Follows the images until `stop` says so or nobody publishes any more.
    pub(super) async fn run(mut self, mut done: Arc<Image>, mut stop: watch::Receiver<bool>) {
        loop {
            // Cancelled at this await only: nothing is under way then.
            tokio::select! {
                changed = self.images.changed() => if changed.is_err() { return },
                _ = stop.wait_for(|stop| *stop) => return,
            }
            let image = self.images.borrow_and_update().clone();
            let plan = Plan::between(&done, &image, self.broker_id, &self.settings);
            self.carry_out(plan, &image).await;
            self.reconciled.send_replace(image.index);
            done = image;
        }
    }

    async fn carry_out(&self, plan: Plan, image: &Arc<Image>) {
        let is_group = |local: &Local| {
            local.beginning != Beginning::Alone || self.partitions.is_group(&local.name)
        };
        let (replicated, alone): (Vec<_>, Vec<_>) = plan.delete.into_iter().partition(is_group);
        let partitions = self.partitions.clone();
        each(alone, move |local| partitions.delete(&local.name)).await;
        let partitions = self.partitions.clone();
        each_at_once(replicated, move |local| {
            let partitions = partitions.clone();
            async move { partitions.delete_group(local.name).await }
        })
        .await;
        let is_alone = |(local, _): &(Local, _)| local.beginning == Beginning::Alone;
        let (alone, mut replicated): (Vec<_>, Vec<_>) = plan.open.into_iter().partition(is_alone);
        // A log that had more replicas once stays a group.
        let once = Arc::new(Mutex::new(Vec::new()));
        let (partitions, adopted) = (self.partitions.clone(), once.clone());
        each(alone, move |(local, settings)| {
            if !partitions.open(&local.name, settings.clone()) {
                adopted.lock().push((Local { beginning: Beginning::Adopt, ..local }, settings));
            }
        })
        .await;
        replicated.append(&mut once.lock());
        let (partitions, image) = (self.partitions.clone(), image.clone());
        each_at_once(replicated, move |(local, settings)| {
            let (partitions, voters) = (partitions.clone(), voters(&image, &local.replicas));
            async move {
                partitions.open_group(&local.name, settings, local.beginning, voters).await;
            }
        })
        .await;
        let partitions = self.partitions.clone();
        each(plan.configure, move |(name, settings)| partitions.set_settings(&name, settings))
            .await;
    }
}

fn delete_log(data_dir: &DataDir, name: &LogName) {
    tracing::info!(partition = %name.partition, topic_id = %name.topic_id,
        "deleting the log of a topic that was deleted before the last stop");
    if let Err(error) = data_dir.delete_log(name) {
        tracing::warn!(partition = %name.partition, %error, "a deleted log stays on the disk");
    }
}

fn set_aside(data_dir: &DataDir, name: &LogName) {
    match data_dir.set_aside_log(name) {
        Ok(path) => tracing::warn!(partition = %name.partition, topic_id = %name.topic_id,
            path = %path.display(), "a log that no topic knows was set aside"),
        Err(error) => tracing::warn!(partition = %name.partition, %error,
            "a log that no topic knows could not be set aside"),
    }
}

/// The replicas on `brokers` as Raft knows them. A broker that has never told how others reach it has
/// no directory that could be named; it has a vote all the same, which it cannot cast.
pub(super) fn voters(image: &Image, brokers: &[BrokerId]) -> Vec<ReplicaId> {
    let voter = |broker: &BrokerId| {
        let node = image.brokers.get(broker).and_then(|broker| broker.node.as_ref());
        let directory_id = node.map_or(Uuid::nil(), |node| node.directory_id);
        ReplicaId { broker_id: *broker, directory_id }
    };
    brokers.iter().map(voter).collect()
}

/// Does `work` for each of `items`, many of them at once.
async fn each_at_once<T, W: Future<Output = ()> + Send + 'static>(
    items: Vec<T>,
    work: impl Fn(T) -> W,
) {
    let mut running = JoinSet::new();
    for item in items {
        if running.len() == GROUPS_AT_ONCE {
            note(running.join_next().await);
        }
        running.spawn(work(item));
    }
    while !running.is_empty() {
        note(running.join_next().await);
    }
}

/// A step that panicked leaves its partition as it was: its clients are told so, the others go on.
fn note(ended: Option<Result<(), JoinError>>) {
    if let Some(Err(error)) = ended {
        tracing::error!(%error, "a step of the reconciler panicked");
    }
}

/// Does `work` for each of `items` on up to [`WORKERS`] blocking threads.
async fn each<T: Send + 'static>(items: Vec<T>, work: impl Fn(T) + Clone + Send + 'static) {
    let workers = items.len().min(WORKERS);
    let items = Arc::new(Mutex::new(items.into_iter()));
    let mut running = JoinSet::new();
    for _ in 0..workers {
        let (items, work) = (items.clone(), work.clone());
        running.spawn_blocking(move || {
            loop {
                let next = items.lock().next();
                let Some(item) = next else { break };
                work(item);
            }
        });
    }
    while !running.is_empty() {
        note(running.join_next().await);
    }
}
