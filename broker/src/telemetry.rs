//! Metrics of clients (KIP-714): which are wanted of whom, and what came.
//!
//! Operators subscribe by the settings of resources of type CLIENT_METRICS. Clients ask what is wanted
//! of them, push it in intervals, and stop when nothing is. What they push is shown beside the
//! broker's own metrics. Any client may push: everything kept has a limit, and nothing a client sends
//! may pass for a metric of the broker.

mod instances;
mod otlp;
mod series;

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use metrics::{Counter, Gauge, Unit};
use parking_lot::Mutex;
use protocol::batch::Codec;
use protocol::compression::{DecompressError, decompress};
use regex::Regex;
use uuid::Uuid;

use self::instances::{Instances, Subscriptions};
use self::series::{AllSeries, client_labels};
use crate::cluster::image::Image;
use crate::metrics::{Kind, Metric, as_value, counter, gauge, metric};
use crate::settings::client_metrics::ClientAttribute;

pub(crate) use self::instances::Subscription;

const INSTANCES: &str = "millpond_client_metrics_instances";
const SERIES: &str = "millpond_client_metrics_series";
const DROPPED: &str = "millpond_client_metrics_dropped_total";

/// Every metric of this file.
pub(crate) const METRICS: &[Metric] = &[
    metric(
        INSTANCES,
        Kind::Gauge,
        Unit::Count,
        "Clients that ask whether their metrics are wanted.",
    ),
    metric(SERIES, Kind::Gauge, Unit::Count, "Metrics of clients that are shown."),
    metric(
        DROPPED,
        Kind::Counter,
        Unit::Count,
        "Metrics of clients that were dropped because too many are shown already.",
    ),
];

/// Codecs that clients may use, the preferred first.
pub(crate) const CODECS: [i8; 4] = [4, 3, 1, 2];

/// Longest name or version of a client's software that is kept.
const SOFTWARE_BYTES_MAX: usize = 255;

/// What a client's software calls itself (KIP-511).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Software {
    name: String,
    version: String,
}

/// The software of a connection, once the client has told it.
pub(crate) type SoftwareCell = OnceLock<Software>;

impl Software {
    /// Keeps a copy; `None` for words longer than any software has.
    pub(crate) fn new(name: &str, version: &str) -> Option<Self> {
        let fits = name.len().max(version.len()) <= SOFTWARE_BYTES_MAX;
        fits.then(|| Self { name: name.to_owned(), version: version.to_owned() })
    }
}

/// Who asks or pushes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asker<'a> {
    /// What the client calls this life of itself.
    pub(crate) instance: Uuid,
    pub(crate) client_id: Option<&'a str>,
    pub(crate) software: Option<&'a Software>,
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
}

impl Asker<'_> {
    /// Whether all of the attribute looks so. An attribute that is not known looks like nothing.
    fn matches(&self, attribute: ClientAttribute, pattern: &Regex) -> bool {
        let known: Option<Cow<'_, str>> = match attribute {
            ClientAttribute::InstanceId => Some(self.instance_text().into()),
            ClientAttribute::Id => self.client_id.map(Cow::from),
            ClientAttribute::SoftwareName => self.software.map(|it| it.name.as_str().into()),
            ClientAttribute::SoftwareVersion => self.software.map(|it| it.version.as_str().into()),
            ClientAttribute::SourceAddress => Some(self.address.to_string().into()),
            ClientAttribute::SourcePort => Some(self.port.to_string().into()),
        };
        known.is_some_and(|text| pattern.is_match(&text))
    }

    /// As Kafka's clients print it.
    fn instance_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.instance.as_bytes())
    }
}

/// What a client pushes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Push<'a> {
    pub(crate) subscription_id: i32,
    /// Whether it is the client's last.
    pub(crate) is_last: bool,
    pub(crate) compression: i8,
    pub(crate) metrics: &'a [u8],
}

/// Why a client is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TelemetryError {
    /// Its id cannot be one.
    #[error("the client instance id is reserved")]
    Instance,
    /// It said that it would say nothing more.
    #[error("the client has ended")]
    Ended,
    /// Its interval is not over.
    #[error("the push interval is not over")]
    TooEarly,
    /// What it was asked for has changed, or it was never asked.
    #[error("the subscription is not known")]
    UnknownSubscription,
    /// A codec that nobody has.
    #[error("the compression is not known")]
    UnknownCompression,
    /// More than `telemetry.max.bytes`, as sent or decompressed.
    #[error("the metrics are too large")]
    TooLarge,
    /// Not what it should be.
    #[error("the metrics cannot be read")]
    Malformed,
}

