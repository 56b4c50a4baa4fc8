//! The vocabulary of address spaces and identities that every crate shares.
//!
//! Each address space is its own type, so that a byte position can never be handed to something
//! that wants an offset. None of these types knows a file, a socket or a clock.

use std::fmt;

/// Defines a newtype over an integer with the conversions that a wire or disk edge needs.
macro_rules! number {
    ($(#[$doc:meta])* $name:ident($raw:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name($raw);

        impl $name {
            /// Wraps a raw value as it stands on the wire or on disk.
            #[must_use]
            pub const fn new(raw: $raw) -> Self {
                Self(raw)
            }

            /// The raw value for the wire or the disk.
            #[must_use]
            pub const fn get(self) -> $raw {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// The Kafka position of a record in a partition; it counts records, not bytes.
    Offset(i64)
}
number! {
    /// The ordinal of an entry (a record batch or a Raft-only entry) in a partition's log.
    LogIndex(u64)
}
number! {
    /// The Raft term as clients see it, stamped into each batch.
    LeaderEpoch(i32)
}
number! {
    /// A broker process.
    BrokerId(i32)
}
number! {
    /// The index of a partition within its topic.
    PartitionId(i32)
}
number! {
    /// The identity that InitProducerId hands out.
    ProducerId(i64)
}
number! {
    /// The fencing number of a producer id.
    ProducerEpoch(i16)
}
number! {
    /// The sequence number of a record within (producer id, partition).
    Sequence(i32)
}
number! {
    /// Milliseconds since 1970-01-01T00:00:00Z, as clients and batches carry them.
    Timestamp(i64)
}

impl Offset {
    /// The first offset of every new log.
    pub const ZERO: Self = Self(0);
    /// What Kafka sends where there is no offset.
    pub const NONE: Self = Self(-1);

    /// The offset `count` records later.
    ///
    /// # Panics
    /// On overflow of the 63-bit offset space, which no log can reach.
    #[must_use]
    pub const fn advance(self, count: i64) -> Self {
        Self(self.0.checked_add(count).expect("an offset never reaches 2^63"))
    }

    /// How many offsets lie between `earlier` and `self` (negative if `earlier` is later).
    #[must_use]
    pub const fn distance_from(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl LeaderEpoch {
    /// The epoch of a log that was never restarted uncleanly.
    pub const ZERO: Self = Self(0);
    /// What Kafka sends where there is no epoch.
    pub const NONE: Self = Self(-1);

    /// The epoch after this one.
    ///
    /// # Panics
    /// On overflow, after two billion unclean starts.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.checked_add(1).expect("a leader epoch never reaches 2^31"))
    }
}

impl ProducerId {
    /// A batch without idempotence carries this.
    pub const NONE: Self = Self(-1);
}

impl ProducerEpoch {
    /// A batch without idempotence carries this.
    pub const NONE: Self = Self(-1);
}

impl Sequence {
    /// A batch without idempotence carries this.
    pub const NONE: Self = Self(-1);

    /// The sequence `count` records later; 2147483647 is followed by 0 (Kafka's rule).
    #[must_use]
    pub const fn advance(self, count: i32) -> Self {
        let sum = self.0 as i64 + count as i64;
        let wrap = i32::MAX as i64 + 1;
        #[expect(clippy::cast_possible_truncation, reason = "reduced modulo 2^31 first")]
        Self((sum % wrap) as i32)
    }
}

impl Timestamp {
    /// What Kafka sends where there is no timestamp.
    pub const NONE: Self = Self(-1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_wrap_to_zero() {
        let advanced = |from, count| Sequence::new(from).advance(count).get();
        assert_eq!(advanced(0, 1), 1);
        assert_eq!(advanced(i32::MAX, 0), i32::MAX);
        assert_eq!(advanced(i32::MAX, 1), 0);
        assert_eq!(advanced(i32::MAX - 1, 5), 3);
        assert_eq!(advanced(i32::MAX, i32::MAX), i32::MAX - 1);
    }

    #[test]
    fn offsets_move_and_measure() {
        assert_eq!(Offset::new(5).advance(3), Offset::new(8));
        assert_eq!(Offset::new(8).distance_from(Offset::new(5)), 3);
        assert_eq!(Offset::new(5).distance_from(Offset::new(8)), -3);
        assert_eq!(LeaderEpoch::ZERO.next(), LeaderEpoch::new(1));
    }

    #[test]
    #[should_panic(expected = "an offset never reaches 2^63")]
    fn offsets_do_not_wrap() {
        let _beyond = Offset::new(i64::MAX).advance(1);
    }
}
