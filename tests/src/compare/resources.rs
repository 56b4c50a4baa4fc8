//! What a broker costs without a load: its start, its memory, its connections and partitions. Each
//! row starts brokers of its own, cold, as a user does.

use crate::batch::{ANONYMOUS, batch, record};
use crate::compare::broker::Subject;
use crate::compare::figures::{Figures, Metric, megabytes};
use crate::compare::rows::Resource;
use crate::compare::station::Station;
use crate::deadline::now_ms;
use crate::load::report::number;
use crate::process::{anonymous_bytes, raise_descriptors_max, resident_bytes};
use crate::wire::Connection;
use anyhow::{Result, ensure};
use kafka_protocol::messages::ApiVersionsRequest;
use std::time::Duration;

/// How long a broker is left alone before its memory is read.
const IDLE: Duration = Duration::from_secs(5);

/// Bytes written before each `kill -9`, so that there is something to recover.
const DIRTY_BYTES: u64 = 256_000_000;

/// Partitions of a topic in the row of many partitions.
const TOPIC_PARTITIONS: u32 = 1000;

/// Descriptors of this process beside those of the connections.
const OTHER_DESCRIPTORS: u32 = 200;

/// Measures a row so often, and hands over the figures of each run.
///
/// # Errors
/// A broker does not start, or refuses what is asked.
pub fn measure(
    station: &mut Station<'_>,
    resource: Resource,
    repeats: u32,
    sink: &mut dyn FnMut(&mut Station<'_>, Figures),
) -> Result<()> {
    station.retire()?;
    match resource {
        Resource::New => new(station, repeats, sink),
        Resource::Killed { bytes } => killed(station, bytes, repeats, sink),
        Resource::Partitions { count } => partitions(station, count, repeats, sink),
        Resource::Connections { count } => connections(station, count, repeats, sink),
    }
}

type Sink<'a> = &'a mut dyn FnMut(&mut Station<'_>, Figures);

fn new(station: &mut Station<'_>, repeats: u32, sink: Sink<'_>) -> Result<()> {
    for _ in 0..repeats {
        let time = station.start_cold()?;
        station.interrupt().pause(IDLE)?;
        let figures = Figures::from([(Metric::StartMs, ms(time)), resident(station)?]);
        sink(station, figures);
    }
    station.retire()
}

fn killed(station: &mut Station<'_>, bytes: u64, repeats: u32, sink: Sink<'_>) -> Result<()> {
    station.start_cold()?;
    let topic = station.topic(1, Subject::Kafka)?;
    station.fill(&topic, bytes)?;
    for _ in 0..repeats {
        station.fill(&topic, DIRTY_BYTES)?;
        let time = station.crash()?;
        sink(station, Figures::from([(Metric::StartMs, ms(time))]));
    }
    station.retire()
}

fn partitions(station: &mut Station<'_>, count: u32, repeats: u32, sink: Sink<'_>) -> Result<()> {
    station.start_cold()?;
    let in_each = i32::try_from(TOPIC_PARTITIONS)?;
    for _ in 0..count / TOPIC_PARTITIONS {
        let topic = station.topic(in_each, Subject::Kafka)?;
        let mut connection = station.running()?.connect()?;
        for partition in 0..in_each {
            let record = batch(ANONYMOUS, &[record("a record", now_ms())]);
            connection.produce(&topic, partition, record);
        }
        station.interrupt().check()?;
    }
    for _ in 0..repeats {
        station.interrupt().pause(IDLE)?;
        let idle = resident(station)?;
        let time = station.crash()?;
        sink(station, Figures::from([(Metric::StartMs, ms(time)), idle]));
    }
    // Nothing to keep: an orderly stop of so many partitions takes Kafka long.
    station.abandon();
    Ok(())
}

fn connections(station: &mut Station<'_>, count: u32, repeats: u32, sink: Sink<'_>) -> Result<()> {
    raise_descriptors_max(usize::try_from(count + OTHER_DESCRIPTORS)?);
    for _ in 0..repeats {
        station.start_cold()?;
        let pid = station.running()?.pid()?;
        let ask = ApiVersionsRequest::default();
        // The first connection of a process may make what all of them share.
        station.running()?.connect()?.try_call(3, &ask)?;
        station.interrupt().pause(IDLE)?;
        let before = anonymous_bytes(pid);
        let mut open: Vec<Connection> = Vec::new();
        for _ in 0..count {
            let mut connection = station.running()?.connect()?;
            connection.try_call(3, &ask)?;
            open.push(connection);
        }
        station.interrupt().pause(IDLE)?;
        let grown = anonymous_bytes(pid).saturating_sub(before);
        ensure!(open.last_mut().is_some_and(|last| last.try_call(3, &ask).is_ok()), "closed");
        let each = number(grown) / f64::from(count);
        sink(station, Figures::from([(Metric::BytesPerConnection, each)]));
    }
    station.retire()
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn resident(station: &mut Station<'_>) -> Result<(Metric, f64)> {
    let pid = station.running()?.pid()?;
    Ok((Metric::ResidentMegabytes, megabytes(resident_bytes(pid))))
}
