//! What happened to the members of one group, and the promises that a coordinator must keep:
//!
//! 1. no committed offset is lost: whoever gets a partition begins where an acknowledged commit, or one
//!    after it, had come to, and so does whoever asks in the end;
//! 2. no offset is told that nobody has begun to commit;
//! 3. no partition has two owners in one generation or member epoch;
//! 4. no partition has two owners at one time: a new one gets it when the old one has given it up.
//!
//! It never asks a broker anything. All times come from one clock, taken by the members themselves:
//! before a commit is sent and after it was acknowledged, when a member is told that a partition is
//! its own and before it says that it has given one up. Members commit what they have read, so that of
//! one partition offsets only rise. Whose partition was taken away (it was silent for too long) may
//! believe for a while that it is an owner.

use std::collections::{BTreeMap, HashMap};

use super::Partition;

/// A member, as the test numbers them.
pub type Member = u32;

/// Nanoseconds of the clock that all members share.
pub type Nanos = i64;

/// One broken promise, with the facts to look for its cause.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant tells what its fields are")]
pub enum Violation {
    /// A member began before what was committed when it got the partition.
    CommitLost { member: Member, partition: Partition, committed: i64, began_at: i64 },
    /// A member began where nobody had begun to commit: it skips what nobody has read.
    Skipped { member: Member, partition: Partition, began_at: i64 },
    /// In the end less is committed than was acknowledged.
    LostInTheEnd { partition: Partition, committed: i64, found: Option<i64> },
    /// In the end something is committed that nobody has begun to commit.
    Invented { partition: Partition, found: i64 },
    /// Two members got a partition in one generation.
    TwoOwners { partition: Partition, generation: i32, first: Member, second: Member },
    /// A member got a partition this long before the one that had it gave it up.
    Overlap { partition: Partition, first: Member, second: Member, by: Nanos },
}

/// How a member's time with a partition ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It has it still.
    Held,
    /// It gave it up.
    Given(Nanos),
    /// It learned later that it had it no more.
    TakenAway,
}

/// A time during which a member had a partition.
#[derive(Debug, Clone, Copy)]
struct Ownership {
    member: Member,
    from: Nanos,
    end: End,
    /// Where it began to read.
    began_at: Option<(Nanos, i64)>,
}

/// What happened, collected while a test runs.
#[derive(Debug, Clone, Default)]
pub struct GroupHistory {
    generations: BTreeMap<(i32, Partition), Vec<Member>>,
    ownerships: BTreeMap<Partition, Vec<Ownership>>,
    begun: BTreeMap<Partition, Vec<(Nanos, i64)>>,
    acknowledged: BTreeMap<Partition, Vec<(Nanos, i64)>>,
}

impl GroupHistory {
    /// A member was told that a partition is its own; `generation` is -1 if it does not know it.
    pub fn assigned(&mut self, member: Member, at: Nanos, generation: i32, partition: Partition) {
        if generation >= 0 {
            let owners = self.generations.entry((generation, partition)).or_default();
            if !owners.contains(&member) {
                owners.push(member);
            }
        }
        let ownership = Ownership { member, from: at, end: End::Held, began_at: None };
        self.ownerships.entry(partition).or_default().push(ownership);
    }

    /// A member is about to give a partition up.
    pub fn given(&mut self, member: Member, at: Nanos, partition: Partition) {
        if let Some(ownership) = self.last_of(member, partition) {
            ownership.end = End::Given(at);
        }
    }

    /// A partition was taken away from a member, which learns of it late: that it overlaps with the
    /// next owner's time is no fault.
    pub fn lost(&mut self, member: Member, partition: Partition) {
        if let Some(ownership) = self.last_of(member, partition) {
            ownership.end = End::TakenAway;
        }
    }

    /// A member was shown the first record since it got a partition.
    pub fn began(&mut self, member: Member, at: Nanos, partition: Partition, offset: i64) {
        if let Some(ownership) = self.last_of(member, partition) {
            ownership.began_at = Some((at, offset));
        }
    }

    /// A member is about to commit.
    pub fn committing(&mut self, at: Nanos, partition: Partition, offset: i64) {
        self.begun.entry(partition).or_default().push((at, offset));
    }

