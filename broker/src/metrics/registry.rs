//! Where every metric of the process is kept, and how Prometheus reads it.
//!
//! A counter or a gauge is one atomic word, a histogram one for each of its buckets: recording takes
//! no lock, and memory does not depend on how much was recorded. A histogram that keeps its samples
//! until somebody asks would take megabytes at a high rate of requests, and wake an idle node to
//! empty it. Must never be asked for a histogram of anything but seconds: there is one set of buckets.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use metrics::{
    Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use parking_lot::RwLock;

/// Upper bounds of the buckets of times.
const SECONDS_BUCKETS: [f64; 17] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0,
];

/// All metrics of the process. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Registry(Arc<Inner>);

#[derive(Default)]
struct Inner {
    series: RwLock<HashMap<Key, Series>>,
    helps: RwLock<BTreeMap<String, SharedString>>,
}

/// One line, or one set of buckets.
#[derive(Clone)]
enum Series {
    Counter(Arc<AtomicU64>),
    /// Holds the bits of an `f64`.
    Gauge(Arc<AtomicU64>),
    Histogram(Arc<Buckets>),
}

impl Registry {
    /// Prometheus' text format, version 0.0.4: names sorted, and of each name its labels.
    pub(crate) fn render(&self) -> String {
        let all = self.0.series.read();
        let mut lines: Vec<_> =
            all.iter().map(|(key, series)| (key.name(), labels(key), series)).collect();
        lines.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        let helps = self.0.helps.read();
        let (mut text, mut last) = (String::new(), None);
        for (name, labels, series) in &lines {
            if last.replace(*name) != Some(*name) {
                if let Some(help) = helps.get(*name) {
                    put(&mut text, format_args!("# HELP {name} {help}\n"));
                }
                put(&mut text, format_args!("# TYPE {name} {}\n", series.kind()));
            }
            series.render(name, labels, &mut text);
        }
        text
    }

    fn series(&self, key: &Key, new: impl FnOnce() -> Series) -> Series {
        if let Some(known) = self.0.series.read().get(key) {
            return known.clone();
        }
        self.0.series.write().entry(key.clone()).or_insert_with(new).clone()
    }

    fn describe(&self, name: &KeyName, help: SharedString) {
        self.0.helps.write().insert(name.as_str().to_owned(), help);
    }
}

impl Recorder for Registry {
    fn describe_counter(&self, name: KeyName, _unit: Option<Unit>, help: SharedString) {
        self.describe(&name, help);
    }

    fn describe_gauge(&self, name: KeyName, _unit: Option<Unit>, help: SharedString) {
        self.describe(&name, help);
    }

    fn describe_histogram(&self, name: KeyName, _unit: Option<Unit>, help: SharedString) {
        self.describe(&name, help);
    }

    fn register_counter(&self, key: &Key, _metadata: &Metadata<'_>) -> Counter {
        match self.series(key, || Series::Counter(Arc::default())) {
            Series::Counter(value) => Counter::from_arc(value),
            Series::Gauge(_) | Series::Histogram(_) => Counter::noop(),
        }
    }

    fn register_gauge(&self, key: &Key, _metadata: &Metadata<'_>) -> Gauge {
        match self.series(key, || Series::Gauge(Arc::default())) {
            Series::Gauge(value) => Gauge::from_arc(value),
            Series::Counter(_) | Series::Histogram(_) => Gauge::noop(),
        }
    }

    fn register_histogram(&self, key: &Key, _metadata: &Metadata<'_>) -> Histogram {
        match self.series(key, || Series::Histogram(Arc::default())) {
            Series::Histogram(buckets) => Histogram::from_arc(buckets),
            Series::Counter(_) | Series::Gauge(_) => Histogram::noop(),
        }
    }
}

impl Series {
    const fn kind(&self) -> &'static str {
        match self {
            Self::Counter(_) => "counter",
            Self::Gauge(_) => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }

