//! How a replica that was just opened sees to it that its group gets a leader.

use std::sync::Arc;
use std::time::Duration;

use crate::group::Group;
use crate::replica::Leadership;

/// A replica that finds no leader when it opens asks for votes again after this…
const CAMPAIGN_EVERY_MIN: Duration = Duration::from_millis(150);
/// …then after twice as long, up to this…
const CAMPAIGN_EVERY_MAX: Duration = Duration::from_secs(2);
/// …and so many times; then its own timers do.
const CAMPAIGNS_MAX: u32 = 10;
/// The leader of a group that was opened again hears of that and calls, within this.
const LEADER_SPEAKS_WITHIN: Duration = Duration::from_millis(400);
/// The next in the order of preference waits for so long before it does the same.
const CAMPAIGN_STAGGER: Duration = Duration::from_millis(1200);

/// Asks for votes until some leader is known: of a new group the preferred replica at once, of an old
/// one after its leader had time to say who it is; the others later.
pub(super) async fn run(group: Arc<Group>) {
    let me = group.me();
    let place = group.voters().iter().position(|voter| *voter == me).unwrap_or_default();
    let is_first = place == 0 || group.led_last();
    let mut wait = match (is_first, group.was_never_led()) {
        (true, true) => Duration::ZERO,
        (true, false) => LEADER_SPEAKS_WITHIN,
        (false, _) => CAMPAIGN_STAGGER * u32::try_from(place).unwrap_or(u32::MAX),
    };
    if !group.is_fit() {
        // Whoever is fit comes first.
        wait += CAMPAIGN_STAGGER * u32::try_from(group.voters().len()).unwrap_or(u32::MAX);
    }
    let mut leadership = group.watch_leadership();
    let is_led = |leadership: &Leadership| leadership.leader.is_some();
    let mut next_wait = CAMPAIGN_EVERY_MIN;
    for _ in 0..CAMPAIGNS_MAX {
        // Also the end of the group ends this: the watch closes with it.
        if !wait.is_zero() && tokio::time::timeout(wait, leadership.wait_for(is_led)).await.is_ok()
        {
            return;
        }
        if group.is_closing() {
            return;
        }
        group.campaign().await;
        // Of a thousand groups that wait for the same broker none may keep it from answering.
        (wait, next_wait) = (next_wait, CAMPAIGN_EVERY_MAX.min(next_wait * 2));
    }
}
