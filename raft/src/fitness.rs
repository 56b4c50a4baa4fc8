//! Whether a broker may lead: what its disk does, for how long, and who is told.
//!
//! A broker whose disk hangs, is full or has failed could keep its leaderships for ever: it answers,
//! and nothing of what it takes gets anywhere. So it gives them away, and takes none before its disk
//! has been well for [`FIT_AGAIN_AFTER`]: a disk that comes and goes must not take its leaders along.
//! The others learn of it with the answers to their pings.
//!
//! This is about who should lead. Who may is Raft's business; of brokers that are all unfit one leads.

use std::time::Duration;

use storage::fitness::DiskState;
use tokio::time::Instant;

use crate::peers::Peers;

/// How long a disk may be full before this broker gives its leaderships away.
pub const FULL_AFTER: Duration = Duration::from_secs(2);
/// How long a disk must have been well before this broker leads again.
pub const FIT_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// How often the disk is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How a broker's disk stands, as its peers know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Fitness {
    /// It may lead.
    #[default]
    Fit,
    /// Its disk was unfit until a moment ago.
    Recovering,
    /// Its disk takes no more records.
    Full,
    /// Something of its disk has failed for good.
    Failed,
    /// Its disk does not answer: it can make no promise, and not even vote.
    Hanging,
}

impl Fitness {
    /// Whether it may lead while others could.
    #[must_use]
    pub const fn is_fit(self) -> bool {
        matches!(self, Self::Fit)
    }

    /// Its name, for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fit => "fit",
            Self::Recovering => "recovering",
            Self::Full => "full",
            Self::Failed => "failed",
            Self::Hanging => "hanging",
        }
    }

    pub(crate) const fn tag(self) -> u8 {
        match self {
            Self::Fit => 0,
            Self::Recovering => 1,
            Self::Full => 2,
            Self::Failed => 3,
            Self::Hanging => 4,
        }
    }

    /// What a newer broker says that this one does not know is some kind of unfitness.
    pub(crate) const fn of_tag(tag: u8) -> Self {
        match tag {
            0 => Self::Fit,
            1 => Self::Recovering,
            2 => Self::Full,
            4 => Self::Hanging,
            _ => Self::Failed,
        }
    }
}

/// Judges a disk by what it did over time.
#[derive(Debug, Default)]
struct Judge {
    full_since: Option<Instant>,
    unfit_until_now: Option<Instant>,
}

impl Judge {
    fn judge(&mut self, state: &DiskState, now: Instant) -> Fitness {
        self.full_since = state.is_full.then(|| self.full_since.unwrap_or(now));
        let is_full = self.full_since.is_some_and(|since| now - since >= FULL_AFTER);
        let fitness = if state.hanging().is_some() {
            Fitness::Hanging
        } else if state.failure.is_some() {
            Fitness::Failed
        } else if is_full {
            Fitness::Full
        } else {
            let is_new = self.unfit_until_now.is_some_and(|last| now - last < FIT_AGAIN_AFTER);
            return if is_new { Fitness::Recovering } else { Fitness::Fit };
        };
        self.unfit_until_now = Some(now);
        fitness
    }
}

/// Looks at a disk now and then and tells peers, if there are any, how it stands. Runs until it is
/// dropped, which is safe at every await.
pub async fn watch(look: impl Fn() -> DiskState + Send, peers: Option<Peers>) {
    let mut judge = Judge::default();
    let mut told = Fitness::Fit;
    loop {
        let state = look();
        let fitness = judge.judge(&state, Instant::now());
        if fitness != told {
            say(fitness, &state);
            if let Some(peers) = &peers {
                peers.set_fitness(fitness);
            }
            told = fitness;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn say(fitness: Fitness, state: &DiskState) {
    match fitness {
        Fitness::Fit => tracing::info!("the disk is fit again: this broker may lead"),
        Fitness::Recovering => tracing::info!("the disk answers again"),
        Fitness::Full => tracing::warn!("the disk is full: this broker gives its leaderships away"),
        Fitness::Failed => {
            let failure = state.failure.as_deref().unwrap_or_default();
            tracing::error!(failure, "the disk has failed: this broker gives its leaderships away");
        }
        Fitness::Hanging => {
            let call = state.hanging().map(ToString::to_string).unwrap_or_default();
            tracing::error!(call, "the disk hangs: this broker gives its leaderships away");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use storage::fitness::{HANGS_AFTER, Pending};

    use super::*;

    fn hanging(elapsed: Duration) -> DiskState {
        let path = Arc::from(Path::new("00.log"));
        DiskState { oldest: Some(Pending { operation: "sync", path, elapsed }), ..well() }
    }

    fn well() -> DiskState {
        DiskState::default()
    }

    #[tokio::test]
    async fn a_disk_that_was_unfit_must_be_well_for_a_while() {
        let begin = Instant::now();
        let at = |millis| begin + Duration::from_millis(millis);
        let mut judge = Judge::default();
        assert_eq!(judge.judge(&hanging(HANGS_AFTER / 2), at(0)), Fitness::Fit);
        assert_eq!(judge.judge(&hanging(HANGS_AFTER), at(1000)), Fitness::Hanging);
        assert_eq!(judge.judge(&well(), at(1200)), Fitness::Recovering);
        assert_eq!(judge.judge(&well(), at(10_900)), Fitness::Recovering);
        // It hangs again: the time begins anew.
        assert_eq!(judge.judge(&hanging(HANGS_AFTER), at(10_999)), Fitness::Hanging);
        assert_eq!(judge.judge(&well(), at(20_900)), Fitness::Recovering);
        assert_eq!(judge.judge(&well(), at(21_000)), Fitness::Fit);
        let full = DiskState { is_full: true, ..well() };
        assert_eq!(judge.judge(&full, at(30_000)), Fitness::Fit);
        assert_eq!(judge.judge(&well(), at(31_000)), Fitness::Fit, "a moment is no reason");
        assert_eq!(judge.judge(&full, at(32_000)), Fitness::Fit);
        assert_eq!(judge.judge(&full, at(34_000)), Fitness::Full);
        let failed = DiskState { failure: Some("t-0: EIO".to_owned()), ..well() };
        assert_eq!(judge.judge(&failed, at(35_000)), Fitness::Failed);
        assert_eq!(judge.judge(&well(), at(50_000)), Fitness::Fit);
    }

    #[test]
    fn a_word_of_the_wire_comes_back_as_it_was() {
        use Fitness::{Failed, Fit, Full, Hanging, Recovering};
        for fitness in [Fit, Recovering, Full, Failed, Hanging] {
            assert_eq!(Fitness::of_tag(fitness.tag()), fitness);
        }
        assert!(!Fitness::of_tag(9).is_fit());
    }
}