    fn render(&self, name: &str, labels: &str, text: &mut String) {
        let braced = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        match self {
            Self::Counter(value) => {
                let value = value.load(Ordering::Relaxed);
                put(text, format_args!("{name}{braced} {value}\n"));
            }
            Self::Gauge(bits) => {
                let value = f64::from_bits(bits.load(Ordering::Relaxed));
                put(text, format_args!("{name}{braced} {value}\n"));
            }
            Self::Histogram(buckets) => {
                let comma = if labels.is_empty() { "" } else { "," };
                let mut count = 0;
                for (at, counter) in buckets.counts.iter().enumerate() {
                    count += counter.load(Ordering::Relaxed);
                    let bound = SECONDS_BUCKETS.get(at);
                    let bound = bound.map_or_else(|| "+Inf".to_owned(), f64::to_string);
                    let labels = format_args!("{labels}{comma}le=\"{bound}\"");
                    put(text, format_args!("{name}_bucket{{{labels}}} {count}\n"));
                }
                let sum = f64::from_bits(buckets.sum.load(Ordering::Relaxed));
                put(text, format_args!("{name}_sum{braced} {sum}\n"));
                put(text, format_args!("{name}_count{braced} {count}\n"));
            }
        }
    }
}

/// Samples by size. A reader may see a sample in its bucket and not yet in the sum.
#[derive(Default)]
struct Buckets {
    /// Each bucket by itself; the last one has no upper bound.
    counts: [AtomicU64; SECONDS_BUCKETS.len() + 1],
    /// The bits of an `f64`.
    sum: AtomicU64,
}

impl HistogramFn for Buckets {
    fn record(&self, value: f64) {
        let at = SECONDS_BUCKETS.partition_point(|bound| *bound < value);
        self.counts[at].fetch_add(1, Ordering::Relaxed);
        let add = |bits| Some((f64::from_bits(bits) + value).to_bits());
        // Never refused: `add` always has an answer.
        let _before = self.sum.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }
}

/// `api="Fetch",version="1"`, as the format wants values escaped.
/// A label's value between its quotes.
pub(crate) fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn labels(key: &Key) -> String {
    let mut text = String::new();
    for label in key.labels() {
        let comma = if text.is_empty() { "" } else { "," };
        let value = escaped(label.value());
        put(&mut text, format_args!("{comma}{}=\"{value}\"", label.key()));
    }
    text
}

fn put(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("a String takes any text");
}

#[cfg(test)]
mod tests {
    use metrics::{counter, describe_histogram, gauge, histogram, with_local_recorder};

    use super::*;

    #[test]
    fn what_was_recorded_is_rendered_as_prometheus_reads_it() {
        let registry = Registry::default();
        with_local_recorder(&registry, || {
            describe_histogram!("wait_seconds", Unit::Seconds, "How long.");
            counter!("done_total", "kind" => "b\"\\\n").increment(2);
            counter!("done_total", "kind" => "a").increment(1);
            counter!("done_total", "kind" => "a").increment(1);
            gauge!("level").set(1.5);
            gauge!("level").decrement(0.5);
            for value in [0.0001, 0.0003, 7.0, 31.0] {
                histogram!("wait_seconds", "api" => "x").record(value);
            }
        });
        let text = registry.render();
        let (other, buckets) = text.split_once("# HELP wait_seconds How long.\n").unwrap();
        assert_eq!(
            other,
            "# TYPE done_total counter\n\
             done_total{kind=\"a\"} 2\n\
             done_total{kind=\"b\\\"\\\\\\n\"} 2\n\
             # TYPE level gauge\n\
             level 1\n"
        );
        let lines: Vec<_> = buckets.lines().collect();
        assert_eq!(lines.len(), 1 + SECONDS_BUCKETS.len() + 1 + 2);
        for line in [
            "# TYPE wait_seconds histogram",
            "wait_seconds_bucket{api=\"x\",le=\"0.0001\"} 1",
            "wait_seconds_bucket{api=\"x\",le=\"0.00025\"} 1",
            "wait_seconds_bucket{api=\"x\",le=\"0.0005\"} 2",
            "wait_seconds_bucket{api=\"x\",le=\"10\"} 3",
            "wait_seconds_bucket{api=\"x\",le=\"30\"} 3",
            "wait_seconds_bucket{api=\"x\",le=\"+Inf\"} 4",
            "wait_seconds_sum{api=\"x\"} 38.0004",
            "wait_seconds_count{api=\"x\"} 4",
        ] {
            assert!(lines.contains(&line), "{line} is not in\n{buckets}");
        }
    }

    #[test]
    fn a_handle_of_another_kind_records_nothing() {
        let registry = Registry::default();
        with_local_recorder(&registry, || {
            counter!("n").increment(1);
            gauge!("n").set(7.0);
            histogram!("n").record(7.0);
        });
        assert_eq!(registry.render(), "# TYPE n counter\nn 1\n");
    }
}
