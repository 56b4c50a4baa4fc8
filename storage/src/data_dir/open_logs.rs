//! The open logs of a data directory, and who may open, close or delete one.
//!
//! Each partition has at most one log, and at most one thread at a time that opens, closes or
//! deletes it; others that want the same partition wait, those that want another do not. That thread
//! holds a [`Claim`].
//!
//! Lock order: the slots, then the states. Neither is held while a log is opened or closed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use protocol::topic::{TopicId, TopicPartition};

use super::log_states::LogStates;
use crate::checkpoint::CheckpointError;
use crate::device::Device;
use crate::disk_syncs::DiskSyncs;
use crate::environment::LogCheckpoint;
use crate::error::OpenError;
use crate::log::Log;

/// Threads that close logs at a stop; each waits for the disk.
const CLOSING_THREADS_MAX: usize = 8;
/// So many logs or more are synced together when they are closed.
const SYNCED_TOGETHER_MIN: usize = 16;

/// An open log with what its deletion needs to know.
#[derive(Debug, Clone)]
pub(super) struct OpenLog {
    pub(super) log: Arc<Log>,
    pub(super) topic_id: TopicId,
    pub(super) file_delete_delay: Duration,
    /// Where it stood when that was last noted for the checkpoints.
    pub(super) noted: LogCheckpoint,
}

/// All open logs, and what is remembered of them and of the others.
#[derive(Debug)]
pub(super) struct OpenLogs {
    device: Arc<dyn Device>,
    slots: Mutex<Slots>,
    released: Condvar,
    states: Mutex<LogStates>,
}

#[derive(Debug, Default)]
struct Slots {
    by_partition: HashMap<TopicPartition, Slot>,
    claims_count: usize,
    is_closed: bool,
}

#[derive(Debug)]
enum Slot {
    Claimed,
    Open(OpenLog),
}

/// The exclusive right to change whether a partition's log is open. Dropping it publishes `open`.
#[derive(Debug)]
pub(super) struct Claim<'a> {
    logs: &'a OpenLogs,
    partition: TopicPartition,
    /// The open log, if there is one.
    pub(super) open: Option<OpenLog>,
}

impl OpenLogs {
    pub(super) fn new(device: Arc<dyn Device>, states: LogStates) -> Self {
        Self {
            device,
            slots: Mutex::default(),
            released: Condvar::new(),
            states: Mutex::new(states),
        }
    }

