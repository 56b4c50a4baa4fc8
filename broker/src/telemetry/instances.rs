//! The clients that were heard: what each is asked for, and when it may speak again (KIP-714).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::{Asker, TelemetryError};
use crate::cluster::image::{Image, SettingsResource};
use crate::settings::Values;
use crate::settings::client_metrics::{ALL_METRICS, ClientMetricsSettings, INTERVAL_DEFAULT};

/// Clients that are remembered, as many as Kafka remembers. Beyond it those longest silent are
/// forgotten, an eighth at a time: they are asked anew when they come back.
pub(super) const INSTANCES_MAX: usize = 16_384;
/// A client is remembered for this long after it was heard, or for three of its intervals.
const SILENCE_MIN: Duration = Duration::from_secs(60);

/// What one client is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subscription {
    /// Changes with everything below, and from client to client.
    pub(crate) id: i32,
    /// Beginnings of names, sorted; `*` alone for all.
    pub(crate) metrics: Vec<String>,
    /// How often.
    pub(crate) interval: Duration,
}

impl Subscription {
    /// Whether it asks for a metric of this name.
    pub(super) fn wants(&self, name: &str) -> bool {
        self.metrics.iter().any(|begin| begin == ALL_METRICS || name.starts_with(begin.as_str()))
    }
}

/// What operators subscribed to.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    /// What the rest was made from.
    source: Arc<BTreeMap<SettingsResource, Values>>,
    /// Rises with every change.
    version: u64,
    all: BTreeMap<String, (Values, ClientMetricsSettings)>,
}

impl Subscriptions {
    /// Takes over what `image` says. Costs a comparison of pointers as long as it says the same.
    pub(super) fn follow(&mut self, image: &Image) {
        if Arc::ptr_eq(&self.source, &image.resource_settings) {
            return;
        }
        self.source = Arc::clone(&image.resource_settings);
        let wanted = self.source.iter().filter_map(|(resource, values)| match resource {
            SettingsResource::ClientMetrics(name) => Some((name, values)),
            SettingsResource::Group(_) => None,
        });
        let wanted: Vec<_> = wanted.collect();
        let known = self.all.iter().map(|(name, (values, _))| (name, values));
        if !known.eq(wanted.iter().copied()) {
            let settings =
                |values: &Values| (values.clone(), ClientMetricsSettings::resolve(values));
            self.all =
                wanted.into_iter().map(|(name, values)| (name.clone(), settings(values))).collect();
            self.version += 1;
        }
    }

    /// What `asker` is asked for.
    fn subscription(&self, asker: &Asker<'_>) -> Subscription {
        let (mut metrics, mut interval) = (Vec::new(), INTERVAL_DEFAULT);
        for (_, wanted) in self.all.values() {
            if wanted.patterns.iter().all(|(attribute, pattern)| asker.matches(*attribute, pattern))
            {
                metrics.extend(wanted.metrics.iter().cloned());
                interval = interval.min(wanted.interval);
            }
        }
        if metrics.iter().any(|name| name == ALL_METRICS) {
            metrics = vec![ALL_METRICS.to_owned()];
        }
        metrics.sort_unstable();
        metrics.dedup();
        let text = format!("{metrics:?}{}", interval.as_millis());
        let (high, low) = asker.instance.as_u64_pair();
        let folded = (high ^ low) ^ ((high ^ low) >> 32);
        // The lower half of what was folded.
        let folded = u32::try_from(folded & u64::from(u32::MAX)).expect("32 bits are left");
        let id = (crc32c::crc32c(text.as_bytes()) ^ folded).cast_signed();
        Subscription { id, metrics, interval }
    }
}

/// One client.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) subscription: Arc<Subscription>,
    version: u64,
    last_get: Option<Instant>,
    last_push: Option<Instant>,
    last_seen: Instant,
    /// Its last push was to be the last one.
    pub(super) is_leaving: bool,
    /// Its last push was refused for a reason that asking again may mend.
    pub(super) may_ask_again: bool,
}

impl Instance {
    fn new(subscription: Subscription, version: u64, now: Instant) -> Self {
        Self {
            subscription: Arc::new(subscription),
            version,
            last_get: None,
            last_push: None,
            last_seen: now,
            is_leaving: false,
            may_ask_again: false,
        }
    }

    fn is_due(&self, last: Option<Instant>, now: Instant) -> bool {
        let interval = self.subscription.interval;
        last.is_none_or(|last| now.saturating_duration_since(last) >= interval)
    }

    /// Notes that the client asks what it shall push.
    ///
    /// # Errors
    /// [`TelemetryError::TooEarly`].
    pub(super) fn asks(&mut self, now: Instant) -> Result<(), TelemetryError> {
        if self.is_due(self.last_get.max(self.last_push), now) {
            self.last_get = Some(now);
        } else if !self.may_ask_again {
            return Err(TelemetryError::TooEarly);
        }
        self.may_ask_again = false;
        Ok(())
    }

    /// Notes a push, unless it comes too early. The first one after a question may come at any time.
    pub(super) fn may_push(&mut self, now: Instant) -> bool {
        let may = self.last_get > self.last_push || self.is_due(self.last_push, now);
        if may {
            self.last_push = Some(now);
        }
        may
    }

    fn is_forgotten(&self, now: Instant) -> bool {
        let silence = SILENCE_MIN.max(self.subscription.interval * 3);
        now.saturating_duration_since(self.last_seen) >= silence
    }
}

/// All clients.
#[derive(Debug, Default)]
pub(super) struct Instances(HashMap<Uuid, Instance>);

impl Instances {
    /// The client that asks or pushes, with what it is asked for now. Those that were forgotten to make
    /// room go to `forgotten`.
    pub(super) fn of(
        &mut self,
        asker: &Asker<'_>,
        subscriptions: &Subscriptions,
        now: Instant,
        forgotten: impl FnMut(Uuid),
    ) -> &mut Instance {
        if self.0.len() >= INSTANCES_MAX && !self.0.contains_key(&asker.instance) {
            self.make_room(now, forgotten);
        }
        let version = subscriptions.version;
        let new = || Instance::new(subscriptions.subscription(asker), version, now);
        let instance = self.0.entry(asker.instance).or_insert_with(new);
        if instance.version != version {
            // Whoever is asked for something else may ask at once.
            *instance = new();
        }
        instance.last_seen = now;
        instance
    }

    /// Forgets clients that have been silent for long.
    pub(super) fn expire(&mut self, now: Instant, mut forgotten: impl FnMut(Uuid)) {
        self.0.retain(|id, instance| {
            let stays = !instance.is_forgotten(now);
            if !stays {
                forgotten(*id);
            }
            stays
        });
    }

    fn make_room(&mut self, now: Instant, mut forgotten: impl FnMut(Uuid)) {
        self.expire(now, &mut forgotten);
        if self.0.len() < INSTANCES_MAX {
            return;
        }
        let mut seen: Vec<_> = self.0.iter().map(|(id, one)| (one.last_seen, *id)).collect();
        let eighth = INSTANCES_MAX / 8;
        seen.select_nth_unstable(eighth);
        for (_, id) in &seen[..eighth] {
            self.0.remove(id);
            forgotten(*id);
        }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }
}
