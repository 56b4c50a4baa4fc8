//! A partition's group, of one replica and of three, held to what every replica promises.

use std::sync::Arc;

use raft::replica::Replica;
use storage::device::faulty::{Effect, Fault, Operation};

use crate::cluster::Cluster;
use crate::conformance::{Stop, Subject, all_checks};

/// The replica under test is whichever leads; all of them are stopped together.
struct Group<const N: i32>(Cluster);

impl<const N: i32> Subject for Group<N> {
    /// A restarted leader always takes a new term.
    const KEEPS_EPOCH: bool = false;

    fn new() -> Self {
        Self(Cluster::started(N))
    }

    fn replica(&self) -> Arc<dyn Replica> {
        self.0.replica(self.0.leader())
    }

    fn restart(&mut self, stop: Stop) {
        let nodes = 0..usize::try_from(N).unwrap();
        if matches!(stop, Stop::Clean) {
            self.0.settle();
        }
        for node in nodes.clone() {
            match stop {
                Stop::Clean => self.0.stop(node),
                Stop::Killed => self.0.kill(node),
                Stop::PowerLost { seed } => self.0.lose_power(node, seed),
            }
        }
        nodes.for_each(|node| self.0.start(node));
    }

    fn fail_next_sync(&self) {
        let device = self.0.device(self.0.leader());
        device.inject(Fault { operation: Operation::Sync, nth: 1, effect: Effect::Fail });
    }
}

type One = Group<1>;
type Three = Group<3>;

mod one {
    use super::*;

    all_checks!(One);
}

mod three {
    use super::*;

    // Not that a failed sync leaves the last record uncommitted: the other two may commit it.
    all_checks!(Three:
        offsets_follow_the_order_of_calls,
        offsets_have_no_gap_under_concurrent_producers,
        what_is_produced_is_committed_and_read_back,
        a_listener_is_told_the_present_state_and_then_only_progress,
        a_listener_may_read_the_pointers,
        the_last_listener_wins,
        a_duplicate_gets_the_offsets_of_the_first,
        a_sequence_gap_is_refused_and_appends_nothing,
        deleted_records_stay_deleted,
        deletion_beyond_the_high_watermark_is_refused,
        retention_moves_the_log_start_up_to_the_high_watermark,
        a_clean_restart_changes_nothing,
        an_unclean_restart_raises_the_epoch,
        nothing_committed_is_lost_and_no_offset_has_two_contents,
        what_is_produced_stands_in_the_epoch_that_leads,
    );
}
