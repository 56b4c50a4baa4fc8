//! What this broker does when the leadership of one of its partitions changes.

use std::sync::Arc;

use crate::broker::Broker;

/// Runs until it is dropped, which is safe at every await: what was not acted on is gone with the
/// broker.
pub(crate) async fn run(broker: Arc<Broker>) {
    let news = Arc::clone(broker.partitions.news());
    loop {
        let changed = news.next().await;
        if let Some(gossip) = &broker.gossip {
            gossip.tell(&changed);
        }
        for key in changed {
            broker.groups.leadership_changed(key);
        }
    }
}
