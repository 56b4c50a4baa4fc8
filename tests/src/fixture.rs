//! What a data directory holds, as lines of text that can be kept beside it and compared.
//!
//! ```text
//! producer 0 0 7                          producer id, producer epoch, next sequence
//! log trimmed 0 6 10                      topic, partition, log start offset, log end offset
//! record trimmed 0 6 1735689600000 6 6    topic, partition, offset, timestamp, key, value
//! ```
//! Records are read by kcat, so that codecs are not ours to undo.

use crate::batch::Producer;
use crate::program::run;
use crate::wire::Connection;
use std::fmt::Write;
use std::net::SocketAddr;
use std::process::Command;

/// The line of a producer.
pub fn describe(producer: &Producer) -> String {
    format!("producer {} {} {}\n", producer.id, producer.epoch, producer.sequence)
}

/// The producer of such a line.
pub fn parse_producer(line: &str) -> Option<Producer> {
    let mut words = line.strip_prefix("producer ")?.split(' ');
    let id = words.next()?.parse().ok()?;
    let epoch = words.next()?.parse().ok()?;
    let sequence = words.next()?.parse().ok()?;
    Some(Producer { id, epoch, sequence })
}

/// The lines of a topic: its logs and all their records.
pub fn describe_topic(connection: &mut Connection, kafka: SocketAddr, topic: &str) -> String {
    let mut text = String::new();
    let partitions = connection.describe_topic(topic).partitions.len();
    for partition in 0..i32::try_from(partitions).expect("few partitions") {
        let start = connection.list_offset(6, topic, partition, -2).offset;
        let end = connection.list_offset(6, topic, partition, -1).offset;
        writeln!(text, "log {topic} {partition} {start} {end}").expect("a String takes any text");
        let mut kcat = Command::new("kcat");
        kcat.args(["-b", &kafka.to_string(), "-C", "-q", "-e", "-o", "beginning", "-t", topic]);
        kcat.args(["-p", &partition.to_string(), "-f", "record %t %p %o %T %k %s\n"]);
        text.push_str(&run(&mut kcat));
    }
    text
}
