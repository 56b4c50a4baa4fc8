//! Where each leader epoch begins in a log: the table behind OffsetForLeaderEpoch (KIP-101).
//!
//! Pure: the flusher writes what [`LeaderEpochs::lines`] returns, before the first batch of a new
//! epoch is written. The file has Kafka's form, `leader-epoch-checkpoint`:
//!
//! ```text
//! 0            version
//! 2            number of rows
//! 0 0          epoch, its first offset
//! 3 1200
//! ```
//! Invariant: epochs and start offsets both rise strictly from row to row.

use protocol::types::{LeaderEpoch, Offset};

/// The file's name inside a log's directory.
pub(crate) const FILE_NAME: &str = "leader-epoch-checkpoint";
/// The version that its first line names.
pub(crate) const VERSION: u32 = 0;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Row {
    leader_epoch: LeaderEpoch,
    start_offset: Offset,
}

/// The table of one log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LeaderEpochs {
    rows: Vec<Row>,
}

impl LeaderEpochs {
    /// Notes that `leader_epoch` begins at `start_offset`; returns whether the table changed. An
    /// epoch that is not newer than the newest changes nothing.
    pub(crate) fn begin(&mut self, leader_epoch: LeaderEpoch, start_offset: Offset) -> bool {
        if self.latest().is_some_and(|latest| leader_epoch <= latest) {
            return false;
        }
        // An epoch that got no record gives its place to the next one.
        self.rows.retain(|row| row.start_offset < start_offset);
        self.rows.push(Row { leader_epoch, start_offset });
        true
    }

    /// The newest epoch.
    pub(crate) fn latest(&self) -> Option<LeaderEpoch> {
        self.rows.last().map(|row| row.leader_epoch)
    }

    /// The oldest epoch, which holds the start of the log.
    pub(crate) fn earliest(&self) -> Option<LeaderEpoch> {
        self.rows.first().map(|row| row.leader_epoch)
    }

    /// Kafka's `endOffsetFor`: the largest epoch up to `wanted` and where the next one starts; below
    /// the first known epoch, `wanted` itself and where the first one starts.
    pub(crate) fn end_of(
        &self,
        wanted: LeaderEpoch,
        log_end_offset: Offset,
    ) -> Option<(LeaderEpoch, Offset)> {
        let after = self.rows.partition_point(|row| row.leader_epoch <= wanted);
        let end = self.rows.get(after).map_or(log_end_offset, |row| row.start_offset);
        match after.checked_sub(1) {
            Some(at) => Some((self.rows[at].leader_epoch, end)),
            None if self.rows.is_empty() => None,
            None => Some((wanted, end)),
        }
    }

    /// Forgets where epochs began at or above `end`, but not that the newest was in use: it begins
    /// at `end` from now on, so that whoever leads next takes a newer one and no (epoch, offset)
    /// ever names two contents. Returns whether the table changed.
    pub(crate) fn truncate_end(&mut self, end: Offset) -> bool {
        let Some(newest) = self.rows.last().copied().filter(|row| row.start_offset > end) else {
            return false;
        };
        self.rows.retain(|row| row.start_offset < end);
        self.rows.push(Row { start_offset: end, ..newest });
        true
    }

    /// As [`LeaderEpochs::truncate_end`] for a replicated log, which knows of no other epochs than those
    /// of its entries: the last entry has epoch `last`, or there is none.
    pub(crate) fn end_with(&mut self, last: Option<LeaderEpoch>, end: Offset) -> bool {
        let gone_from = self.rows.partition_point(|row| Some(row.leader_epoch) <= last);
        let gone_start = self.rows.get(gone_from).map(|row| row.start_offset);
        self.rows.truncate(gone_from);
        // An epoch without a record gave its place to the one that is gone now.
        let is_back =
            last.is_some_and(|last| self.begin(last, gone_start.map_or(end, |s| s.min(end))));
        gone_start.is_some() || is_back
    }

    /// Forgets epochs that end at or before `start`; the epoch that holds `start` begins there.
    pub(crate) fn truncate_start(&mut self, start: Offset) -> bool {
        let after = self.rows.partition_point(|row| row.start_offset <= start);
        let Some(holder) = after.checked_sub(1) else { return false };
        if holder == 0 && self.rows[0].start_offset == start {
            return false;
        }
        self.rows.drain(..holder);
        self.rows[0].start_offset = start;
        true
    }

    /// The lines of the file.
    pub(crate) fn lines(&self) -> impl ExactSizeIterator<Item = String> {
        self.rows.iter().map(|row| format!("{} {}", row.leader_epoch, row.start_offset))
    }