    /// Waits until nobody else claims the partition. `None` once all is closed.
    pub(super) fn claim(&self, partition: &TopicPartition) -> Option<Claim<'_>> {
        let mut slots = self.slots.lock();
        let is_claimed =
            |slots: &mut Slots| matches!(slots.by_partition.get(partition), Some(Slot::Claimed));
        self.released.wait_while(&mut slots, is_claimed);
        if slots.is_closed {
            return None;
        }
        slots.claims_count += 1;
        let open = match slots.by_partition.insert(partition.clone(), Slot::Claimed) {
            Some(Slot::Open(open)) => Some(open),
            Some(Slot::Claimed) | None => None,
        };
        Some(Claim { logs: self, partition: partition.clone(), open })
    }

    /// What is remembered of the logs.
    pub(super) fn states(&self) -> parking_lot::MutexGuard<'_, LogStates> {
        self.states.lock()
    }

    /// Sees to it that no file lists an older log under a name that is about to be used anew.
    ///
    /// # Errors
    /// [`CheckpointError::Io`].
    pub(super) fn forget_on_disk(&self, partition: &TopicPartition) -> Result<(), CheckpointError> {
        let mut states = self.states.lock();
        if states.is_stale(partition) { states.write(&*self.device) } else { Ok(()) }
    }

    /// Asks every open log where it stands and writes that down.
    ///
    /// # Errors
    /// [`CheckpointError::Io`].
    pub(super) fn checkpoint(&self) -> Result<(), CheckpointError> {
        let stand = |(partition, open): (TopicPartition, OpenLog)| {
            // First, so that recovery finds the producers near the recovery point.
            open.log.snapshot_producers();
            let checkpoint = open.log.checkpoint();
            (partition, open, checkpoint)
        };
        let stands: Vec<_> = self.all_moved().into_iter().map(stand).collect();
        {
            let mut slots = self.slots.lock();
            let mut states = self.states.lock();
            for (partition, open, checkpoint) in stands {
                // One that was closed or deleted meanwhile must not be remembered as open.
                if let Some(open) = slots.holding(&partition, &open.log) {
                    open.noted = checkpoint;
                    states.set_open(&partition, open.topic_id, checkpoint);
                }
            }
        }
        self.states.lock().write(&*self.device)
    }

    /// Refuses further claims, waits for present ones, and closes every log; all are durable when it
    /// returns. Many are made so by one sync of the file system.
    ///
    /// # Errors
    /// The first failure; that log alone must be recovered at the next start, or all if it was the
    /// sync of the file system.
    pub(super) fn close(&self, disk_syncs: &DiskSyncs) -> Result<(), OpenError> {
        let mut slots = self.slots.lock();
        slots.is_closed = true;
        self.released.wait_while(&mut slots, |slots| slots.claims_count > 0);
        drop(slots);
        let open = self.all_open();
        let share = open.len().div_ceil(CLOSING_THREADS_MAX).max(1);
        let together = open.len() >= SYNCED_TOGETHER_MIN;
        let mut closed = Vec::with_capacity(open.len());
        std::thread::scope(|scope| {
            let close_share = |logs| scope.spawn(move || close_logs(logs, together));
            let threads: Vec<_> = open.chunks(share).map(close_share).collect();
            for thread in threads {
                closed.extend(thread.join().expect("closing a log does not panic"));
            }
        });
        let counts = || open.iter().try_for_each(|(_, open)| open.log.syncs.check());
        let synced = if together { disk_syncs.sync().and_then(|()| counts()) } else { Ok(()) };
        let synced = synced.map_err(|cause| OpenError::Io {
            path: disk_syncs.root().clone(),
            operation: "sync the file system of",
            cause,
        });
        if synced.is_err() {
            open.iter().for_each(|(_, open)| open.log.close_failed());
        }
        self.slots.lock().by_partition.clear();
        synced.and_then(|()| self.remember_closed(&open, closed))
    }

    /// Writes down what is remembered.
    ///
    /// # Errors
    /// [`CheckpointError::Io`].
    pub(super) fn write_states(&self) -> Result<(), CheckpointError> {
        self.states.lock().write(&*self.device)
    }

    fn remember_closed(
        &self,
        logs: &[(TopicPartition, OpenLog)],
        closed: Vec<Result<LogCheckpoint, OpenError>>,
    ) -> Result<(), OpenError> {
        let mut result = Ok(());
        let mut states = self.states.lock();
        for ((partition, open), closed) in logs.iter().zip(closed) {
            match closed {
                Ok(checkpoint) => states.set_closed(partition, open.topic_id, checkpoint),
                Err(error) => {
                    tracing::warn!(%error, %partition, "a log was not closed cleanly");
                    result = result.and(Err(error));
                }
            }
        }
        result
    }

    /// The open logs that no longer stand where they were noted: of 10,000, usually few.
    fn all_moved(&self) -> Vec<(TopicPartition, OpenLog)> {
        let slots = self.slots.lock();
        let moved = slots.by_partition.iter().filter_map(|(partition, slot)| match slot {
            Slot::Open(open) if open.log.checkpoint() != open.noted => {
                Some((partition.clone(), open.clone()))
            }
            Slot::Open(_) | Slot::Claimed => None,
        });
        moved.collect()
    }

    fn all_open(&self) -> Vec<(TopicPartition, OpenLog)> {
        let slots = self.slots.lock();
        let open = slots.by_partition.iter().filter_map(|(partition, slot)| match slot {
            Slot::Open(open) => Some((partition.clone(), open.clone())),
            Slot::Claimed => None,
        });
        open.collect()
    }
}

/// What became of each, in their order.
fn close_logs(
    logs: &[(TopicPartition, OpenLog)],
    together: bool,
) -> Vec<Result<LogCheckpoint, OpenError>> {
    let close = |log: &Log| if together { log.close_unsynced() } else { log.close() };
    logs.iter().map(|(_, open)| close(&open.log)).collect()
}

impl Slots {
    /// The entry of this very log, if it is open.
    fn holding(&mut self, partition: &TopicPartition, log: &Arc<Log>) -> Option<&mut OpenLog> {
        match self.by_partition.get_mut(partition) {
            Some(Slot::Open(open)) if Arc::ptr_eq(&open.log, log) => Some(open),
            Some(Slot::Open(_) | Slot::Claimed) | None => None,
        }
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut slots = self.logs.slots.lock();
        slots.claims_count -= 1;
        match self.open.take() {
            Some(open) => {
                slots.by_partition.insert(self.partition.clone(), Slot::Open(open));
            }
            None => {
                slots.by_partition.remove(&self.partition);
            }
        }
        self.logs.released.notify_all();
    }
}
