//! The replica of a partition that has only one: it appends straight to the log, without Raft.
//!
//! The high watermark is the log's finished end: synced, or written where the topic is relaxed. The
//! leader epoch is the log's newest one, raised by one where the log had to be recovered: what a
//! crash took away may have been read under the old epoch, so new records must not stand under the
//! same (epoch, offset). The log makes an epoch durable before the first batch that carries it.
//!
//! It leads from the start until the log fails, and never again after that.
//!
//! A produce costs nothing here but the append: no lock, no allocation, no task.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use protocol::types::{BrokerId, LeaderEpoch, Offset, Timestamp};
use storage::error::{LogFailure, ReadError};
use storage::log::{AppendBatch, Log, LogListener};

use crate::high_watermark::{Advance, HighWatermark};
use crate::replica::{
    DeleteRecordsError, Leadership, ProduceError, Produced, Replica, ReplicaListener,
    ReplicaPointers, SeamFuture,
};

/// Makes the direct replica of `log`, led by `broker_id` in an epoch that was never used before a
/// crash. The log must have no other writer and no other listener.
#[must_use]
pub fn direct(log: Arc<Log>, broker_id: BrokerId) -> Arc<dyn Replica> {
    let newest = log.latest_epoch().unwrap_or(LeaderEpoch::ZERO);
    let leader_epoch = if log.recovered_uncleanly() { newest.next() } else { newest };
    let progress = Arc::new(Progress::new(log.finished_end(), leader_epoch));
    log.set_listener(progress.clone());
    Arc::new(Direct { log, broker_id, leader_epoch, progress })
}

struct Direct {
    log: Arc<Log>,
    broker_id: BrokerId,
    leader_epoch: LeaderEpoch,
    progress: Arc<Progress>,
}

impl Replica for Direct {
    fn produce(&self, batch: AppendBatch, now: Timestamp) -> Result<Produced, ProduceError> {
        if self.progress.has_ended() {
            let not_leader = || ProduceError::NotLeader(self.leadership());
            return Err(self.log.failure().map_or_else(not_leader, |f| {
                ProduceError::Append(storage::error::AppendError::Failed(f))
            }));
        }
        let leader_epoch = self.leader_epoch;
        Ok(Produced { appended: self.log.append(batch, leader_epoch, now)?, leader_epoch })
    }

    fn produce_in(
        &self,
        leader_epoch: LeaderEpoch,
        batch: AppendBatch,
        now: Timestamp,
    ) -> Result<Produced, ProduceError> {
        if leader_epoch != self.leader_epoch {
            return Err(ProduceError::NotLeader(self.leadership()));
        }
        self.produce(batch, now)
    }

    fn pointers(&self) -> ReplicaPointers {
        let log = self.log.pointers();
        // The log moves on between the two reads: a high watermark above the older end is newer
        // than that end, and everything below the end is then committed.
        let high_watermark = self.progress.high_watermark.get().min(log.log_end_offset);
        let pointers = ReplicaPointers {
            log_start_offset: log.log_start_offset,
            last_stable_offset: high_watermark,
            high_watermark,
            log_end_offset: log.log_end_offset,
        };
        pointers.validate();
        pointers
    }

    fn leadership(&self) -> Leadership {
        let is_local = !self.progress.has_ended();
        Leadership {
            leader: is_local.then_some(self.broker_id),
            leader_epoch: self.leader_epoch,
            is_local,
        }
    }

    fn in_sync(&self) -> Vec<BrokerId> {
        if self.progress.has_ended() { Vec::new() } else { vec![self.broker_id] }
    }

    fn log(&self) -> &Arc<Log> {
        &self.log
    }

    fn set_listener(&self, listener: Arc<dyn ReplicaListener>) {
        self.progress.set_listener(listener);
    }

    fn delete_records(&self, before: Offset) -> SeamFuture<'_, Result<Offset, DeleteRecordsError>> {
        Box::pin(async move {
            let ReplicaPointers { log_start_offset, high_watermark, log_end_offset, .. } =
                self.pointers();
            let to = if before == Offset::NONE { high_watermark } else { before };
            if to < Offset::ZERO {
                let wanted = before;
                return Err(
                    ReadError::OutOfRange { wanted, log_start_offset, log_end_offset }.into()
                );
            }
            if to > high_watermark {
                return Err(DeleteRecordsError::BeyondHighWatermark { wanted: to, high_watermark });
            }
            let log = Arc::clone(&self.log);
            Ok(on_blocking_pool(move || log.raise_log_start(to)).await?)
        })
    }

    fn apply_retention(&self, now: Timestamp) -> SeamFuture<'_, Result<u64, ReadError>> {
        let log = Arc::clone(&self.log);
        Box::pin(on_blocking_pool(move || log.apply_retention(now)))
    }
}

/// Runs a call that waits for the disk where it stops no other task. Dropping the future does not
/// stop the call: it ends by itself, and its effect is one that a repetition does not change.
async fn on_blocking_pool<T: Send + 'static>(
    call: impl FnOnce() -> Result<T, ReadError> + Send + 'static,
) -> Result<T, ReadError> {
    match tokio::task::spawn_blocking(call).await {
        Ok(result) => result,
        Err(stopped) if stopped.is_cancelled() => Err(ReadError::Closed),
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

/// What the log has told, and who wants to know.
struct Progress {
    high_watermark: HighWatermark,
    leader_epoch: LeaderEpoch,
    ended: AtomicBool,
    /// Held while the listener is told, so that `set_listener` and the flusher cannot overtake each
    /// other. Pointers are read without it, so that a listener may read them.
    listener: Mutex<Option<Arc<dyn ReplicaListener>>>,
}

impl Progress {
    const fn new(finished: Offset, leader_epoch: LeaderEpoch) -> Self {
        Self {
            high_watermark: HighWatermark::new(finished),
            leader_epoch,
            ended: AtomicBool::new(false),
            listener: Mutex::new(None),
        }
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    fn set_listener(&self, listener: Arc<dyn ReplicaListener>) {
        let mut slot = self.listener.lock();
        listener.committed(self.high_watermark.get());
        if self.has_ended() {
            listener.ended();
        } else {
            listener.leads(self.leader_epoch);
            *slot = Some(listener);
        }
    }

    fn end(&self, slot: &mut Option<Arc<dyn ReplicaListener>>) {
        self.ended.store(true, Ordering::Release);
        if let Some(listener) = slot.take() {
            listener.ended();
        }
    }
}

impl LogListener for Progress {
    fn progressed(&self, finished: Offset) {
        let mut slot = self.listener.lock();
        if self.has_ended() {
            return;
        }
        match self.high_watermark.advance(finished) {
            Advance::Moved => {
                if let Some(listener) = slot.as_ref() {
                    listener.committed(finished);
                }
            }
            Advance::Same => {}
            Advance::Regressed { from } => {
                // This thread serves every log of the disk: give up this partition, not the thread.
                tracing::error!(%from, to = %finished, "the finished end of a log went back");
                self.end(&mut slot);
            }
        }
    }

    fn failed(&self, _failure: &LogFailure) {
        let mut slot = self.listener.lock();
        if !self.has_ended() {
            self.end(&mut slot);
        }
    }
}
