//! The versions that we announce are those of Apache Kafka 4.3.1, so that a client that negotiates
//! with us does as it would there.
//!
//! What Kafka announces is kept in `tests/kafka-4.3.1-api-versions.txt`. Against a Kafka
//! (`MILLPOND_TEST_BOOTSTRAP`) the test proves that file instead; a failure prints what it should hold.

use harness::target::Target;
use harness::wire::text;
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Lowest and highest version, inclusive.
type Range = (i16, i16);

/// What we announce other than Kafka, and why.
const DIFFERENT: &[(i16, Range, &str)] = &[];

/// What a Kafka announces only with certain settings, so that it is not in the file.
const SOMETIMES: &[(i16, Range, &str)] = &[
    (71, (0, 0), "telemetry: announced by a Kafka that has a plugin to receive it"),
    (72, (0, 0), "telemetry: announced by a Kafka that has a plugin to receive it"),
];

fn announced(target: &Target) -> BTreeMap<i16, Range> {
    let request = ApiVersionsRequest::default()
        .with_client_software_name(text("harness"))
        .with_client_software_version(text("1.0"));
    let answer = target.connect().call(4, &request);
    assert_eq!(answer.error_code, 0);
    let ranges = answer.api_keys.iter();
    ranges.map(|api| (api.api_key, (api.min_version, api.max_version))).collect()
}

/// One line for each API: key, lowest and highest version; its name is for the reader.
fn lines(ranges: &BTreeMap<i16, Range>) -> String {
    let mut lines = String::new();
    for (key, (min, max)) in ranges {
        // The codec is of Kafka 4.1 and has no name for what came later.
        let name =
            ApiKey::try_from(*key).map_or_else(|_later| "-".to_owned(), |api| format!("{api:?}"));
        writeln!(lines, "{key} {min} {max} {name}").expect("a String takes all");
    }
    lines
}

fn kafkas() -> BTreeMap<i16, Range> {
    let file = include_str!("../../kafka-4.3.1-api-versions.txt");
    let parse = |line: &str| {
        let mut numbers = line.split(' ').map(|word| word.parse().ok());
        let mut number = || numbers.next().flatten().expect("a number");
        (number(), (number(), number()))
    };
    file.lines().filter(|line| !line.starts_with('#')).map(parse).collect()
}

#[test]
fn versions_are_those_of_kafka() {
    let target = Target::start();
    let announced = announced(&target);
    let kafkas = kafkas();
    if !target.is_ours() {
        assert!(announced == kafkas, "the kept list is another; this one:\n{}", lines(&announced));
        return;
    }
    let excepted = |list: &[(i16, Range, &str)], key, range| {
        list.iter().any(|(other, versions, _why)| (*other, *versions) == (key, range))
    };
    for (&key, &range) in &announced {
        let known = match kafkas.get(&key) {
            Some(kafkas) => *kafkas == range || excepted(DIFFERENT, key, range),
            None => excepted(SOMETIMES, key, range),
        };
        assert!(known, "API key {key} in {range:?}, Kafka has {:?}", kafkas.get(&key));
    }
    for (key, range, why) in DIFFERENT {
        assert_eq!(announced.get(key), Some(range), "a difference that is gone: {why}");
    }
}