    /// Reads one line of the file.
    pub(crate) fn parse_line(line: &str) -> Option<(LeaderEpoch, Offset)> {
        let (leader_epoch, start_offset) = line.split_once(' ')?;
        let leader_epoch: i32 = leader_epoch.parse().ok()?;
        let start_offset: i64 = start_offset.parse().ok()?;
        let is_legal = leader_epoch >= 0 && start_offset >= 0;
        is_legal.then_some((LeaderEpoch::new(leader_epoch), Offset::new(start_offset)))
    }

    /// The table that has these rows; `None` if they do not rise.
    pub(crate) fn from_rows(rows: &[(LeaderEpoch, Offset)]) -> Option<Self> {
        let rises = rows.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1);
        let row = |(leader_epoch, start_offset): &(_, _)| Row {
            leader_epoch: *leader_epoch,
            start_offset: *start_offset,
        };
        rises.then(|| Self { rows: rows.iter().map(row).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: &[(i32, i64)]) -> LeaderEpochs {
        let mut table = LeaderEpochs::default();
        for (leader_epoch, start) in rows {
            assert!(table.begin(LeaderEpoch::new(*leader_epoch), Offset::new(*start)));
        }
        table
    }

    fn end(table: &LeaderEpochs, wanted: i32) -> Option<(i32, i64)> {
        let found = table.end_of(LeaderEpoch::new(wanted), Offset::new(100));
        found.map(|(leader_epoch, offset)| (leader_epoch.get(), offset.get()))
    }

    #[test]
    fn the_end_of_an_epoch_is_the_start_of_the_next() {
        let t = table(&[(1, 0), (4, 10), (5, 30)]);
        assert_eq!(end(&t, 5), Some((5, 100)), "the newest ends with the log");
        assert_eq!(end(&t, 4), Some((4, 30)));
        assert_eq!(end(&t, 3), Some((1, 10)), "an epoch without records gives the one before it");
        assert_eq!(end(&t, 0), Some((0, 0)), "below the first");
        assert_eq!(end(&LeaderEpochs::default(), 0), None);
    }

    #[test]
    fn an_epoch_without_records_leaves_no_row() {
        let t = table(&[(1, 0), (2, 10), (3, 10)]);
        assert_eq!(t, table(&[(1, 0), (3, 10)]));
    }

    #[test]
    fn truncation_never_forgets_the_newest_epoch() {
        let mut t = table(&[(1, 0), (2, 10), (3, 20)]);
        assert!(t.truncate_end(Offset::new(5)));
        assert_eq!(t, table(&[(1, 0), (3, 5)]));
        assert!(!t.truncate_end(Offset::new(5)), "a row at the end itself stays");
    }

    #[test]
    fn a_replicated_log_knows_no_epoch_of_entries_that_are_gone() {
        let epoch = |epoch| Some(LeaderEpoch::new(epoch));
        let full = table(&[(1, 0), (2, 10), (4, 20), (5, 30)]);
        for (last, end, rows, has_changed) in [
            (epoch(5), 40, &[(1, 0), (2, 10), (4, 20), (5, 30)][..], false),
            (epoch(5), 30, &[(1, 0), (2, 10), (4, 20), (5, 30)], false),
            (epoch(2), 15, &[(1, 0), (2, 10)], true),
            (epoch(3), 20, &[(1, 0), (2, 10), (3, 20)], true),
            (epoch(3), 15, &[(1, 0), (2, 10), (3, 15)], true),
            (epoch(0), 0, &[(0, 0)], true),
            (None, 0, &[], true),
        ] {
            let mut t = full.clone();
            assert_eq!(t.end_with(last, Offset::new(end)), has_changed, "{last:?} {end}");
            assert_eq!(t, table(rows), "{last:?} {end}");
        }
    }

    #[test]
    fn raising_the_start_keeps_the_epoch_that_holds_it() {
        let mut t = table(&[(1, 0), (2, 10), (3, 20)]);
        assert!(t.truncate_start(Offset::new(15)));
        assert_eq!(t, table(&[(2, 15), (3, 20)]));
        assert!(!t.truncate_start(Offset::new(15)));
    }

    #[test]
    fn the_lines_are_kafkas_and_are_read_back() {
        let t = table(&[(1, 0), (4, 10)]);
        let lines: Vec<_> = t.lines().collect();
        assert_eq!(lines, ["1 0", "4 10"]);
        let rows: Vec<_> =
            lines.iter().map(|line| LeaderEpochs::parse_line(line).unwrap()).collect();
        assert_eq!(LeaderEpochs::from_rows(&rows), Some(t));
        let falls = [rows[1], rows[0]];
        assert_eq!(LeaderEpochs::from_rows(&falls), None);
        for line in ["", "1", "x 1", "1 -1", "1 2 3"] {
            assert_eq!(LeaderEpochs::parse_line(line), None, "{line:?}");
        }
    }
}
