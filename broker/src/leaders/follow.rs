//! What this broker does when the leadership of one of its partitions changes.

use std::sync::Arc;

use super::gossip::Gossip;
use crate::broker::Broker;

/// Runs until it is dropped, which is safe at every await: what was not acted on is gone with the
/// broker. Others are told through `gossip`, if there are any.
pub(crate) async fn run(broker: Arc<Broker>, gossip: Option<Arc<Gossip>>) {
    let news = Arc::clone(broker.partitions.news());
    loop {
        let changed = news.next().await;
        if let Some(gossip) = &gossip {
            gossip.tell(&changed);
        }
        for key in changed {
            broker.groups.leadership_changed(key);
        }
    }
}