/// All of it. One per broker.
pub(crate) struct Telemetry {
    /// `telemetry.max.bytes`.
    bytes_max: usize,
    state: Mutex<State>,
    instances: Gauge,
    series: Gauge,
    dropped: Counter,
}

#[derive(Debug, Default)]
struct State {
    subscriptions: Subscriptions,
    instances: Instances,
    series: AllSeries,
}

impl Telemetry {
    /// Nothing was heard yet.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            state: Mutex::default(),
            instances: gauge(INSTANCES, Vec::new()),
            series: gauge(SERIES, Vec::new()),
            dropped: counter(DROPPED, Vec::new()),
        }
    }

    /// Most bytes of one push.
    pub(crate) const fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// What is wanted of a client that asks.
    ///
    /// # Errors
    /// [`TelemetryError::TooEarly`].
    pub(crate) fn ask(
        &self,
        image: &Image,
        asker: &Asker<'_>,
        now: Instant,
    ) -> Result<Arc<Subscription>, TelemetryError> {
        let mut state = self.state.lock();
        let State { subscriptions, instances, series } = &mut *state;
        subscriptions.follow(image);
        let instance = instances.of(asker, subscriptions, now, |id| series.forget(id));
        instance.asks(now)?;
        Ok(Arc::clone(&instance.subscription))
    }

    /// Takes what a client pushes.
    ///
    /// # Errors
    /// [`TelemetryError`]; nothing was taken, or of malformed metrics what stood before the flaw.
    pub(crate) fn push(
        &self,
        image: &Image,
        asker: &Asker<'_>,
        push: Push<'_>,
        now: Instant,
    ) -> Result<(), TelemetryError> {
        if asker.instance.as_u128() <= 1 {
            return Err(TelemetryError::Instance);
        }
        let subscription = self.admit(image, asker, push, now)?;
        if push.metrics.is_empty() {
            return Ok(());
        }
        let codec = codec(push.compression).ok_or(TelemetryError::UnknownCompression)?;
        // Without the lock: others must not wait while this is decompressed.
        let metrics = decompress(codec, push.metrics, self.bytes_max);
        let metrics = metrics.map_err(|error| match error {
            DecompressError::TooLarge { .. } => TelemetryError::TooLarge,
            DecompressError::Damaged { .. } => TelemetryError::Malformed,
        })?;
        let client = client_labels(&asker.instance_text(), asker.client_id.unwrap_or_default());
        let mut points = Vec::new();
        let read = otlp::read(&metrics, |point| {
            // A push that holds more points than are ever kept need not be held as a whole.
            if subscription.wants(point.name) && points.len() <= series::SERIES_PER_CLIENT_MAX {
                points.push(point);
            }
        });
        let series = &mut self.state.lock().series;
        points.iter().for_each(|point| series.take(asker.instance, &client, point));
        read.map_err(|otlp::Malformed| TelemetryError::Malformed)
    }

    /// Whether a push is taken; in the order in which Kafka asks.
    fn admit(
        &self,
        image: &Image,
        asker: &Asker<'_>,
        push: Push<'_>,
        now: Instant,
    ) -> Result<Arc<Subscription>, TelemetryError> {
        let mut state = self.state.lock();
        let State { subscriptions, instances, series } = &mut *state;
        subscriptions.follow(image);
        let instance = instances.of(asker, subscriptions, now, |id| series.forget(id));
        let was_leaving = std::mem::replace(&mut instance.is_leaving, push.is_last);
        instance.may_ask_again = false;
        if was_leaving {
            return Err(TelemetryError::Ended);
        }
        if !instance.may_push(now) && !push.is_last {
            return Err(TelemetryError::TooEarly);
        }
        if push.subscription_id != instance.subscription.id {
            instance.may_ask_again = true;
            return Err(TelemetryError::UnknownSubscription);
        }
        if codec(push.compression).is_none() {
            instance.may_ask_again = true;
            return Err(TelemetryError::UnknownCompression);
        }
        if push.metrics.len() > self.bytes_max {
            return Err(TelemetryError::TooLarge);
        }
        Ok(Arc::clone(&instance.subscription))
    }

    /// What clients told, for Prometheus. Forgets those that have been silent for long.
    pub(crate) fn render(&self, now: Instant) -> String {
        let mut state = self.state.lock();
        let State { instances, series, .. } = &mut *state;
        instances.expire(now, |id| series.forget(id));
        self.instances.set(as_value(instances.count()));
        self.series.set(as_value(series.count()));
        self.dropped.absolute(series.dropped());
        series.render()
    }
}

fn codec(number: i8) -> Option<Codec> {
    Some(match number {
        0 => Codec::None,
        1 => Codec::Gzip,
        2 => Codec::Snappy,
        3 => Codec::Lz4,
        4 => Codec::Zstd,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
