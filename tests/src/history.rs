//! The one checker of histories: what producers were told and what readers were shown, against what
//! the log holds at the end.
//!
//! It decides four things, whatever was killed in between:
//!
//! 1. every acknowledged record is in the log, once, at the offset of its acknowledgement;
//! 2. no record that was sent is there twice, and none that was not sent is there at all;
//! 3. in each partition the records of one client stand in the order in which it sent them, and
//!    offsets have no gaps;
//! 4. no reader's view goes back: what any reader was shown at an offset stays there, a reader moves
//!    forward record by record, and the end that it was told of never shrinks.
//!
//! It never asks a broker anything. Producers must be idempotent and topics neither compacted nor
//! trimmed, or the rules do not hold.

pub mod groups;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::{self, Display, Formatter};

/// Which record: the number that a client gave it, counting up by one for each partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordId {
    /// The client that sent it.
    pub client: u32,
    /// Its place among what that client sent.
    pub number: u64,
}

impl RecordId {
    /// The id that a record's value carries, if it is one of ours.
    pub fn parse(value: &str) -> Option<Self> {
        let (client, number) = value.split_once(':')?;
        Some(Self { client: client.parse().ok()?, number: number.parse().ok()? })
    }
}

/// What a record's value should be, so that [`RecordId::parse`] finds it again.
impl Display for RecordId {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.client, self.number)
    }
}

/// A partition, as the test numbers them.
pub type Partition = i32;

/// A reader, as the test numbers them; one that seeks back is a new reader.
pub type Reader = u32;

/// One broken promise, with the facts to look for its cause.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant tells what its fields are")]
pub enum Violation {
    /// Acknowledged, and not in the log.
    Lost { partition: Partition, record: RecordId, acked_at: i64 },
    /// Acknowledged at another offset than where it stands.
    Moved { partition: Partition, record: RecordId, acked_at: i64, found_at: i64 },
    /// In the log twice.
    Doubled { partition: Partition, record: RecordId, first: i64, second: i64 },
    /// In the log, but nobody sent it.
    Invented { partition: Partition, record: RecordId, at: i64 },
    /// After a record that its client sent later.
    Reordered { partition: Partition, record: RecordId, after: RecordId, at: i64 },
    /// The log skips or repeats an offset.
    Gap { partition: Partition, expected: i64, found: i64 },
    /// A reader was shown a record that is no longer there, or another one.
    Unseen { reader: Reader, partition: Partition, at: i64, shown: RecordId, now: Option<RecordId> },
    /// A reader moved other than to the next offset.
    Jumped { reader: Reader, partition: Partition, expected: i64, shown: i64 },
    /// A reader was told of an end, and later of a smaller one.
    Shrunk { reader: Reader, partition: Partition, told: i64, later: i64 },
}

/// What one reader was shown of one partition.
#[derive(Debug, Clone, Default)]
struct View {
    shown: Vec<(i64, RecordId)>,
    ends: Vec<i64>,
}

/// What happened, collected while a test runs.
#[derive(Debug, Clone, Default)]
pub struct History {
    sent: HashSet<(Partition, RecordId)>,
    acked: BTreeMap<(Partition, RecordId), i64>,
    views: BTreeMap<(Reader, Partition), View>,
    newest: BTreeMap<(u32, Partition), u64>,
}

impl History {
    /// A client is about to send this record.
    pub fn sending(&mut self, partition: Partition, record: RecordId) {
        self.sent.insert((partition, record));
    }

    /// The broker has acknowledged this record at this offset.
    pub fn acked(&mut self, partition: Partition, record: RecordId, offset: i64) {
        self.acked.insert((partition, record), offset);
        let newest = self.newest.entry((record.client, partition)).or_default();
        *newest = record.number.max(*newest);
    }

    /// A reader was shown this record.
    pub fn shown(&mut self, reader: Reader, partition: Partition, offset: i64, record: RecordId) {
        self.views.entry((reader, partition)).or_default().shown.push((offset, record));
    }

    /// A reader was told that a partition ends here, exclusive.
    pub fn told_end(&mut self, reader: Reader, partition: Partition, end_offset: i64) {
        self.views.entry((reader, partition)).or_default().ends.push(end_offset);
    }

