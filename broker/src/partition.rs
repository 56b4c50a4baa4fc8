//! One local partition: its replica, its settings, and who waits for it.
//!
//! Invariants: the replica never changes while the partition lives; a new incarnation of a topic is
//! a new `Partition`. Whoever waits is told by [`Waiters`], never by asking again and again.
//! It must never block: the disk is reached through the replica's futures or the read pool.

pub(crate) mod append;
pub(crate) mod commit_wait;
pub(crate) mod epochs;
pub(crate) mod read;
pub(crate) mod waiters;
pub(crate) mod watch;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;
use raft::replica::Replica;
use storage::data_dir::LogName;

use crate::leaders::news::LeadershipNews;
use crate::settings::TopicSettings;
use waiters::Waiters;

/// One local partition.
pub(crate) struct Partition {
    /// Which, with the topic's incarnation.
    pub(crate) name: LogName,
    /// Its replica.
    pub(crate) replica: Arc<dyn Replica>,
    settings: RwLock<Arc<TopicSettings>>,
    waiters: Arc<Waiters>,
    retention_failed: AtomicBool,
}

impl Partition {
    /// Takes a replica into use: from here on its commits complete who waits.
    /// Changes of its leadership are told to `news`.
    pub(crate) fn new(
        name: LogName,
        replica: Arc<dyn Replica>,
        settings: TopicSettings,
        news: Arc<LeadershipNews>,
    ) -> Self {
        let key = (name.topic_id, name.partition.partition);
        let waiters = Arc::new(Waiters::new(Some((news, key))));
        replica.set_listener(waiters.clone());
        Self {
            name,
            replica,
            settings: RwLock::new(Arc::new(settings)),
            waiters,
            retention_failed: AtomicBool::new(false),
        }
    }

    /// The effective settings.
    pub(crate) fn settings(&self) -> Arc<TopicSettings> {
        self.settings.read().clone()
    }

    /// Takes new settings into use for what follows, also in the log.
    pub(crate) fn set_settings(&self, settings: TopicSettings) {
        self.replica.log().set_config(settings.log.clone());
        *self.settings.write() = Arc::new(settings);
    }

    /// Who waits for this partition.
    pub(crate) const fn waiters(&self) -> &Arc<Waiters> {
        &self.waiters
    }

    /// Notes how the last retention pass went; `true` if a failure is news.
    pub(crate) fn note_retention(&self, failed: bool) -> bool {
        !self.retention_failed.swap(failed, Ordering::Relaxed) && failed
    }
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Partition").field("name", &self.name).finish_non_exhaustive()
    }
}
