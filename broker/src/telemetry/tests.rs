//! Tests of what clients are asked for, when they may push, and what is kept.

use std::net::Ipv4Addr;
use std::time::Duration;

use protocol::compression::compress;

use super::otlp::tests::metrics;
use super::*;
use crate::clock::{Clock as _, SystemClock};
use crate::cluster::image::SettingsResource;
use crate::settings::Values;

const BYTES_MAX: usize = 4096;

fn image(subscriptions: &[(&str, &[(&str, &str)])]) -> Image {
    let mut image = Image::default();
    let all = Arc::make_mut(&mut image.resource_settings);
    for (name, values) in subscriptions {
        let values: Values =
            values.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        all.insert(SettingsResource::ClientMetrics((*name).to_owned()), values);
    }
    image
}

fn asker(number: u128) -> Asker<'static> {
    Asker {
        instance: Uuid::from_u128(number),
        client_id: Some("app-1"),
        software: None,
        address: Ipv4Addr::LOCALHOST.into(),
        port: 4711,
    }
}

/// A broker's telemetry, and a clock that the test moves.
struct Case {
    telemetry: Telemetry,
    image: Image,
    now: Instant,
}

impl Case {
    fn new(subscriptions: &[(&str, &[(&str, &str)])]) -> Self {
        let telemetry = Telemetry::new(BYTES_MAX);
        Self { telemetry, image: image(subscriptions), now: SystemClock.monotonic() }
    }

    fn ask(&self, asker: &Asker<'_>) -> Result<Arc<Subscription>, TelemetryError> {
        self.telemetry.ask(&self.image, asker, self.now)
    }

    fn push(
        &self,
        asker: &Asker<'_>,
        subscription_id: i32,
        compression: i8,
        metrics: &[u8],
    ) -> Result<(), TelemetryError> {
        let push = Push { subscription_id, is_last: false, compression, metrics };
        self.telemetry.push(&self.image, asker, push, self.now)
    }

    fn shown(&self) -> String {
        self.telemetry.render(self.now)
    }
}

#[test]
fn clients_are_asked_for_what_matches_them() {
    let case = Case::new(&[
        ("all", &[("metrics", "b,a"), ("interval.ms", "60000")]),
        ("java", &[("metrics", "*"), ("match", "client_software_name=java.*")]),
        ("apps", &[("metrics", "a,c"), ("interval.ms", "1000"), ("match", "client_id=app-.*")]),
        ("other", &[("metrics", "d"), ("match", "client_id=app-.*,client_source_port=1")]),
    ]);
    let told = case.ask(&asker(2)).unwrap();
    assert_eq!(
        (&told.metrics[..], told.interval),
        (&["a".into(), "b".into(), "c".into()][..], Duration::from_secs(1))
    );
    let software = Software::new("java-x", "1").unwrap();
    let java = Asker { software: Some(&software), client_id: None, ..asker(3) };
    let told = case.ask(&java).unwrap();
    assert_eq!(
        (&told.metrics[..], told.interval),
        (&["*".to_owned()][..], Duration::from_secs(60))
    );
    assert_ne!(case.ask(&asker(4)).unwrap().id, case.ask(&asker(5)).unwrap().id);
    let nothing = Case::new(&[]).ask(&asker(2)).unwrap();
    assert_eq!((nothing.metrics.len(), nothing.interval), (0, Duration::from_secs(300)));
}

#[test]
fn a_push_is_shown_until_its_client_is_silent_for_long() {
    let mut case =
        Case::new(&[("s", &[("metrics", "org.apache.kafka.producer"), ("interval.ms", "100")])]);
    let told = case.ask(&asker(2)).unwrap();
    let wanted = metrics("org.apache.kafka.producer.sent", Some(1), 2.0, &[("topic", "t")]);
    let unwanted = metrics("org.apache.kafka.consumer.lag", None, 9.0, &[]);
    let payload = [wanted, unwanted].concat();
    for (number, codec) in
        [(4, Codec::Zstd), (3, Codec::Lz4), (1, Codec::Gzip), (2, Codec::Snappy), (0, Codec::None)]
    {
        let mut compressed = Vec::new();
        if codec == Codec::None {
            compressed.clone_from(&payload);
        } else {
            compressed = compress(codec, None, &payload).unwrap();
        }
        case.push(&asker(2), told.id, number, &compressed).unwrap();
        case.now += Duration::from_millis(100);
    }
    let shown = case.shown();
    assert!(shown.contains("# TYPE kafka_client_producer_sent counter\n"), "{shown}");
    assert!(shown.contains("client_id=\"app-1\",client_rack=\"r1\",topic=\"t\"} 10\n"), "{shown}");
    assert!(!shown.contains("lag"), "{shown}");
    case.now += Duration::from_secs(59);
    assert!(!case.shown().is_empty());
    case.now += Duration::from_secs(1);
    assert_eq!(case.shown(), "");
}

