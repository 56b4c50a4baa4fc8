//! The typed view of one topic's effective settings.

use std::time::Duration;

use protocol::batch::Codec;
use storage::config::{LogConfig, SyncPolicy};
use storage::validate::{BatchRules, TargetCodec};

use super::lookup::{Layers, Values};
use super::parse::items;
use super::table::known_topic;
use super::{BrokerSettings, SettingError};

/// A batch is never inflated beyond this, whatever it claims: at a thousand to one, a batch of
/// 1 MiB could otherwise take a gigabyte.
const DECOMPRESSED_BYTES_MAX: usize = 128 << 20;

/// Typed view of one topic's effective settings: topic override, else dynamic broker default, else
/// static broker setting, else Kafka's default.
#[derive(Debug, Clone)]
pub(crate) struct TopicSettings {
    /// For the log.
    pub(crate) log: LogConfig,
    /// For validation.
    pub(crate) rules: BatchRules,
    /// `min.insync.replicas`.
    pub(crate) min_insync_replicas: i16,
}

impl TopicSettings {
    /// Resolves. `overrides` and `dynamic` were checked when they were set.
    ///
    /// # Errors
    /// [`SettingError`] names the first value that breaks its rule.
    pub(crate) fn resolve(
        overrides: &Values,
        dynamic: &Values,
        r#static: &BrokerSettings,
    ) -> Result<Self, SettingError> {
        let layers = Layers { topic: Some(overrides), broker: &[dynamic, &r#static.given] };
        let policy = Policy(layers);
        Ok(Self {
            log: policy.log()?,
            rules: policy.rules()?,
            min_insync_replicas: i16::try_from(
                policy.0.number(known_topic("min.insync.replicas"))?,
            )
            .unwrap_or(i16::MAX),
        })
    }
}

/// Reads the settings of one topic out of their layers.
struct Policy<'a>(Layers<'a>);

impl Policy<'_> {
    fn log(&self) -> Result<LogConfig, SettingError> {
        let Self(layers) = self;
        Ok(LogConfig {
            segment_bytes_max: layers.sized(known_topic("segment.bytes"))?,
            segment_age_max: layers.millis(known_topic("segment.ms"))?,
            segment_jitter_max: layers.millis(known_topic("segment.jitter.ms"))?,
            index_bytes_max: layers.sized(known_topic("segment.index.bytes"))?,
            index_interval_bytes: layers.sized(known_topic("index.interval.bytes"))?,
            retention: layers.limit(known_topic("retention.ms"))?.map(Duration::from_millis),
            retention_bytes: layers.limit(known_topic("retention.bytes"))?,
            delete_old_segments: self.cleanup_has("delete"),
            file_delete_delay: layers.millis(known_topic("file.delete.delay.ms"))?,
            sync: self.sync()?,
        })
    }

    fn sync(&self) -> Result<SyncPolicy, SettingError> {
        if self.word("durability") == "durable" {
            return Ok(SyncPolicy::EveryCommit);
        }
        // Kafka's default, the largest number, means "never".
        let below_max = |n: &u64| *n < i64::MAX.unsigned_abs();
        let records = self.0.limit(known_topic("flush.messages"))?.filter(below_max);
        let millis = self.0.limit(known_topic("flush.ms"))?.filter(below_max);
        Ok(SyncPolicy::Relaxed {
            flush_records: records,
            flush_interval: millis.map(Duration::from_millis),
        })
    }

    fn rules(&self) -> Result<BatchRules, SettingError> {
        let Self(layers) = self;
        Ok(BatchRules {
            batch_bytes_max: layers.sized(known_topic("max.message.bytes"))?,
            log_append_time: self.word("message.timestamp.type") == "LogAppendTime",
            timestamp_before_max_ms: layers
                .number(known_topic("message.timestamp.before.max.ms"))?,
            timestamp_after_max_ms: layers.number(known_topic("message.timestamp.after.max.ms"))?,
            keys_required: self.cleanup_has("compact"),
            codec: self.codec()?,
            decompressed_bytes_max: DECOMPRESSED_BYTES_MAX,
        })
    }

    fn codec(&self) -> Result<Option<TargetCodec>, SettingError> {
        let level = |name| self.0.sized(known_topic(name)).map(Some);
        let (codec, level) = match self.word("compression.type") {
            "uncompressed" => (Codec::None, None),
            // Kafka's -1 is the codec's own default.
            "gzip" => (Codec::Gzip, level("compression.gzip.level")?.filter(|level| *level != -1)),
            "snappy" => (Codec::Snappy, None),
            "lz4" => (Codec::Lz4, level("compression.lz4.level")?),
            "zstd" => (Codec::Zstd, level("compression.zstd.level")?),
            _producer => return Ok(None),
        };
        Ok(Some(TargetCodec { codec, level }))
    }

    fn cleanup_has(&self, policy: &str) -> bool {
        items(self.word("cleanup.policy")).contains(&policy)
    }

    fn word(&self, name: &str) -> &str {
        self.0.text(known_topic(name)).unwrap_or_default().0
    }
}
