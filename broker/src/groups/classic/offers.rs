//! How many members of a group offer each protocol: neither a join nor a vote has to ask all of them.
//! Invariant: what is counted are the members that are in the group.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

/// Members by the name of a protocol that they offer.
#[derive(Debug, Default)]
pub(super) struct Offers {
    counts: BTreeMap<Arc<str>, usize>,
}

impl Offers {
    /// A member with this list has come.
    pub(super) fn add(&mut self, protocols: &[(Arc<str>, Bytes)]) {
        for name in distinct(protocols) {
            if let Some(count) = self.counts.get_mut(name) {
                *count += 1;
            } else {
                self.counts.insert(Arc::clone(name), 1);
            }
        }
    }

    /// A member with this list has gone.
    pub(super) fn remove(&mut self, protocols: &[(Arc<str>, Bytes)]) {
        for name in distinct(protocols) {
            let count = self.counts.get_mut(name).expect("it was counted when its member came");
            *count -= 1;
            if *count == 0 {
                self.counts.remove(name);
            }
        }
    }

    /// How many members offer a protocol.
    pub(super) fn count(&self, name: &str) -> usize {
        self.counts.get(name).copied().unwrap_or(0)
    }
}

/// The names in a list, each once: nothing forbids a member to say one twice.
pub(super) fn distinct(protocols: &[(Arc<str>, Bytes)]) -> BTreeSet<&Arc<str>> {
    protocols.iter().map(|(name, _)| name).collect()
}