    /// A commit was acknowledged.
    pub fn committed(&mut self, at: Nanos, partition: Partition, offset: i64) {
        self.acknowledged.entry(partition).or_default().push((at, offset));
    }

    /// How many commits were acknowledged.
    pub fn committed_count(&self) -> usize {
        self.acknowledged.values().map(Vec::len).sum()
    }

    /// How often a member got a partition.
    pub fn assigned_count(&self) -> usize {
        self.ownerships.values().map(Vec::len).sum()
    }

    /// Every broken promise, given what is committed now.
    pub fn violations(&self, committed: &HashMap<Partition, i64>) -> Vec<Violation> {
        let mut found = Vec::new();
        for (&(generation, partition), owners) in &self.generations {
            if let [first, second, ..] = owners[..] {
                found.push(Violation::TwoOwners { partition, generation, first, second });
            }
        }
        for (&partition, ownerships) in &self.ownerships {
            check_overlaps(partition, ownerships, &mut found);
            for ownership in ownerships {
                self.check_beginning(partition, ownership, &mut found);
            }
        }
        self.check_end(committed, &mut found);
        found
    }

    /// Fails the test when a promise is broken.
    pub fn assert_kept(&self, committed: &HashMap<Partition, i64>) {
        let violations = self.violations(committed);
        let first = &violations[..violations.len().min(10)];
        assert!(violations.is_empty(), "{} violations, first of them {first:#?}", violations.len());
    }

    fn last_of(&mut self, member: Member, partition: Partition) -> Option<&mut Ownership> {
        let ownerships = self.ownerships.get_mut(&partition)?;
        ownerships.iter_mut().rev().find(|ownership| ownership.member == member)
    }

    /// The highest offset that was acknowledged before a time.
    fn acknowledged_before(&self, partition: Partition, time: Nanos) -> Option<i64> {
        let all = self.acknowledged.get(&partition)?.iter();
        all.filter(|(at, _)| *at < time).map(|(_, offset)| *offset).max()
    }

    fn check_beginning(
        &self,
        partition: Partition,
        ownership: &Ownership,
        found: &mut Vec<Violation>,
    ) {
        let &Ownership { member, from, began_at: Some((at, began_at)), .. } = ownership else {
            return;
        };
        let least = self.acknowledged_before(partition, from).unwrap_or(0);
        if began_at < least {
            let committed = least;
            found.push(Violation::CommitLost { member, partition, committed, began_at });
            return;
        }
        let mut begun = self.begun.get(&partition).into_iter().flatten();
        let was_begun = begun.any(|(begun_at, offset)| *begun_at < at && *offset == began_at);
        if began_at != 0 && !was_begun {
            found.push(Violation::Skipped { member, partition, began_at });
        }
    }

    fn check_end(&self, committed: &HashMap<Partition, i64>, found: &mut Vec<Violation>) {
        for &partition in self.acknowledged.keys() {
            let least = self.acknowledged_before(partition, Nanos::MAX).unwrap_or(0);
            let now = committed.get(&partition).copied();
            if now.is_none_or(|now| now < least) {
                found.push(Violation::LostInTheEnd { partition, committed: least, found: now });
            }
        }
        for (&partition, &offset) in committed {
            let mut begun = self.begun.get(&partition).into_iter().flatten();
            if !begun.any(|(_, begun)| *begun == offset) {
                found.push(Violation::Invented { partition, found: offset });
            }
        }
    }
}

/// Each owner against the one before it that was the last to give the partition up.
fn check_overlaps(partition: Partition, ownerships: &[Ownership], found: &mut Vec<Violation>) {
    let mut in_order = ownerships.to_vec();
    in_order.sort_unstable_by_key(|ownership| ownership.from);
    let mut last: Option<(Member, Nanos)> = None;
    for Ownership { member, from, end, .. } in in_order {
        let until = match end {
            End::Held => Nanos::MAX,
            End::Given(until) => until,
            // When that was is not known.
            End::TakenAway => continue,
        };
        if let Some((first, last_until)) = last.filter(|(first, _)| *first != member)
            && from < last_until
        {
            let by = last_until.saturating_sub(from);
            found.push(Violation::Overlap { partition, first, second: member, by });
        }
        if last.is_none_or(|(_, last_until)| last_until <= until) {
            last = Some((member, until));
        }
    }
}

#[cfg(test)]
mod tests;
