//! Which topics the members of a group read: what they have committed there stays.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The topics, found out once for as many questions as there are.
#[derive(Debug)]
pub(crate) enum Reads<'a> {
    /// It cannot be known, so that every topic counts.
    Anything,
    /// Those that the members of a classic group name.
    Named(BTreeSet<Arc<str>>),
    /// Those of a consumer group, which counts them.
    Counted(&'a BTreeMap<Arc<str>, usize>),
}

impl Reads<'_> {
    /// Whether a topic is among them.
    pub(crate) fn contain(&self, topic: &str) -> bool {
        match self {
            Self::Anything => true,
            Self::Named(topics) => topics.contains(topic),
            Self::Counted(topics) => topics.contains_key(topic),
        }
    }
}
