//! A listener that remembers what it was told, and can be waited for.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use protocol::types::{LeaderEpoch, Offset};
use raft::replica::ReplicaListener;

/// Far more than any disk needs: only a missing call runs into it.
const PATIENCE: Duration = Duration::from_secs(60);

/// One call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    Committed(Offset),
    Leads(LeaderEpoch),
    Lost,
    Ended,
}

/// The listener.
#[derive(Default)]
pub(crate) struct Told {
    events: Mutex<Vec<Event>>,
    changed: Condvar,
}

impl Told {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.events.lock().clone()
    }

    /// The newest high watermark told.
    pub(crate) fn high_watermark(&self) -> Option<Offset> {
        self.events.lock().iter().rev().find_map(|event| match event {
            Event::Committed(high_watermark) => Some(*high_watermark),
            Event::Leads(_) | Event::Lost | Event::Ended => None,
        })
    }

    /// Waits until everything below `next_offset` is committed.
    pub(crate) fn wait_committed(&self, next_offset: Offset) {
        self.wait(|event| matches!(event, Event::Committed(to) if *to >= next_offset));
    }

    pub(crate) fn wait_ended(&self) {
        self.wait(|event| *event == Event::Ended);
    }

    fn wait(&self, wanted: impl Fn(&Event) -> bool) {
        let mut events = self.events.lock();
        while !events.iter().any(&wanted) {
            let timed_out = self.changed.wait_for(&mut events, PATIENCE).timed_out();
            assert!(!timed_out, "only told {events:?}");
        }
    }

    fn push(&self, event: Event) {
        self.events.lock().push(event);
        self.changed.notify_all();
    }
}

impl ReplicaListener for Told {
    fn committed(&self, high_watermark: Offset) {
        self.push(Event::Committed(high_watermark));
    }

    fn leads(&self, leader_epoch: LeaderEpoch) {
        self.push(Event::Leads(leader_epoch));
    }

    fn lost(&self) {
        self.push(Event::Lost);
    }

    fn ended(&self) {
        self.push(Event::Ended);
    }
}
