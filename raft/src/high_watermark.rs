//! The high watermark as a type that refuses to go back.
//!
//! Written by one thread at a time (whoever holds the replica's listener), read by any.

use std::sync::atomic::{AtomicI64, Ordering};

use protocol::types::Offset;

/// What an advance came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Advance {
    /// It moved up.
    Moved,
    /// It was there already.
    Same,
    /// The caller wanted it to go back from this; it did not.
    Regressed {
        /// Where it stays.
        from: Offset,
    },
}

/// The exclusive end of what is committed.
#[derive(Debug)]
pub(crate) struct HighWatermark(AtomicI64);

impl HighWatermark {
    pub(crate) const fn new(at: Offset) -> Self {
        Self(AtomicI64::new(at.get()))
    }

    pub(crate) fn get(&self) -> Offset {
        Offset::new(self.0.load(Ordering::Acquire))
    }

    pub(crate) fn advance(&self, to: Offset) -> Advance {
        let from = Offset::new(self.0.fetch_max(to.get(), Ordering::AcqRel));
        match to.cmp(&from) {
            std::cmp::Ordering::Greater => Advance::Moved,
            std::cmp::Ordering::Equal => Advance::Same,
            std::cmp::Ordering::Less => Advance::Regressed { from },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_goes_back() {
        let high_watermark = HighWatermark::new(Offset::new(3));
        let check = |to: i64, want: Advance, then: i64| {
            assert_eq!(high_watermark.advance(Offset::new(to)), want);
            assert_eq!(high_watermark.get(), Offset::new(then));
        };
        check(3, Advance::Same, 3);
        check(5, Advance::Moved, 5);
        check(4, Advance::Regressed { from: Offset::new(5) }, 5);
        check(6, Advance::Moved, 6);
    }
}
