//! Leader epochs as clients ask about them: fencing (KIP-320) and where a history ends.

use protocol::types::{LeaderEpoch, Offset};
use raft::replica::Leadership;

use super::Partition;

/// Why a request that names a leader epoch, or wants the leader, is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EpochRefusal {
    /// The client's epoch is older: its metadata is stale.
    Fenced(Leadership),
    /// The client's epoch is newer: ours is stale.
    Unknown,
    /// Another broker leads, or nobody does.
    NotLeader(Leadership),
    /// Nobody leads because the log has failed.
    Offline,
}

/// The end of an epoch's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EpochEnd {
    /// The largest epoch at or below the one asked for.
    pub(crate) leader_epoch: LeaderEpoch,
    /// The offset after its last record (exclusive).
    pub(crate) end_offset: Offset,
}

impl Partition {
    /// Checks that this replica leads, in the epoch that the client knows
    /// ([`LeaderEpoch::NONE`] asks nothing).
    pub(crate) fn check_leader_epoch(&self, known: LeaderEpoch) -> Result<(), EpochRefusal> {
        check(self.replica.leadership(), known).map_err(|refusal| {
            let log_failed = || self.replica.log().failure().is_some();
            match refusal {
                EpochRefusal::NotLeader(_) if log_failed() => EpochRefusal::Offline,
                other => other,
            }
        })
    }

    /// Where `leader_epoch` ends (behaviour 39); `None` for an epoch that is still to come.
    ///
    /// The current epoch ends at the log end even if it has no records yet; an epoch older than
    /// everything in the log ends where the log starts.
    pub(crate) fn epoch_end(&self, leader_epoch: LeaderEpoch) -> Option<EpochEnd> {
        let current = self.replica.leadership().leader_epoch;
        if leader_epoch < LeaderEpoch::ZERO || leader_epoch > current {
            return None;
        }
        let pointers = self.replica.pointers();
        if leader_epoch == current {
            return Some(EpochEnd { leader_epoch, end_offset: pointers.log_end_offset });
        }
        let before_all = (leader_epoch, pointers.log_start_offset);
        let (leader_epoch, end_offset) =
            self.replica.log().epoch_end(leader_epoch).unwrap_or(before_all);
        Some(EpochEnd { leader_epoch, end_offset })
    }
}

fn check(leadership: Leadership, known: LeaderEpoch) -> Result<(), EpochRefusal> {
    if known != LeaderEpoch::NONE {
        if known < leadership.leader_epoch {
            return Err(EpochRefusal::Fenced(leadership));
        }
        if known > leadership.leader_epoch {
            return Err(EpochRefusal::Unknown);
        }
    }
    if leadership.is_local { Ok(()) } else { Err(EpochRefusal::NotLeader(leadership)) }
}

#[cfg(test)]
mod tests {
    use protocol::types::BrokerId;

    use super::*;

    #[test]
    fn a_known_epoch_must_be_the_current_one() {
        let leadership = |is_local| Leadership {
            leader: Some(BrokerId::new(1)),
            leader_epoch: LeaderEpoch::new(5),
            is_local,
        };
        let at = |known, is_local| check(leadership(is_local), LeaderEpoch::new(known));
        assert_eq!(at(-1, true), Ok(()));
        assert_eq!(at(5, true), Ok(()));
        assert_eq!(at(4, true), Err(EpochRefusal::Fenced(leadership(true))));
        assert_eq!(at(6, true), Err(EpochRefusal::Unknown));
        assert_eq!(at(5, false), Err(EpochRefusal::NotLeader(leadership(false))));
        assert_eq!(at(4, false), Err(EpochRefusal::Fenced(leadership(false))));
    }
}
