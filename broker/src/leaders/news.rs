//! Partitions of this broker whose leadership has changed, for whoever acts on it.
//!
//! Replicas tell from threads that must not wait. So only the names are kept here, each once however
//! often it changes, and whoever takes them looks at what is true by then. Bound: one name for each
//! local partition.

use std::collections::BTreeSet;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Key;

/// Names that were not taken yet, and who waits for them.
#[derive(Debug, Default)]
pub(crate) struct LeadershipNews {
    changed: Mutex<BTreeSet<Key>>,
    news: Notify,
}

impl LeadershipNews {
    /// Notes that the leadership of a local partition is not what it was.
    pub(crate) fn tell(&self, key: Key) {
        let is_new = self.changed.lock().insert(key);
        if is_new {
            self.news.notify_one();
        }
    }

    /// Waits for news and takes all of them. One task may wait. Safe to drop.
    pub(crate) async fn next(&self) -> BTreeSet<Key> {
        loop {
            let changed = std::mem::take(&mut *self.changed.lock());
            if !changed.is_empty() {
                return changed;
            }
            self.news.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::topic::TopicId;
    use protocol::types::PartitionId;
    use uuid::Uuid;

    use super::*;

    #[tokio::test]
    async fn what_changes_often_is_told_once_and_nothing_is_missed() {
        let news = LeadershipNews::default();
        let topic = TopicId::new(Uuid::from_u128(7)).unwrap();
        let key = |partition| (topic, PartitionId::new(partition));
        for partition in [1, 0, 1, 1] {
            news.tell(key(partition));
        }
        assert_eq!(news.next().await, BTreeSet::from([key(0), key(1)]));
        let (told, ()) = tokio::join!(news.next(), async { news.tell(key(1)) });
        assert_eq!(told, BTreeSet::from([key(1)]));
    }
}
