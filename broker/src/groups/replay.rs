//! What a partition of `__consumer_offsets` says, record by record. Pure.

use std::collections::HashMap;
use std::sync::Arc;

use protocol::group_record::{ClassicGeneration, GroupRecord};

use super::consumer::state::State;
use super::offsets::GroupOffsets;

/// What a replay has found of one group.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct StoredGroup {
    /// Its last generation in the classic protocol.
    pub(crate) generation: Option<ClassicGeneration>,
    /// What it is in the consumer protocol.
    pub(crate) consumer: State,
    /// What it has committed.
    pub(crate) offsets: GroupOffsets,
}

/// Collects what the log says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Replay {
    /// The groups that hold anything.
    pub(crate) groups: HashMap<Arc<str>, StoredGroup>,
}

impl Replay {
    /// Takes the next record.
    pub(crate) fn apply(&mut self, record: GroupRecord) {
        let name = Arc::clone(record.group());
        let group = self.groups.entry(Arc::clone(&name)).or_default();
        match record {
            GroupRecord::Offset(key, value) => group.offsets.apply(&key, value),
            GroupRecord::ClassicGroup(_, value) => group.generation = value,
            GroupRecord::ConsumerGroup(..)
            | GroupRecord::Member(..)
            | GroupRecord::TargetEpoch(..)
            | GroupRecord::Target(..)
            | GroupRecord::Current(..)
            | GroupRecord::Regex(..) => group.consumer.apply(&record),
        }
        if *group == StoredGroup::default() {
            self.groups.remove(&name);
        }
    }
}
