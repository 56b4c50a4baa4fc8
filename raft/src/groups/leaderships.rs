//! Who leads which group, for those who want to know: each gets every group's newest state, and may
//! miss what came between.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::replica::Leadership;
use crate::types::GroupId;

/// A subscription to the leaders of all groups of a node.
#[derive(Debug)]
pub struct Leaderships {
    inbox: Arc<Inbox>,
}

/// What a subscriber was not told yet. Bounded by the number of groups.
#[derive(Debug, Default)]
struct Inbox {
    changed: Mutex<BTreeMap<GroupId, Leadership>>,
    wake: Notify,
}

impl Leaderships {
    /// Waits until something changed, and returns the newest state of each group that did; the first
    /// time all that are known. A group that is closed or has ended has no leader.
    ///
    /// Dropped, it loses nothing.
    pub async fn changed(&mut self) -> Vec<(GroupId, Leadership)> {
        loop {
            let changed = std::mem::take(&mut *self.inbox.changed.lock());
            if !changed.is_empty() {
                return changed.into_iter().collect();
            }
            self.inbox.wake.notified().await;
        }
    }
}

/// The other side.
#[derive(Debug, Default)]
pub(super) struct Changes {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    known: BTreeMap<GroupId, Leadership>,
    inboxes: Vec<Weak<Inbox>>,
}

impl Changes {
    pub(super) fn subscribe(&self) -> Leaderships {
        let mut state = self.state.lock();
        let inbox =
            Arc::new(Inbox { changed: Mutex::new(state.known.clone()), wake: Notify::new() });
        state.inboxes.push(Arc::downgrade(&inbox));
        Leaderships { inbox }
    }

    pub(super) fn note(&self, group: GroupId, leadership: Leadership) {
        let mut state = self.state.lock();
        if state.known.insert(group, leadership) != Some(leadership) {
            state.tell(group, leadership);
        }
    }

    /// The group is closed.
    pub(super) fn remove(&self, group: GroupId) {
        let mut state = self.state.lock();
        if let Some(mut leadership) = state.known.remove(&group) {
            (leadership.leader, leadership.is_local) = (None, false);
            state.tell(group, leadership);
        }
    }
}

impl State {
    fn tell(&mut self, group: GroupId, leadership: Leadership) {
        self.inboxes.retain(|inbox| match inbox.upgrade() {
            Some(inbox) => {
                inbox.changed.lock().insert(group, leadership);
                inbox.wake.notify_one();
                true
            }
            None => false,
        });
    }
}
