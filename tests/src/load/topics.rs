//! Topics for a run: made, waited for and deleted through the calls that the tests share.

use crate::codes;
use crate::deadline::eventually;
use crate::wire::Connection;
use anyhow::{Result, ensure};
use std::net::SocketAddr;

/// Creates a topic and waits until all its partitions answer.
pub fn create(broker: SocketAddr, topic: &str, partitions: i32, settings: &[(&str, &str)]) {
    Connection::open(broker).create_topic(topic, partitions, settings);
}

/// Creates a topic unless it is there.
///
/// # Errors
/// It is there with fewer partitions, or the broker does not say.
pub fn ensure(broker: SocketAddr, topic: &str, partitions: i32) -> Result<()> {
    let found = Connection::open(broker).describe_topic(topic);
    if found.error_code == codes::UNKNOWN_TOPIC_OR_PARTITION {
        create(broker, topic, partitions, &[]);
        return Ok(());
    }
    ensure!(found.error_code == codes::NONE, "{topic}: error {}", found.error_code);
    let count = i32::try_from(found.partitions.len())?;
    ensure!(count >= partitions, "{topic} has {count} partitions, fewer than {partitions}");
    Ok(())
}

/// Deletes a topic and waits until it is gone.
///
/// # Errors
/// There is no such topic, or it may not be deleted.
pub fn delete(broker: SocketAddr, topic: &str) -> Result<()> {
    let mut connection = Connection::open(broker);
    let code = connection.delete_topic(topic);
    ensure!(code == codes::NONE, "delete {topic}: error {code}");
    eventually("the topic is gone", || {
        let code = connection.describe_topic(topic).error_code;
        (code == codes::UNKNOWN_TOPIC_OR_PARTITION).then_some(())
    });
    Ok(())
}

/// First and next offset of a partition.
pub fn bounds(broker: SocketAddr, topic: &str, partition: i32) -> (i64, i64) {
    let mut connection = Connection::open(broker);
    let mut at = |name| connection.list_offset(6, topic, partition, name).offset;
    (at(-2), at(-1))
}