#[test]
fn nobody_may_push_or_ask_before_the_interval_is_over() {
    let mut case = Case::new(&[("s", &[("metrics", "*"), ("interval.ms", "1000")])]);
    let told = case.ask(&asker(2)).unwrap();
    assert_eq!(case.ask(&asker(2)), Err(TelemetryError::TooEarly));
    case.now += Duration::from_millis(1);
    case.push(&asker(2), told.id, 0, &[]).unwrap();
    case.now += Duration::from_millis(999);
    assert_eq!(case.push(&asker(2), told.id, 0, &[]), Err(TelemetryError::TooEarly));
    assert_eq!(case.ask(&asker(2)), Err(TelemetryError::TooEarly));
    case.now += Duration::from_millis(1);
    case.push(&asker(2), told.id, 0, &[]).unwrap();
    // What is wanted changes: whoever pushes learns it, asks, and is told at once.
    case.image = image(&[("s", &[("metrics", "a"), ("interval.ms", "1000")])]);
    case.now += Duration::from_millis(1000);
    assert_eq!(case.push(&asker(2), told.id, 0, &[]), Err(TelemetryError::UnknownSubscription));
    assert_ne!(case.ask(&asker(2)).unwrap().id, told.id);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let mut case = Case::new(&[("s", &[("metrics", "*"), ("interval.ms", "100")])]);
    let told = case.ask(&asker(2)).unwrap();
    let zeros = compress(Codec::Zstd, None, &vec![0; BYTES_MAX + 1]).unwrap();
    let large = vec![0; BYTES_MAX + 1];
    let cases: [(i8, &[u8], TelemetryError); 5] = [
        (5, &[], TelemetryError::UnknownCompression),
        (0, &large, TelemetryError::TooLarge),
        (4, &zeros, TelemetryError::TooLarge),
        (4, b"not zstd", TelemetryError::Malformed),
        (0, b"not protobuf", TelemetryError::Malformed),
    ];
    for (compression, metrics, error) in cases {
        assert_eq!(case.push(&asker(2), told.id, compression, metrics), Err(error));
        case.now += Duration::from_millis(100);
    }
    for reserved in [0, 1] {
        let error = case.push(&asker(reserved), told.id, 0, &[]);
        assert_eq!(error, Err(TelemetryError::Instance));
    }
    let last = Push { subscription_id: told.id, is_last: true, compression: 0, metrics: &[] };
    case.now -= Duration::from_millis(50);
    case.telemetry.push(&case.image, &asker(2), last, case.now).unwrap();
    case.now += Duration::from_secs(1);
    assert_eq!(case.push(&asker(2), told.id, 0, &[]), Err(TelemetryError::Ended));
}

#[test]
fn only_so_many_clients_are_remembered() {
    let case = Case::new(&[]);
    for number in 0..instances::INSTANCES_MAX + 10 {
        case.ask(&asker(u128::try_from(number).unwrap() + 2)).unwrap();
    }
    let remembered = case.telemetry.state.lock().instances.count();
    assert!(remembered <= instances::INSTANCES_MAX && remembered > instances::INSTANCES_MAX / 2);
}

#[test]
fn labels_that_prometheus_keeps_for_itself_are_left_out() {
    let case = Case::new(&[("s", &[("metrics", "*"), ("interval.ms", "100")])]);
    let told = case.ask(&asker(2)).unwrap();
    let labels = [("", "x"), ("__name__", "up"), ("good", "y")];
    case.push(&asker(2), told.id, 0, &metrics("a", None, 1.0, &labels)).unwrap();
    let shown = case.shown();
    assert!(shown.contains("client_id=\"app-1\",client_rack=\"r1\",good=\"y\"} 1\n"), "{shown}");
}
