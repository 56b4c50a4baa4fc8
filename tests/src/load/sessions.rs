//! Fetch sessions (KIP-227): what a fetch costs whose session holds many partitions of which none,
//! or one, has something new.

use crate::batch::{ANONYMOUS, batch_of};
use crate::calls::topic_name;
use crate::codes;
use crate::deadline::now_ms;
use crate::load::frames::FETCH;
use crate::load::meter::{Done, Outcome, Phase, Progress, nanoseconds, now, run};
use crate::load::report::{Report, number};
use crate::load::setting::Setting;
use crate::load::topics;
use crate::wire::Connection;
use anyhow::{Result, ensure};
use bytes::Bytes;
use clap::Args;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{FetchRequest, FetchResponse, ListOffsetsRequest};
use serde::Serialize;

/// Version of ListOffsets.
const LIST_OFFSETS: i16 = 6;

/// Largest response.
const BYTES_MAX: i32 = 1 << 20;

/// Steps from one changed partition to the next: a prime, so that all have their turn.
const STRIDE: usize = 7919;

/// How large the session is.
#[derive(Debug, Clone, Args, Serialize)]
pub struct Sessions {
    /// Created with `--partitions` if it is missing
    #[arg(long)]
    pub topic: String,
    /// Partitions in the session
    #[arg(long, default_value_t = 10_000)]
    pub partitions: i32,
}

impl Sessions {
    /// Measures fetches without news, then produce requests alone, then fetches each after one
    /// produce request; the duration of the run applies to each of the three. The report is that of
    /// the first, the others are among its figures.
    ///
    /// # Errors
    /// The broker cannot be reached, or refuses the session.
    pub fn run(&self, setting: &Setting) -> Result<Report> {
        topics::ensure(setting.broker, &self.topic, self.partitions)?;
        let limits = setting.limits_with_time();
        let ends = self.ends(setting)?;
        let begun = now();
        let mut session = Session::establish(setting, &self.topic, ends)?;
        let established = nanoseconds(begun, now());

        let mut producer = Connection::open(setting.broker);
        let topic = self.topic.as_str();
        let mut turn = 0;
        let mut idle = run(
            &limits,
            vec![|progress: &Progress<'_>| repeat(progress, || session.fetch(None, topic))],
        )?;
        let mut place = 0;
        let mut changed = run(
            &limits,
            vec![|progress: &Progress<'_>| {
                repeat(progress, || {
                    place = (place + STRIDE) % session.next_offsets.len();
                    produce(&mut producer, topic, place)?;
                    session.fetch(Some(place), topic)
                })
            }],
        )?;
        let partitions = session.next_offsets.len();
        let alone = run(
            &limits,
            vec![|progress: &Progress<'_>| {
                repeat(progress, || {
                    turn = (turn + STRIDE) % partitions;
                    produce(&mut producer, topic, turn)?;
                    Ok(0)
                })
            }],
        )?;
        idle.figure("establish_milliseconds", number(established) / 1e6);
        for (name, report) in [("changed", &changed), ("produce_alone", &alone)] {
            if let Some(latency) = report.latency_microseconds {
                idle.figure(&format!("{name}_p50_microseconds"), latency.p50);
                idle.figure(&format!("{name}_p99_microseconds"), latency.p99);
            }
            if let Some(cpu) = report.server_cpu_microseconds_per_request {
                idle.figure(&format!("{name}_server_cpu_microseconds"), cpu);
            }
        }
        idle.errors.append(&mut changed.errors);
        Ok(idle)
    }

    /// The ends of all partitions.
    fn ends(&self, setting: &Setting) -> Result<Vec<i64>> {
        let latest =
            |index| ListOffsetsPartition::default().with_partition_index(index).with_timestamp(-1);
        let asked = ListOffsetsTopic::default()
            .with_name(topic_name(&self.topic))
            .with_partitions((0..self.partitions).map(latest).collect());
        let request =
            ListOffsetsRequest::default().with_replica_id((-1).into()).with_topics(vec![asked]);
        let answer = Connection::open(setting.broker).call(LIST_OFFSETS, &request);
        let mut ends = vec![0; usize::try_from(self.partitions)?];
        for partition in answer.topics.iter().flat_map(|topic| &topic.partitions) {
            ensure!(partition.error_code == codes::NONE, "error {}", partition.error_code);
            ends[usize::try_from(partition.partition_index)?] = partition.offset;
        }
        Ok(ends)
    }
}

