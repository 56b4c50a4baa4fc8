//! Names that every group of this crate shares: who takes part, and in what.
//!
//! They are identities and nothing else; none of them knows an address, a file or a type of openraft.

use std::fmt;

use protocol::topic::TopicId;
use protocol::types::{BrokerId, PartitionId};
use uuid::Uuid;

/// A voter or learner: a broker with one particular disk.
///
/// Raft's promises are made by a disk, not by a name: a broker that comes back with an empty
/// directory under its old id would vote twice in one term. The directory's id tells the two apart
/// (as in KIP-853).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ReplicaId {
    /// The broker.
    pub broker_id: BrokerId,
    /// Its data directory, which a broker that lost its disk does not have any more.
    pub directory_id: Uuid,
}

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "broker {} on directory {}", self.broker_id, self.directory_id)
    }
}

impl fmt::Debug for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The group of replicas that keeps one partition. It survives a change of its members, and not the
/// deletion of its topic: a topic that is created anew has a new id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId {
    /// The incarnation of the topic.
    pub topic_id: TopicId,
    /// The partition within it.
    pub partition: PartitionId,
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "partition {} of topic {}", self.partition, self.topic_id)
    }
}
