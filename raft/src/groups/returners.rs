//! What is done when a broker is there again.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use super::Inner;
use crate::peers::Health;

/// Lets leaders call a broker at once that is there again: they wait for seconds between tries.
pub(super) async fn greet(inner: Weak<Inner>) {
    let Some(mut health) = inner.upgrade().map(|inner| inner.peers.health()) else { return };
    let mut before = BTreeMap::new();
    loop {
        let now = Arc::clone(&health.borrow_and_update());
        let Some(inner) = inner.upgrade() else { return };
        for (broker, state) in &*now {
            let is_new = before.insert(*broker, *state) != Some(*state);
            if is_new && *state == Health::Up {
                for group in inner.open_groups() {
                    group.call_again(*broker).await;
                }
            }
        }
        drop(inner);
        if health.changed().await.is_err() {
            return;
        }
    }
}
