//! How an owner appends to its log, and what becomes of what the log refuses.

use bytes::Bytes;
use parking_lot::MutexGuard;
use protocol::batch::builder::{BatchBuilder, NewRecord};
use protocol::batch::{Attributes, BatchHeader, Codec, HEADER_BYTES};
use protocol::group_record::GroupRecord;
use protocol::types::{Offset, Timestamp};
use raft::replica::{ProduceError, Produced};
use storage::error::AppendError;
use storage::log::AppendBatch;

use super::{Owner, RETRY_AFTER, Serving, State, Uncovered};
use crate::groups::times::Times;

/// More than a batch and a record take beside keys and values.
const BATCH_OVERHEAD_BYTES: usize = 128;
const RECORD_OVERHEAD_BYTES: usize = 32;

/// What became of an append that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AppendOutcome {
    /// Try again later.
    Refused,
    /// It will never fit.
    TooLarge,
    /// The log takes nothing any more.
    Lost,
}

impl Owner {
    /// Tries to append what is held back.
    pub(super) fn write_held_back(&self, state: &mut MutexGuard<'_, State>, at: Times) {
        let State::Serving(serving) = &mut **state else { return };
        let Some(mut held_back) = serving.held_back.take() else { return };
        match self.append_all(serving, &mut held_back.records, at) {
            Ok(()) => serving.tell(held_back.answers),
            Err(AppendOutcome::Refused) => {
                held_back.retry_at = at.now + RETRY_AFTER;
                serving.held_back = Some(held_back);
            }
            Err(AppendOutcome::Lost | AppendOutcome::TooLarge) => {
                tracing::error!(
                    partition = %self.partition.name.partition,
                    "the groups of this partition are given up: their changes cannot be stored"
                );
                self.give_up(state);
            }
        }
    }

    /// Appends as many batches as it takes, and takes out what was appended.
    fn append_all(
        &self,
        serving: &mut Serving,
        records: &mut Vec<GroupRecord>,
        at: Times,
    ) -> Result<(), AppendOutcome> {
        let bytes_max = self.batch_bytes_max().saturating_sub(BATCH_OVERHEAD_BYTES);
        while !records.is_empty() {
            let mut bytes = 0;
            let fits = |record: &&GroupRecord| {
                let value_bytes = record.encode_value().map_or(0, |value| value.len());
                bytes += record.encode_key().len() + value_bytes + RECORD_OVERHEAD_BYTES;
                bytes <= bytes_max
            };
            let count =
                if records.len() == 1 { 1 } else { records.iter().take_while(fits).count() };
            // What is too large alone is refused by the log.
            let count = count.max(1);
            serving.end = self.append(&mut serving.uncovered, &records[..count], at)?;
            records.drain(..count);
        }
        Ok(())
    }

    pub(super) fn append(
        &self,
        uncovered: &mut Uncovered,
        records: &[GroupRecord],
        at: Times,
    ) -> Result<Offset, AppendOutcome> {
        let timestamp = Timestamp::new(at.wall_ms);
        let mut builder = BatchBuilder::new(Attributes::new(Codec::None));
        for record in records {
            let (key, value) = (record.encode_key(), record.encode_value());
            let (key, value) = (Some(key.as_slice()), value.as_deref());
            builder = builder.with_record(&NewRecord { timestamp, key, value, headers: &[] });
        }
        let batch = builder.build().expect("nothing is compressed");
        let bytes = batch.len();
        let header = BatchHeader::parse(&batch).expect("it was just built");
        let body = Bytes::from(batch).slice(HEADER_BYTES..);
        let batch = AppendBatch { header, body };
        match self.partition.replica.produce_in(self.leader_epoch, batch, timestamp) {
            Ok(Produced { appended, .. }) => {
                uncovered.bytes += bytes;
                if uncovered.bytes >= uncovered.bytes_max && !uncovered.is_being_covered {
                    self.look_again.notify_one();
                }
                Ok(appended.next_offset)
            }
            Err(ProduceError::Append(AppendError::Busy { .. } | AppendError::DiskFull)) => {
                Err(AppendOutcome::Refused)
            }
            Err(ProduceError::Append(AppendError::LargerThanSegment { .. })) => {
                Err(AppendOutcome::TooLarge)
            }
            Err(error) => {
                tracing::warn!(
                    partition = %self.partition.name.partition, %error,
                    "changes of groups cannot be stored"
                );
                Err(AppendOutcome::Lost)
            }
        }
    }
}
