//! Names and ids of topics and partitions, checked once where they enter.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

use crate::types::PartitionId;

/// The longest topic name that Kafka accepts, in bytes.
pub const TOPIC_NAME_BYTES_MAX: usize = 249;

/// Why a string is not a topic name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopicNameError {
    /// The empty string.
    #[error("a topic name must not be empty")]
    Empty,
    /// `.` and `..` would be directories.
    #[error("a topic name must not be '.' or '..'")]
    Dots,
    /// Longer than [`TOPIC_NAME_BYTES_MAX`].
    #[error("a topic name has at most {TOPIC_NAME_BYTES_MAX} characters, this one has {0}")]
    TooLong(usize),
    /// A character other than ASCII letters, digits, `.`, `_` and `-`.
    #[error("a topic name holds only ASCII letters, digits, '.', '_' and '-', not {0:?}")]
    Illegal(char),
}

/// A legal topic name. Cheap to clone; never pins a request's buffer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(Arc<str>);

impl TopicName {
    /// Checks `name` by Kafka's rules and copies it.
    ///
    /// # Errors
    /// [`TopicNameError`] says which rule it breaks.
    pub fn new(name: &str) -> Result<Self, TopicNameError> {
        if name.is_empty() {
            return Err(TopicNameError::Empty);
        }
        if name == "." || name == ".." {
            return Err(TopicNameError::Dots);
        }
        if name.len() > TOPIC_NAME_BYTES_MAX {
            return Err(TopicNameError::TooLong(name.len()));
        }
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        match name.chars().find(|c| !legal(*c)) {
            Some(c) => Err(TopicNameError::Illegal(c)),
            None => Ok(Self(name.into())),
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the two names differ only in `.` against `_`, which Kafka's metrics cannot tell apart.
    #[must_use]
    pub fn collides_with(&self, other: &Self) -> bool {
        let fold = |c: u8| if c == b'.' { b'_' } else { c };
        self.0.len() == other.0.len() && self.0.bytes().map(fold).eq(other.0.bytes().map(fold))
    }
}

/// Tables by name are searched by a request's string without copying it first. Comparison and hash
/// are those of the string.
impl Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The identity of one incarnation of a topic: a topic created anew has a new id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(Uuid);

impl TopicId {
    /// Wraps an id as it stands on the wire; the all-zero id means "none" there and is refused.
    #[must_use]
    pub fn new(id: Uuid) -> Option<Self> {
        (!id.is_nil()).then_some(Self(id))
    }

    /// The raw id.
    #[must_use]
    pub const fn get(self) -> Uuid {
        self.0
    }
}

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A partition, by name. Its text form `topic-3` is also the name of its directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic.
    pub topic: TopicName,
    /// The partition within the topic.
    pub partition: PartitionId,
}

impl TopicPartition {
    /// Pairs a topic with a partition.
    #[must_use]
    pub const fn new(topic: TopicName, partition: PartitionId) -> Self {
        Self { topic, partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_kafkas_rules() {
        let longest = "x".repeat(TOPIC_NAME_BYTES_MAX);
        for legal in ["a", "A-z_0.9", "...", "__consumer_offsets", &longest] {
            assert_eq!(TopicName::new(legal).map(|name| name.to_string()).as_deref(), Ok(legal));
        }
        assert_eq!(TopicName::new(""), Err(TopicNameError::Empty));
        assert_eq!(TopicName::new("."), Err(TopicNameError::Dots));
        assert_eq!(TopicName::new(".."), Err(TopicNameError::Dots));
        let too_long = format!("{longest}x");
        assert_eq!(TopicName::new(&too_long), Err(TopicNameError::TooLong(250)));
        for (name, illegal) in [("a b", ' '), ("a/b", '/'), ("a\0", '\0'), ("caf\u{e9}", '\u{e9}')]
        {
            assert_eq!(TopicName::new(name), Err(TopicNameError::Illegal(illegal)));
        }
    }

    #[test]
    fn names_collide_where_metrics_cannot_tell_them_apart() {
        let name = |name: &str| TopicName::new(name).unwrap();
        assert!(name("a.b_c").collides_with(&name("a_b.c")));
        assert!(name("a.b").collides_with(&name("a.b")));
        assert!(!name("a.b").collides_with(&name("a-b")));
        assert!(!name("a.b").collides_with(&name("a.b.")));
    }

    #[test]
    fn the_nil_id_is_no_id() {
        assert_eq!(TopicId::new(Uuid::nil()), None);
        let id = Uuid::from_u128(7);
        assert_eq!(TopicId::new(id).map(TopicId::get), Some(id));
    }

    #[test]
    fn a_partition_is_shown_as_its_directory_is_named() {
        let partition = TopicPartition::new(TopicName::new("a-1").unwrap(), PartitionId::new(12));
        assert_eq!(partition.to_string(), "a-1-12");
    }
}
