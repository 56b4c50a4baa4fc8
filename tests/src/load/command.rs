//! The load generator's command line: one scenario for each call.

use crate::load::connections::Connections;
use crate::load::fan_out::FanOut;
use crate::load::fetch::Fetch;
use crate::load::groups::{Commits, FirstRecord, Idle, Rebalance};
use crate::load::keyed::Keyed;
use crate::load::latency::Latency;
use crate::load::partitions::Partitions;
use crate::load::produce::Produce;
use crate::load::report::Report;
use crate::load::sessions::Sessions;
use crate::load::setting::{Common, Setting};
use crate::load::topics;
use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::Serialize;
use serde_json::Value;

/// Loads a broker and reports what that cost, as one JSON object.
#[derive(Debug, Parser)]
#[command(name = "load", about)]
pub struct Command {
    #[command(subcommand)]
    scenario: Scenario,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Subcommand)]
enum Scenario {
    /// Creates or deletes a topic, and waits until that is so
    Topic(Topic),
    /// Produces in a closed loop
    Produce(Produce),
    /// Fetches in a closed loop, one request in flight
    Fetch(Fetch),
    /// Produces single records in an open loop and measures how long each takes
    Latency(Latency),
    /// Produces small batches for several partitions a request, from many connections
    Keyed(Keyed),
    /// One paced producer, many consumers at the tail
    FanOut(FanOut),
    /// Opens many connections at once and keeps them
    Connections(Connections),
    /// Incremental fetches in a session of many partitions
    Sessions(Sessions),
    /// Produces small batches to many partitions in turn
    Partitions(Partitions),
    /// Joins a group of one and reads its first record, again and again
    GroupFirstRecord(FirstRecord),
    /// Rebalances one group again and again
    GroupRebalance(Rebalance),
    /// Commits offsets in a closed loop, one request in flight on each connection
    GroupCommits(Commits),
    /// Members that only send heartbeats
    GroupIdle(Idle),
}

#[derive(Debug, Args, Serialize)]
struct Topic {
    #[arg(value_enum)]
    action: Action,
    #[arg(long)]
    topic: String,
    #[arg(long, default_value_t = 1)]
    partitions: i32,
    /// A setting of the topic, as KEY=VALUE
    #[arg(long)]
    config: Vec<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
enum Action {
    Create,
    Delete,
}

impl Command {
    /// Runs the scenario.
    ///
    /// # Errors
    /// What the scenario says.
    pub fn run(&self) -> Result<Report> {
        let setting = self.common.setting()?;
        match &self.scenario {
            Scenario::Topic(topic) => topic.run(&setting)?.named("topic", topic),
            Scenario::Produce(produce) => produce.run(&setting)?.named("produce", produce),
            Scenario::Fetch(fetch) => fetch.run(&setting)?.named("fetch", fetch),
            Scenario::Latency(latency) => latency.run(&setting)?.named("latency", latency),
            Scenario::Keyed(keyed) => keyed.run(&setting)?.named("keyed", keyed),
            Scenario::FanOut(fan_out) => fan_out.run(&setting)?.named("fan-out", fan_out),
            Scenario::Connections(open) => open.run(&setting)?.named("connections", open),
            Scenario::Sessions(sessions) => sessions.run(&setting)?.named("sessions", sessions),
            Scenario::Partitions(many) => many.run(&setting)?.named("partitions", many),
            Scenario::GroupFirstRecord(it) => it.run(&setting)?.named("group-first-record", it),
            Scenario::GroupRebalance(it) => it.run(&setting)?.named("group-rebalance", it),
            Scenario::GroupCommits(it) => it.run(&setting)?.named("group-commits", it),
            Scenario::GroupIdle(it) => it.run(&setting)?.named("group-idle", it),
        }
    }
}

impl Topic {
    fn run(&self, setting: &Setting) -> Result<Report> {
        match self.action {
            Action::Create => {
                let settings = self.config.iter().map(|setting| {
                    setting.split_once('=').with_context(|| format!("{setting} is not KEY=VALUE"))
                });
                let settings = settings.collect::<Result<Vec<_>>>()?;
                topics::create(setting.broker, &self.topic, self.partitions, &settings);
            }
            Action::Delete => topics::delete(setting.broker, &self.topic)?,
        }
        Ok(Report::default())
    }
}

impl Report {
    /// Says what was run: the flags of the scenario join what it has put there itself.
    fn named(mut self, scenario: &str, flags: &impl Serialize) -> Result<Self> {
        scenario.clone_into(&mut self.scenario);
        if let Value::Object(flags) = serde_json::to_value(flags)? {
            self.parameters.extend(flags);
        }
        Ok(self)
    }
}
