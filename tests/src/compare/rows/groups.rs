//! The rows of consumer groups. Both brokers have their defaults unless a row's title says otherwise.

use super::{BOTH_SYNCED, GroupLoad, Line, REQUESTS, Row, TWO, Target, Work, line};
use crate::compare::broker::Subject;
use crate::compare::figures::Metric;

const WITHOUT_DELAY: &[(&str, &str)] = &[("group.initial.rebalance.delay.ms", "0")];

const fn group(words: &'static [&'static str], seconds: u32, rehearsal_seconds: u32) -> Work {
    Work::Group(GroupLoad { words, seconds, rehearsal_seconds, settings: &[] })
}

/// The rows.
pub(super) const ROWS: &[Row] = &[
    Row {
        name: "group-first-record",
        title: "group of one: subscribe to first record, no initial rebalance delay on both",
        work: Work::Group(GroupLoad {
            words: &["group-first-record"],
            seconds: 8,
            rehearsal_seconds: 20,
            settings: WITHOUT_DELAY,
        }),
        subjects: TWO,
        repeats: 3,
        lines: &[
            line(Metric::P50Ms, Target::RatioAtMost(1.0 / 3.0)),
            line(Metric::P99Ms, Target::None),
            line(Metric::CpuMicrosecondsPerRequest, Target::None),
        ],
    },
    Row {
        name: "group-first-record-delay",
        title: "the same, defaults (both wait 3 s for more members), 20 at a time",
        work: group(&["group-first-record", "--consumers", "20"], 10, 10),
        subjects: TWO,
        repeats: 1,
        lines: &[line(Metric::P50Ms, Target::RatioAtMost(1.0 / 3.0))],
    },
    Row {
        name: "group-rebalance",
        title: "rebalance of 1,000 members in one group: last JoinGroup to last SyncGroup",
        work: group(&["group-rebalance", "--members", "1000"], 10, 20),
        subjects: TWO,
        repeats: 3,
        lines: &[
            line(Metric::P50Ms, Target::RatioAtMost(1.0 / 3.0)),
            line(Metric::CpuMsPerRebalance, Target::RatioAtMost(1.0 / 3.0)),
            line(Metric::P99Ms, Target::None),
        ],
    },
    Row {
        name: "group-commits",
        title: "OffsetCommit, 64 members of one group, one partition each",
        work: group(&["group-commits", "--members", "64"], 8, 20),
        subjects: BOTH_SYNCED,
        repeats: 3,
        lines: COMMIT_LINES,
    },
    Row {
        name: "group-commits-64",
        title: "OffsetCommit, 64 groups of one member",
        work: group(&["group-commits", "--members", "64", "--groups", "64"], 8, 20),
        subjects: BOTH_SYNCED,
        repeats: 3,
        lines: COMMIT_LINES,
    },
    Row {
        name: "group-idle",
        title: "10,000 idle members, a heartbeat every 3 s, each with a connection (their memory included)",
        work: group(&["group-idle", "--members", "10000", "--groups", "100"], 15, 10),
        subjects: TWO,
        repeats: 1,
        lines: &[
            line(Metric::CpuPercent, Target::AtMost(5.0)),
            line(Metric::AddedMegabytes, Target::AtMost(200.0)),
            line(Metric::P99Ms, Target::None),
        ],
    },
    Row {
        name: "group-scale",
        title: "100,000 idle members in 10,000 groups on 10,000 connections, a heartbeat every 15 s",
        work: group(
            &[
                "group-idle",
                "--members",
                "100000",
                "--groups",
                "10000",
                "--connections",
                "10000",
                "--heartbeat-seconds",
                "15",
                "--session-seconds",
                "300",
            ],
            15,
            1,
        ),
        subjects: TWO,
        repeats: 1,
        lines: &[
            line(Metric::CpuPercent, Target::None),
            line(Metric::AddedMegabytes, Target::None),
            line(Metric::P99Ms, Target::None),
        ],
    },
];

const COMMIT_LINES: &[Line] = &[
    line(REQUESTS, Target::RatioAtLeast(4.0)),
    Line {
        metric: REQUESTS,
        over: None,
        against: Subject::KafkaFlush,
        target: Target::RatioAtLeast(4.0),
    },
    line(Metric::CpuMicrosecondsPerRequest, Target::None),
    line(Metric::P99Ms, Target::None),
];
