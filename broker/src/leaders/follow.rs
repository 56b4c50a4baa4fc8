//! What this broker does when the leadership of one of its partitions changes.

use std::sync::Arc;

use crate::broker::Broker;
use crate::groups::deleted_topics;

/// Runs until it is dropped, which is safe at every await: what was not acted on is gone with the
/// broker.
pub(crate) async fn run(broker: Arc<Broker>) {
    let news = Arc::clone(broker.partitions.news());
    loop {
        let changed = news.next().await;
        broker.leaders.note_change();
        if let Some(gossip) = &broker.gossip {
            gossip.tell(&changed);
        }
        for key in changed {
            if let Some(owner) = broker.groups.leadership_changed(key) {
                // Topics that were deleted while another broker looked after these groups.
                tokio::spawn(async move { deleted_topics::forget(&owner).await });
            }
        }
    }
}
