//! A walk through one segment: what of it is whole, and what its index must hold.

use protocol::types::{LeaderEpoch, Offset, Timestamp};

use crate::config::LogConfig;
use crate::device::DeviceFile;
use crate::entry_index::EntryRow;
use crate::environment::LogEnvironment;
use crate::error::OpenError;
use crate::scan::{Found, LOOKUP_WINDOW_BYTES, SWEEP_WINDOW_BYTES, Scan, ScanError, Wait};
use crate::segment::{ActiveIndex, NewestRecord, Segment};

/// The state of a walk through one segment.
pub(super) struct Sweep {
    base_offset: Offset,
    bytes: u32,
    pub(super) started_at: u32,
    pub(super) position: u32,
    pub(super) next_offset: Offset,
    /// Whether `next_offset` is what the next batch must start with.
    is_chained: bool,
    pub(super) index: ActiveIndex,
    pub(super) newest: NewestRecord,
    pub(super) first_timestamp: Option<Timestamp>,
    pub(super) epochs_before: usize,
    pub(super) entry_count: u32,
}

impl Sweep {
    pub(super) fn new(segment: &Segment, epochs_before: usize) -> Self {
        let base_offset = segment.base_offset();
        Self {
            base_offset,
            bytes: segment.bytes(),
            started_at: 0,
            position: 0,
            next_offset: base_offset,
            is_chained: true,
            index: ActiveIndex::empty(segment.entries().is_some()),
            newest: NewestRecord { timestamp: Timestamp::NONE, last_offset: base_offset },
            first_timestamp: None,
            epochs_before,
            entry_count: 0,
        }
    }

    /// Skips what the index files cover below the recovery point.
    pub(super) fn start_from_index(
        &mut self,
        env: &LogEnvironment,
        segment: &Segment,
        file: &dyn DeviceFile,
        recovery_point: Offset,
    ) -> Result<(), OpenError> {
        let (index, position) = ActiveIndex::read_below(env, segment, recovery_point, self.bytes)?;
        if let Some(rows) = &index.entries {
            let Some(count) = count_up_to(file, rows.last(), position) else { return Ok(()) };
            self.entry_count = count;
        }
        self.newest = index.newest(self.base_offset);
        self.index = index;
        (self.started_at, self.position) = (position, position);
        self.is_chained = position == 0;
        Ok(())
    }

    pub(super) fn run(
        &mut self,
        file: &dyn DeviceFile,
        config: &LogConfig,
        recovery_point: Offset,
        epochs: &mut Vec<(LeaderEpoch, Offset)>,
    ) -> Result<(), ScanError> {
        let mut scan = Scan::new(file, u64::from(self.bytes), Wait::ForDisk, SWEEP_WINDOW_BYTES);
        while let Some(found) = scan.batch_at(u64::from(self.position))? {
            self.check_chain(&found, recovery_point, epochs.last())?;
            let header = &found.header;
            // An entry without an offset of its own that stands at the recovery point may be new.
            let is_at_point = header.is_raft_only() && header.base_offset == recovery_point;
            if header.next_offset() > recovery_point || is_at_point {
                scan.check_crc(&found)?;
            }
            self.take(&found, config, epochs);
        }
        Ok(())
    }

    /// The CRC covers neither offset nor epoch, so bytes of another place would pass it.
    fn check_chain(
        &mut self,
        found: &Found,
        recovery_point: Offset,
        last_epoch: Option<&(LeaderEpoch, Offset)>,
    ) -> Result<(), ScanError> {
        let header = &found.header;
        let damaged = |what| Err(ScanError::Damaged { position: found.position, what });
        if self.is_chained {
            if header.base_offset != self.next_offset {
                let (has, expected) = (header.base_offset, self.next_offset);
                return damaged(format!("the batch has offset {has}, expected {expected}"));
            }
        } else if !(self.base_offset..=recovery_point).contains(&header.base_offset) {
            return damaged(format!("offset {} does not belong here", header.base_offset));
        }
        if last_epoch.is_some_and(|(last, _)| header.leader_epoch < *last) {
            return damaged(format!("epoch {} is older than the last", header.leader_epoch));
        }
        Ok(())
    }

    fn take(&mut self, found: &Found, config: &LogConfig, epochs: &mut Vec<(LeaderEpoch, Offset)>) {
        let header = &found.header;
        if epochs.last().is_none_or(|(last, _)| *last < header.leader_epoch) {
            epochs.push((header.leader_epoch, header.base_offset));
        }
        if self.started_at == 0 && self.first_timestamp.is_none() && !header.is_raft_only() {
            self.first_timestamp = Some(header.max_timestamp);
        }
        let interval = config.index_interval_bytes;
        self.index.note(self.base_offset, self.position, header, interval, &mut self.newest);
        if let Some(rows) = &mut self.index.entries {
            let row = EntryRow { relative_index: self.entry_count, position: self.position };
            let bytes = u32::try_from(header.batch_bytes()).expect("a length field has 31 bits");
            rows.note(row, bytes, interval);
            self.entry_count += 1;
        }
        self.position =
            u32::try_from(found.end()).expect("a scan stays inside a file that fits 32 bits");
        self.next_offset = header.next_offset();
        self.is_chained = true;
    }
}

/// How many entries stand before `position`, counted from a row; `None` if none starts there.
fn count_up_to(file: &dyn DeviceFile, row: EntryRow, position: u32) -> Option<u32> {
    let (mut at, end) = (u64::from(row.position), u64::from(position));
    let mut scan = Scan::new(file, end, Wait::ForDisk, LOOKUP_WINDOW_BYTES);
    let mut count = row.relative_index;
    while let Some(found) = scan.batch_at(at).ok()? {
        (at, count) = (found.end(), count + 1);
    }
    (at == end).then_some(count)
}
