//! From nothing to the first record, as a member alone in its group: the coordinator is looked for, the
//! group joined, its assignment, position and first record fetched; then it leaves and another begins.
//!
//! A group that is new to the broker waits for more members (`group.initial.rebalance.delay.ms`), so this
//! is mostly that setting unless it is 0.

use super::crowd::find_coordinator;
use crate::batch::{ANONYMOUS, batch_of};
use crate::calls::topic_name;
use crate::codes;
use crate::deadline::now_ms;
use crate::group_calls::{
    FIND_COORDINATOR, JOIN, LEAVE, OFFSET_FETCH, REBALANCE_TIMEOUT, SYNC, Terms,
};
use crate::load::frames::{Appetite, FetchFrame};
use crate::load::link::Link;
use crate::load::meter::{Done, Outcome, Phase, Progress, Task, nanoseconds, now, run};
use crate::load::report::Report;
use crate::load::responses::{ErrorCodes, read_fetch, walk_batches};
use crate::load::setting::Setting;
use crate::load::topics;
use crate::wire::{Connection, text};
use anyhow::{Context as _, Result, ensure};
use clap::Args;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{FindCoordinatorRequest, ListOffsetsRequest};
use serde::Serialize;
use std::net::SocketAddr;
use std::time::Duration;

/// Version of ListOffsets.
const LIST_OFFSETS: i16 = 6;

/// Room for the answers of a connection.
const INPUT_BYTES: usize = 4 << 10;

/// How long a member may be silent.
const SESSION: Duration = Duration::from_secs(45);

/// Names of groups that are tried before: several for each of the coordinator's partitions.
const PROBES: usize = 500;

/// As the Java consumer asks.
const APPETITE: Appetite = Appetite { bytes_max: 1 << 20, wait_max_ms: 500 };

/// How many do so.
#[derive(Debug, Clone, Args, Serialize)]
pub struct FirstRecord {
    /// Created if it is missing; a record is produced to it
    #[arg(long)]
    pub topic: String,
    /// Consumers at a time, each alone in a group
    #[arg(long, default_value_t = 1)]
    pub consumers: usize,
}

impl FirstRecord {
    /// Runs it. A request is one way from FindCoordinator to the first record.
    ///
    /// # Errors
    /// The broker cannot be reached, or refuses a member.
    pub fn run(&self, setting: &Setting) -> Result<Report> {
        topics::ensure(setting.broker, &self.topic, 1)?;
        let batch = batch_of(ANONYMOUS, &["the first record"], now_ms());
        Connection::open(setting.broker).produce(&self.topic, 0, batch);
        // Whatever partition of the coordinator's topic a group falls into, it must be loaded.
        let probes: Vec<_> = (0..PROBES).map(|n| format!("{}-{n}", self.topic)).collect();
        find_coordinator(setting.broker, probes.iter().map(String::as_str))?;
        let worker = |number: usize| -> Task<'_> {
            Box::new(move |progress| self.come_and_go(setting.broker, number, progress))
        };
        run(&setting.limits_with_time(), (0..self.consumers).map(worker).collect())
    }

    fn come_and_go(
        &self,
        broker: SocketAddr,
        number: usize,
        progress: &Progress<'_>,
    ) -> Result<Outcome> {
        let (mut outcome, mut bootstrap) = (Outcome::new(), Link::open(broker, INPUT_BYTES)?);
        let mut turn = 0;
        while progress.phase() != Phase::Over {
            let terms = Terms {
                group: format!("{}-{number}-{turn}", self.topic),
                topic: self.topic.clone(),
                session: SESSION,
                rebalance: REBALANCE_TIMEOUT,
            };
            turn += 1;
            let begun = now();
            let mut member = Member::join(&mut bootstrap, &terms)?;
            member.read_first(&terms, &mut outcome.errors)?;
            if progress.phase() == Phase::Measured {
                outcome.latency.record(nanoseconds(begun, now()))?;
            }
            progress.add(Done { requests: 1, records: 1, ..Done::default() });
            member.link.call(LEAVE, &terms.leave(std::iter::once(member.id.as_str())))?;
        }
        Ok(outcome)
    }
}

/// A member that has its assignment.
#[derive(Debug)]
struct Member {
    link: Link,
    id: String,
}

impl Member {
    fn join(bootstrap: &mut Link, terms: &Terms) -> Result<Self> {
        let find =
            FindCoordinatorRequest::default().with_coordinator_keys(vec![text(&terms.group)]);
        let found = bootstrap.call(FIND_COORDINATOR, &find)?.coordinators.pop();
        let found = found.context("no coordinator in the answer")?;
        ensure!(found.error_code == codes::NONE, "find: error {}", found.error_code);
        let address = format!("{}:{}", found.host, found.port);
        let address = address.parse().with_context(|| format!("a coordinator at {address}"))?;
        let mut link = Link::open(address, INPUT_BYTES)?;

        let answer = link.call(JOIN, &terms.join("", 0)?)?;
        ensure!(answer.error_code == codes::MEMBER_ID_REQUIRED, "join: {}", answer.error_code);
        let id = answer.member_id.as_str().to_owned();
        let joined = link.call(JOIN, &terms.join(&id, 0)?)?;
        ensure!(joined.error_code == codes::NONE, "join: error {}", joined.error_code);
        ensure!(joined.members.len() == 1, "{} members in a group of one", joined.members.len());
        let sync = terms.sync(&id, joined.generation_id, vec![terms.assignment(&id, vec![0])?]);
        let synced = link.call(SYNC, &sync)?;
        ensure!(synced.error_code == codes::NONE, "sync: error {}", synced.error_code);
        ensure!(!synced.assignment.is_empty(), "no assignment");
        Ok(Self { link, id })
    }

    /// Looks for its position, as a consumer that starts at the earliest record, and fetches.
    fn read_first(&mut self, terms: &Terms, errors: &mut ErrorCodes) -> Result<()> {
        let answer = self.link.call(OFFSET_FETCH, &terms.positions(vec![0]))?.groups.pop();
        let mut answer = answer.context("no group in the answer")?;
        ensure!(answer.error_code == codes::NONE, "positions: error {}", answer.error_code);
        let position = answer.topics.pop().and_then(|mut topic| topic.partitions.pop());
        let position = position.context("no partition in the answer")?.committed_offset;
        ensure!(position == -1, "a new group has a position: {position}");

        let earliest = ListOffsetsPartition::default().with_timestamp(-2);
        let asked = ListOffsetsTopic::default()
            .with_name(topic_name(&terms.topic))
            .with_partitions(vec![earliest]);
        let asked =
            ListOffsetsRequest::default().with_replica_id((-1).into()).with_topics(vec![asked]);
        let found = self.link.call(LIST_OFFSETS, &asked)?.topics.pop();
        let found = found.and_then(|mut topic| topic.partitions.pop()).context("no offset")?;
        ensure!(found.error_code == codes::NONE, "offset: error {}", found.error_code);

        let mut fetch = FetchFrame::new(&terms.topic, 0, APPETITE)?;
        let frame = fetch.at(self.link.next_id(), found.offset);
        self.link.send(frame)?;
        let fetched = read_fetch(self.link.receive()?, errors)?;
        let batches = walk_batches(fetched.batches, found.offset, |_| Ok(()))?;
        ensure!(batches.records > 0, "no record");
        Ok(())
    }
}
