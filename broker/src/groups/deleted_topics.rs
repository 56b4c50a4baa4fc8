//! Commits for topics that are deleted go with them, so that a new topic of the same name is not read
//! from where the old one was left.

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
        let is_gone = |topic: &str| is_gone(known.as_deref(), &image, topic);
        let has_gone =
            known.as_ref().is_none_or(|known| known.topics.keys().any(|it| is_gone(it.as_str())));
        if has_gone {
            for owner in broker.groups.owners() {
                forget(&owner, &is_gone).await;
            }
        }
        known = Some(image);
        if images.changed().await.is_err() {
            return;
        }
    }
}

/// Whether a topic is not there any more, or is another of the same name.
fn is_gone(before: Option<&Image>, now: &Image, topic: &str) -> bool {
    let id = |image: &Image| image.topics.get(topic).map(|topic| topic.id);
    match id(now) {
        None => true,
        Some(present) => before.and_then(id).is_some_and(|earlier| earlier != present),
    }
}

async fn forget(owner: &Owner, is_gone: &impl Fn(&str) -> bool) {
    loop {
        let stored = owner.store(|shard, _| {
            let records = shard.plan_forgetting(is_gone, RECORDS_MAX);
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