/// Does a thing again and again until the run is over; the thing says how many records it read.
fn repeat(progress: &Progress<'_>, mut thing: impl FnMut() -> Result<u64>) -> Result<Outcome> {
    let mut outcome = Outcome::new();
    while progress.phase() != Phase::Over {
        let begun = now();
        let records = thing()?;
        if progress.phase() == Phase::Measured {
            outcome.latency.record(nanoseconds(begun, now()))?;
        }
        progress.add(Done { requests: 1, bytes: 0, records });
    }
    Ok(outcome)
}

fn produce(connection: &mut Connection, topic: &str, place: usize) -> Result<()> {
    let batch = batch_of(ANONYMOUS, &["news"], now_ms());
    connection.produce(topic, i32::try_from(place)?, batch);
    Ok(())
}

/// A session with what its partitions are read up to.
struct Session {
    connection: Connection,
    session_id: i32,
    session_epoch: i32,
    next_offsets: Vec<i64>,
    /// A partition whose new offset the broker does not know yet.
    moved: Option<usize>,
}

impl Session {
    fn establish(setting: &Setting, topic: &str, next_offsets: Vec<i64>) -> Result<Self> {
        let all: Vec<_> = (0..next_offsets.len()).collect();
        let mut session = Self {
            connection: Connection::open(setting.broker),
            session_id: 0,
            session_epoch: 0,
            next_offsets,
            moved: None,
        };
        let answer = session.call(topic, &all)?;
        ensure!(answer.session_id != 0, "the broker made no session");
        session.session_id = answer.session_id;
        Ok(session)
    }

    /// One incremental fetch, in which this partition and no other must have news; how many records
    /// came.
    fn fetch(&mut self, news: Option<usize>, topic: &str) -> Result<u64> {
        let moved: Vec<_> = self.moved.take().into_iter().collect();
        let answer = self.call(topic, &moved)?;
        let partitions: Vec<_> =
            answer.responses.iter().flat_map(|topic| &topic.partitions).collect();
        // Moving a partition's offset may bring it back once without news.
        let has_news = |records: Option<&Bytes>| records.is_some_and(|bytes| !bytes.is_empty());
        let told: Vec<_> = partitions.iter().filter(|one| has_news(one.records.as_ref())).collect();
        let Some(place) = news else {
            ensure!(told.is_empty(), "news where nothing was produced");
            return Ok(0);
        };
        ensure!(told.len() == 1, "{} partitions with news instead of one", told.len());
        ensure!(usize::try_from(told[0].partition_index)? == place, "news of another partition");
        ensure!(told[0].error_code == codes::NONE, "error {}", told[0].error_code);
        self.next_offsets[place] += 1;
        self.moved = Some(place);
        Ok(1)
    }

    fn call(&mut self, topic: &str, places: &[usize]) -> Result<FetchResponse> {
        let mut partitions = Vec::new();
        for place in places {
            let partition = FetchPartition::default()
                .with_partition(i32::try_from(*place)?)
                .with_fetch_offset(self.next_offsets[*place])
                .with_partition_max_bytes(BYTES_MAX);
            partitions.push(partition);
        }
        let asked = FetchTopic::default().with_topic(topic_name(topic)).with_partitions(partitions);
        let request = FetchRequest::default()
            .with_max_bytes(BYTES_MAX)
            .with_session_id(self.session_id)
            .with_session_epoch(self.session_epoch)
            .with_topics(if places.is_empty() { Vec::new() } else { vec![asked] });
        let answer = self.connection.call(FETCH, &request);
        ensure!(answer.error_code == codes::NONE, "fetch session: error {}", answer.error_code);
        self.session_epoch += 1;
        Ok(answer)
    }
}
