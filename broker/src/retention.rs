//! The loop that lets old records go: by age, by size, every `log.retention.check.interval.ms`.
//!
//! One partition after the other, so that a pass never takes more than one thread from other work.
//! While the disk guard refuses writes a pass follows the last one soon: what retention may delete
//! is then what lets writes go on.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::partition::Partition;
use crate::partitions::Partitions;

/// How often the disk guard is asked, and so the pause between passes while it refuses writes.
const GUARD_INTERVAL: Duration = Duration::from_secs(5);

/// Runs until it is dropped, which is safe at every await.
pub(crate) async fn run(partitions: Arc<Partitions>, clock: Arc<dyn Clock>, interval: Duration) {
    let mut last_pass = clock.monotonic();
    loop {
        tokio::time::sleep(GUARD_INTERVAL.min(interval)).await;
        if partitions.data_dir().is_full() || clock.since(last_pass) >= interval {
            for partition in partitions.online() {
                apply(&partition, clock.as_ref()).await;
            }
            last_pass = clock.monotonic();
        }
    }
}

pub(crate) async fn apply(partition: &Partition, clock: &dyn Clock) {
    let name = &partition.name.partition;
    let result = partition.replica.apply_retention(clock.now()).await;
    let is_news = partition.note_retention(result.is_err());
    match result {
        Ok(0) => {}
        Ok(bytes) => {
            tracing::debug!(topic = %name.topic, partition = %name.partition, bytes, "retention");
            partition.waiters().changed();
        }
        // The next passes would only say the same.
        Err(error) if is_news => tracing::warn!(
            topic = %name.topic, partition = %name.partition, %error,
            "retention failed: old records stay"
        ),
        Err(_) => {}
    }
}
