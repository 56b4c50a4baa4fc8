//! The quick part of each suite that clients' authors wrote, against a broker of ours and compared
//! with the suite's table. A binary of its own: cargo runs one after the other, and these wait for
//! fixed times, which a busy machine exceeds. The whole suites: `tests/suites/README.md`.

use harness::compare::program::Interrupt;
use harness::node::binary;
use harness::suites::broker::System;
use harness::suites::runner::{self, Plan};
use harness::suites::suite::Suite;

/// How often a test that does not pass is run.
const ATTEMPTS: u32 = 3;

fn check(name: &str) {
    let plan = Plan {
        suite: Suite::named(name).expect("a suite of that name"),
        system: System::Millpond,
        units: vec![],
        quick: true,
        attempts: ATTEMPTS,
        millpond: binary(),
        interrupt: Interrupt::default(),
    };
    let report = runner::run(&plan).unwrap_or_else(|error| panic!("{name}: {error:#}"));
    let offences = report.offences.join("\n  ");
    assert!(offences.is_empty(), "pass on Apache Kafka, not here:\n  {offences}");
    assert!(report.passed > 10, "{name}: the quick part is there");
}

#[test]
fn franz_go() {
    check("kgo");
}

#[test]
fn librdkafka() {
    check("librdkafka");
}

#[test]
fn librdkafka_in_groups_of_the_consumer_protocol() {
    check("librdkafka-consumer");
}

#[test]
fn kafka_go() {
    check("kafka-go");
}
