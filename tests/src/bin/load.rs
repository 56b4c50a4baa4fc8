//! The load generator's command line: one scenario per call, one JSON object on standard output,
//! exit status 1 when the broker answered an error. `tests/src/load/README.md` tells how to use it.

use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand, ValueEnum};
use harness::load::batches::{Codec, Shape, Size};
use harness::load::fetch::Fetch;
use harness::load::meter::{Limits, resolve};
use harness::load::produce::Produce;
use harness::load::report::Report;
use harness::load::topics;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

#[derive(Debug, Parser)]
#[command(about = "Loads a broker and reports what that cost")]
struct Cli {
    #[command(subcommand)]
    scenario: Scenario,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
struct Common {
    /// The broker, as HOST:PORT
    #[arg(long, global = true, default_value = "127.0.0.1:9092")]
    bootstrap: String,
    /// The broker's process, for its processor time and memory
    #[arg(long, global = true)]
    pid: Option<u32>,
    /// The run ends after so many seconds [default: 10 where nothing else ends it]
    #[arg(long, global = true)]
    seconds: Option<f64>,
    /// Seconds of load before it counts
    #[arg(long, global = true, default_value_t = 0.0)]
    warm_up: f64,
}

#[derive(Debug, Subcommand)]
enum Scenario {
    /// Creates or deletes a topic
    Topic(TopicArgs),
    /// Produces in a closed loop
    Produce(ProduceArgs),
    /// Fetches in a closed loop, one request in flight
    Fetch(FetchArgs),
}

#[derive(Debug, Args)]
struct TopicArgs {
    #[arg(value_enum)]
    action: TopicAction,
    #[arg(long)]
    topic: String,
    #[arg(long, default_value_t = 1)]
    partitions: i32,
    /// A setting of the topic, as KEY=VALUE
    #[arg(long)]
    config: Vec<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum TopicAction {
    Create,
    Delete,
}

#[derive(Debug, Args)]
struct ProduceArgs {
    /// Created with `--partitions` if it is missing
    #[arg(long)]
    topic: String,
    #[arg(long, default_value_t = 1)]
    partitions: i32,
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// Requests in flight on each connection
    #[arg(long, default_value_t = 32)]
    in_flight: usize,
    /// Largest size of a batch on the wire
    #[arg(long, default_value_t = 16_384)]
    batch_bytes: usize,
    /// Records in a batch, instead of `--batch-bytes`
    #[arg(long)]
    records_per_batch: Option<usize>,
    /// Bytes of a record's value
    #[arg(long, default_value_t = 1024)]
    record_bytes: usize,
    #[arg(long, value_enum, default_value = "none")]
    codec: Codec,
    #[arg(long, value_enum, default_value = "all")]
    acks: Acks,
    /// The run ends after so many bytes, all connections together
    #[arg(long)]
    bytes: Option<u64>,
    /// The run ends after so many records, all connections together
    #[arg(long)]
    records: Option<u64>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Acks {
    All,
    #[value(name = "1")]
    Leader,
    #[value(name = "0")]
    None,
}

#[derive(Debug, Args)]
struct FetchArgs {
    #[arg(long)]
    topic: String,
    /// Partitions that the connections take in turn
    #[arg(long, default_value_t = 1)]
    partitions: i32,
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// Largest response
    #[arg(long, default_value_t = 1 << 20)]
    max_bytes: i32,
    /// Read the log once, from its start to its end, instead of again and again
    #[arg(long)]
    cold_scan: bool,
    /// The run ends after so many bytes, all connections together
    #[arg(long)]
    bytes: Option<u64>,
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(report) => print(&report),
        Err(error) => {
            complain(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<Report> {
    let broker = resolve(&cli.common.bootstrap)?;
    let common = &cli.common;
    match cli.scenario {
        Scenario::Topic(args) => topic(broker, &args),
        Scenario::Produce(args) => produce(broker, common, args),
        Scenario::Fetch(args) => fetch(broker, common, args),
    }
}

impl Common {
    /// The limits of a run that nothing but time ends, unless something else `ends` it.
    fn limits(&self, ends: bool) -> Limits {
        let seconds = if ends { self.seconds } else { self.seconds.or(Some(10.0)) };
        Limits {
            warm_up: Duration::from_secs_f64(self.warm_up),
            duration: seconds.map(Duration::from_secs_f64),
            server: self.pid,
        }
    }
}

fn topic(broker: SocketAddr, args: &TopicArgs) -> Result<Report> {
    match args.action {
        TopicAction::Create => {
            let settings = args.config.iter().map(|setting| {
                setting.split_once('=').with_context(|| format!("{setting} is not KEY=VALUE"))
            });
            let settings = settings.collect::<Result<Vec<_>>>()?;
            topics::create(broker, &args.topic, args.partitions, &settings);
        }
        TopicAction::Delete => topics::delete(broker, &args.topic)?,
    }
    Ok(Report::default().named("topic", parameters([("topic", args.topic.clone().into())])))
}

fn produce(broker: SocketAddr, common: &Common, args: ProduceArgs) -> Result<Report> {
    let size = args.records_per_batch.map_or(Size::Bytes(args.batch_bytes), Size::Records);
    let produce = Produce {
        broker,
        topic: args.topic,
        partitions: args.partitions,
        connections: args.connections,
        in_flight: args.in_flight,
        acks: match args.acks {
            Acks::All => -1,
            Acks::Leader => 1,
            Acks::None => 0,
        },
        shape: Shape { record_bytes: args.record_bytes, size, codec: args.codec },
        records_max: args.records,
        bytes_max: args.bytes,
    };
    let ends = args.records.is_some() || args.bytes.is_some();
    let mut report = produce.run(&common.limits(ends))?;
    let mut all = parameters([
        ("topic", produce.topic.into()),
        ("partitions", produce.partitions.into()),
        ("connections", produce.connections.into()),
        ("in_flight", produce.in_flight.into()),
        ("acks", produce.acks.into()),
        ("record_bytes", args.record_bytes.into()),
        ("codec", format!("{:?}", args.codec).to_lowercase().into()),
    ]);
    all.append(&mut report.parameters);
    Ok(report.named("produce", all))
}

fn fetch(broker: SocketAddr, common: &Common, args: FetchArgs) -> Result<Report> {
    let fetch = Fetch {
        broker,
        topic: args.topic,
        partitions: args.partitions,
        connections: args.connections,
        bytes_max_each: args.max_bytes,
        once: args.cold_scan,
        bytes_max: args.bytes,
    };
    let report = fetch.run(&common.limits(args.cold_scan || args.bytes.is_some()))?;
    let all = parameters([
        ("topic", fetch.topic.into()),
        ("partitions", fetch.partitions.into()),
        ("connections", fetch.connections.into()),
        ("max_bytes", fetch.bytes_max_each.into()),
        ("cold_scan", fetch.once.into()),
    ]);
    Ok(report.named("fetch", all))
}

fn parameters<const N: usize>(pairs: [(&str, Value); N]) -> BTreeMap<String, Value> {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

#[expect(clippy::print_stdout, reason = "the report is what this program is for")]
fn print(report: &Report) -> ExitCode {
    println!("{}", serde_json::to_string(report).expect("a report is plain JSON"));
    for error in &report.errors {
        complain(&format!("{} times error {} ({})", error.count, error.code, error.name));
    }
    if report.errors.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[expect(clippy::print_stderr, reason = "standard output holds the report alone")]
fn complain(what: &str) {
    eprintln!("load: {what}");
}