    /// How many records were acknowledged.
    pub fn acked_count(&self) -> usize {
        self.acked.len()
    }

    /// The newest record of a client that was acknowledged in this partition.
    pub fn newest_acked(&self, client: u32, partition: Partition) -> Option<u64> {
        self.newest.get(&(client, partition)).copied()
    }

    /// The same of every client and partition.
    pub fn newest_of_all(&self) -> &BTreeMap<(u32, Partition), u64> {
        &self.newest
    }

    /// Every broken promise, given all that the log holds now.
    pub fn violations(&self, log: &BTreeMap<Partition, Vec<(i64, RecordId)>>) -> Vec<Violation> {
        let mut found = Vec::new();
        let mut places = HashMap::new();
        for (&partition, records) in log {
            self.check_log(partition, records, &mut places, &mut found);
        }
        self.check_acks(&places, &mut found);
        let contents: HashMap<_, _> = log
            .iter()
            .flat_map(|(&partition, records)| {
                records.iter().map(move |&(offset, record)| ((partition, offset), record))
            })
            .collect();
        for (&(reader, partition), view) in &self.views {
            check_view(reader, partition, view, &contents, &mut found);
            let end = log.get(&partition).and_then(|records| records.last());
            check_ends(reader, partition, view, end.map_or(0, |(last, _)| last + 1), &mut found);
        }
        found
    }

    /// Fails the test when a promise is broken.
    pub fn assert_kept(&self, log: &BTreeMap<Partition, Vec<(i64, RecordId)>>) {
        let violations = self.violations(log);
        let first = &violations[..violations.len().min(10)];
        assert!(violations.is_empty(), "{} violations, first of them {first:#?}", violations.len());
    }

    fn check_log(
        &self,
        partition: Partition,
        records: &[(i64, RecordId)],
        places: &mut HashMap<(Partition, RecordId), i64>,
        found: &mut Vec<Violation>,
    ) {
        let mut expected = records.first().map_or(0, |&(first, _)| first);
        let mut latest = HashMap::<u32, RecordId>::new();
        for &(at, record) in records {
            if at != expected {
                found.push(Violation::Gap { partition, expected, found: at });
            }
            expected = at + 1;
            if !self.sent.contains(&(partition, record)) {
                found.push(Violation::Invented { partition, record, at });
            }
            if let Some(first) = places.insert((partition, record), at) {
                found.push(Violation::Doubled { partition, record, first, second: at });
                continue;
            }
            match latest.insert(record.client, record) {
                Some(after) if after > record => {
                    found.push(Violation::Reordered { partition, record, after, at });
                }
                _ => {}
            }
        }
    }

    fn check_acks(&self, places: &HashMap<(Partition, RecordId), i64>, found: &mut Vec<Violation>) {
        for (&(partition, record), &acked_at) in &self.acked {
            match places.get(&(partition, record)) {
                None => found.push(Violation::Lost { partition, record, acked_at }),
                Some(&found_at) if found_at != acked_at => {
                    found.push(Violation::Moved { partition, record, acked_at, found_at });
                }
                Some(_) => {}
            }
        }
    }
}

fn check_view(
    reader: Reader,
    partition: Partition,
    view: &View,
    contents: &HashMap<(Partition, i64), RecordId>,
    found: &mut Vec<Violation>,
) {
    let mut expected = view.shown.first().map_or(0, |&(first, _)| first);
    for &(at, shown) in &view.shown {
        if at != expected {
            found.push(Violation::Jumped { reader, partition, expected, shown: at });
        }
        expected = at + 1;
        let now = contents.get(&(partition, at)).copied();
        if now != Some(shown) {
            found.push(Violation::Unseen { reader, partition, at, shown, now });
        }
    }
}

