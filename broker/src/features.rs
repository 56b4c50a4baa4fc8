//! Features in the sense of KIP-584: what a whole cluster may do, by name and level.
//!
//! A feature stands here once clients can use it. Each has one level, which comes with the program:
//! nothing was ever written by a version that lacked it. Levels of Kafka's own metadata format
//! (`metadata.version`) mean nothing here, and the level of our own format is nobody else's business.

/// Names, by rising order, and levels.
pub(crate) const ALL: &[(&str, i16)] = &[];

/// The level of a feature; `None` if there is no such feature here.
pub(crate) fn level(name: &str) -> Option<i16> {
    ALL.iter().find(|(known, _)| *known == name).map(|(_, level)| *level)
}
