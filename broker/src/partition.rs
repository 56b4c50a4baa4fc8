//! One local partition: its replica, its settings, and who waits for it.

use std::sync::Arc;

use raft::replica::Replica;
use storage::data_dir::LogName;

use crate::settings::TopicSettings;

/// One local partition.
pub(crate) struct Partition {
    /// Which, with the topic's incarnation.
    pub(crate) name: LogName,
    /// Its replica.
    pub(crate) replica: Arc<dyn Replica>,
}

impl Partition {
    /// The effective settings.
    pub(crate) fn settings(&self) -> Arc<TopicSettings> {
        todo!()
    }
}
