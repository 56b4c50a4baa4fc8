//! Commits for topics that are deleted go with them, so that a new topic of the same name is not read
//! from where the old one was left. The shards stop telling them as soon as they see the deletion; here
//! the log is made to forget them.

use std::sync::Arc;
use std::time::Duration;

use super::owner::{Owner, PlanRefusal};
use crate::broker::Broker;
use crate::cluster::image::Image;

/// Records that one batch takes, so that nobody waits long for the owner.
const RECORDS_MAX: usize = 1000;
/// How long an owner that cannot store anything is left alone.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Watches the metadata until the broker stops. The first look finds what was deleted while nobody was
/// looking, except for names that exist again by then.
pub(crate) async fn run(broker: Arc<Broker>) {
    let mut images = broker.cluster.images();
    let mut known: Option<Arc<Image>> = None;
    loop {
        let image = images.borrow_and_update().clone();
        let deleted = &image.deleted_topics;
        if known.is_none_or(|known| !Arc::ptr_eq(&known.deleted_topics, deleted)) {
            for owner in broker.groups.owners() {
                forget(&owner).await;
            }
        }
        known = Some(image);
        if images.changed().await.is_err() {
            return;
        }
    }
}

/// Has one owner forget what belongs to topics that are no more. However long this takes, what is gone is decided by the topics that there are when it is forgotten.
pub(crate) async fn forget(owner: &Owner) {
    loop {
        let stored = owner.store(|shard, _| {
            let records = shard.plan_forgetting(RECORDS_MAX);
            Ok((records.len(), records))
        });
        match stored {
            Ok((0, _)) => return,
            Ok(_) => {}
            // Loading, or a full disk: the commits do no harm until then.
            Err(PlanRefusal::Unavailable(error)) if error.is_passing() => {
                tokio::time::sleep(RETRY_AFTER).await;
            }
            Err(_) => return,
        }
    }
}