fn check_ends(
    reader: Reader,
    partition: Partition,
    view: &View,
    end_offset: i64,
    found: &mut Vec<Violation>,
) {
    let later_ends = view.ends.iter().skip(1).chain([&end_offset]);
    for (&told, &later) in view.ends.iter().zip(later_ends) {
        if later < told {
            found.push(Violation::Shrunk { reader, partition, told, later });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> RecordId {
        RecordId { client: 1, number }
    }

    /// Five records sent and acknowledged in order, all shown to one reader.
    fn kept() -> (History, BTreeMap<Partition, Vec<(i64, RecordId)>>) {
        let mut history = History::default();
        let mut log = Vec::new();
        for (offset, number) in (0..5).zip(0..) {
            history.sending(0, id(number));
            history.acked(0, id(number), offset);
            history.shown(7, 0, offset, id(number));
            history.told_end(7, 0, offset + 1);
            log.push((offset, id(number)));
        }
        (history, BTreeMap::from([(0, log)]))
    }

    fn check(spoil: impl FnOnce(&mut History, &mut Vec<(i64, RecordId)>), expected: &[Violation]) {
        let (mut history, mut log) = kept();
        spoil(&mut history, log.get_mut(&0).unwrap());
        assert_eq!(history.violations(&log), expected);
    }

    #[test]
    fn a_kept_history_has_no_violation() {
        check(|_, _| {}, &[]);
        // A record whose acknowledgement never came may be there or not.
        check(|history, _| history.sending(0, id(5)), &[]);
        check(
            |history, log| {
                history.sending(0, id(5));
                log.push((5, id(5)));
            },
            &[],
        );
    }

    #[test]
    fn a_lost_record_is_found() {
        let lost = Violation::Lost { partition: 0, record: id(4), acked_at: 4 };
        let unseen = Violation::Unseen { reader: 7, partition: 0, at: 4, shown: id(4), now: None };
        let shrunk = Violation::Shrunk { reader: 7, partition: 0, told: 5, later: 4 };
        check(|_, log| log.truncate(4), &[lost, unseen, shrunk]);
    }

    #[test]
    fn a_whole_lost_partition_is_found() {
        let (history, _) = kept();
        let violations = history.violations(&BTreeMap::new());
        let lost = violations.iter().filter(|v| matches!(v, Violation::Lost { .. })).count();
        assert_eq!(lost, 5);
    }

    #[test]
    fn a_doubled_record_is_found() {
        let doubled = Violation::Doubled { partition: 0, record: id(2), first: 2, second: 5 };
        let moved = Violation::Moved { partition: 0, record: id(2), acked_at: 2, found_at: 5 };
        check(|_, log| log.push((5, id(2))), &[doubled, moved]);
    }

    #[test]
    fn reordered_records_are_found() {
        let swap = |history: &mut History, log: &mut Vec<(i64, RecordId)>| {
            for (offset, number) in [(5, 6), (6, 5)] {
                history.sending(0, id(number));
                log.push((offset, id(number)));
            }
        };
        let reordered = Violation::Reordered { partition: 0, record: id(5), after: id(6), at: 6 };
        check(swap, &[reordered]);
    }

    #[test]
    fn an_invented_record_is_found() {
        let invented = Violation::Invented { partition: 0, record: id(9), at: 5 };
        check(|_, log| log.push((5, id(9))), &[invented]);
    }

    #[test]
    fn a_gap_in_the_log_is_found() {
        let gap = Violation::Gap { partition: 0, expected: 5, found: 6 };
        let skip = |history: &mut History, log: &mut Vec<(i64, RecordId)>| {
            history.sending(0, id(5));
            log.push((6, id(5)));
        };
        check(skip, &[gap]);
    }

    #[test]
    fn a_view_that_goes_back_is_found() {
        let jumped = Violation::Jumped { reader: 7, partition: 0, expected: 5, shown: 3 };
        check(|history, _| history.shown(7, 0, 3, id(3)), &[jumped]);
        let shrunk = Violation::Shrunk { reader: 7, partition: 0, told: 5, later: 3 };
        check(|history, _| history.told_end(7, 0, 3), &[shrunk]);
    }

    #[test]
    fn a_record_that_changed_under_a_reader_is_found() {
        let shown = RecordId { client: 2, number: 0 };
        let now = Some(id(1));
        let unseen = Violation::Unseen { reader: 8, partition: 0, at: 1, shown, now };
        check(|history, _| history.shown(8, 0, 1, shown), &[unseen]);
    }

    #[test]
    fn record_ids_survive_the_wire() {
        assert_eq!(RecordId::parse(&id(17).to_string()), Some(id(17)));
        assert_eq!(RecordId::parse("someone else's"), None);
    }
}
