//! How groups get another leader when a broker is found to be gone, without waiting out its lease.
//!
//! Raft alone takes six seconds: nobody votes while the leader's lease lasts. Here every survivor
//! closes its ears to the broker that is gone (the fence), becomes free to vote (lifts the lease),
//! and learns how long the others' logs are; the one with the longest asks for votes, first for a
//! promise of them (pre-vote), which costs nothing where it fails. All of it is safe whoever is wrong
//! about whom: only the waiting is Raft's to skip, the voting is as ever.
//!
//! Each survivor does this by itself for the groups that it knows, a few hundred in one message to
//! each of the others.
//!
//! ```text
//! all fields big-endian; group and log id as in `group::codec`
//! 1 lift    ├ i32 broker that is gone ┼ u32 groups ┼ group… ┤
//!   answer  for each group: ├ u8 0 not open here ┤ or ├ u8 1, or 2 if it drives a takeover itself ┼
//!           optional log id: last ┤
//! 2 elect   ├ u32 groups ┼ group… ┤                              the answer is empty
//! 3 bereft  ├ i32 broker that led ┼ u32 groups ┼ group… ┤        the answer is empty
//! 4 opened  ├ i32 broker that opened them ┼ u32 groups ┼ group… ┤ the answer is empty
//! ```

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use futures_util::future::join_all;
use protocol::types::BrokerId;
use tokio::time::Instant;

use super::Inner;
use crate::fitness::Fitness;
use crate::group::Group;
use crate::group::codec::{get_group, put_group};
use crate::group::types::LogId;
use crate::metrics;
use crate::peers::{Lane, Message, ServiceId};
use crate::replicated_state::codec::{CodecError, get_optional_log_id, put_optional_log_id};
use crate::types::GroupId;

const LIFT: u8 = 1;
const ELECT: u8 = 2;
const BEREFT: u8 = 3;
const OPENED: u8 = 4;

/// Groups of one round of messages.
const GROUPS_AT_ONCE_MAX: usize = 512;
/// After so many rounds Raft's own timers have to do.
const ROUNDS_MAX: usize = 15;
/// How long a round waits for a leader.
const ROUND_WAIT: Duration = Duration::from_millis(100);
/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How long the broker that is gone is not listened to, after each lift.
const FENCE: Duration = Duration::from_secs(1);
const CALL_TIMEOUT: Duration = Duration::from_millis(300);

/// A broker's word on one group.
#[derive(Debug, Clone, Copy)]
struct Standing {
    last: Option<LogId>,
    /// It will ask for votes by itself if its log is the longest.
    drives: bool,
}

/// Elects leaders for those of `groups` that `gone` led, as far as this node knows.
pub(super) async fn take_over(inner: Arc<Inner>, gone: BrokerId, groups: Vec<Arc<Group>>) {
    if inner.peers.fitness_of(inner.me.broker_id) == Fitness::Hanging {
        // It could not vote.
        return;
    }
    let led = groups.into_iter().filter(|group| is_bereft(group, gone) && group.begin_takeover());
    let led: Vec<_> = led.collect();
    let chunks = led.chunks(GROUPS_AT_ONCE_MAX).map(<[_]>::to_vec);
    let chunks: Vec<_> = chunks.collect();
    let driven = chunks.into_iter().map(|chunk| drive(&inner, gone, chunk));
    join_all(driven).await;
    led.iter().for_each(|group| group.end_takeover());
}

/// Whether a group waits for another leader than `gone`.
fn is_bereft(group: &Group, gone: BrokerId) -> bool {
    let has_it = group.voters().iter().any(|voter| voter.broker_id == gone);
    has_it && group.leadership_now().leader.is_none_or(|leader| leader == gone)
}

async fn drive(inner: &Arc<Inner>, gone: BrokerId, mut groups: Vec<Arc<Group>>) {
    let (begun, bereft) = (Instant::now(), groups.len());
    for round in 0..ROUNDS_MAX {
        groups.retain(|group| is_bereft(group, gone) && !group.is_closing());
        if groups.is_empty() {
            metrics::taken_over(bereft);
            tracing::debug!(%gone, round, elapsed = ?begun.elapsed(), "took over");
            return;
        }
        let standings = ask_standings(inner, gone, &groups).await;
        let mut others: BTreeMap<BrokerId, Vec<GroupId>> = BTreeMap::new();
        for group in &groups {
            let Some((best, drives)) = best_of(inner, group, &standings) else { continue };
            if best == inner.me.broker_id {
                group.campaign().await;
            } else if !drives || round > 0 {
                others.entry(best).or_default().push(group.id());
            }
        }
        join_all(others.into_iter().map(|(broker, ids)| send(inner, broker, elect_message(&ids))))
            .await;
        let until = Instant::now() + ROUND_WAIT;
        while Instant::now() < until && groups.iter().any(|group| is_bereft(group, gone)) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
    tracing::warn!(%gone, groups = groups.len(), "groups are still without a leader");
}

type Standings = BTreeMap<(GroupId, BrokerId), Standing>;

/// Lifts the leases, here and on the other survivors, and learns how long their logs are.
async fn ask_standings(inner: &Arc<Inner>, gone: BrokerId, groups: &[Arc<Group>]) -> Standings {
    let me = inner.me.broker_id;
    let until = Instant::now() + FENCE;
    let here = join_all(groups.iter().map(async |group| {
        let last = group.lift_lease(gone, until).await;
        ((group.id(), me), Standing { last, drives: true })
    }));
    let mut asked: BTreeMap<BrokerId, Vec<GroupId>> = BTreeMap::new();
    for group in groups {
        let others: BTreeSet<_> = group.voters().iter().map(|voter| voter.broker_id).collect();
        for broker in others.into_iter().filter(|broker| *broker != me && *broker != gone) {
            asked.entry(broker).or_default().push(group.id());
        }
    }
    let there = join_all(asked.into_iter().map(async |(broker, ids)| {
        let answer = send(inner, broker, lift_message(LIFT, gone, &ids)).await;
        let answer = answer.and_then(|answer| get_standings(answer, &ids).ok());
        let standings = answer.unwrap_or_default().into_iter();
        standings.map(|(id, standing)| ((id, broker), standing)).collect::<Vec<_>>()
    }));
    let (here, there) = tokio::join!(here, there);
    here.into_iter().chain(there.into_iter().flatten()).collect()
}

/// The survivor with the longest log, if the survivors are a majority, and whether it drives.
fn best_of(inner: &Inner, group: &Group, standings: &Standings) -> Option<(BrokerId, bool)> {
    let standing = |broker: BrokerId| Some((broker, standings.get(&(group.id(), broker))?));
    let voters = group.voters();
    let known: Vec<_> = voters.iter().filter_map(|v| standing(v.broker_id)).collect();
    if known.len() * 2 <= voters.len() {
        tracing::debug!(group = %group.id(), me = %inner.me, "too few survivors");
        return None;
    }
    // Of equals one that is fit, and of these the one that every survivor chooses.
    let is_fit = |broker: BrokerId| inner.peers.is_fit(broker);
    let rank =
        |(broker, one): &(BrokerId, &Standing)| (one.last, is_fit(*broker), Reverse(*broker));
    let best = known.into_iter().max_by_key(rank);
    best.map(|(broker, one)| (broker, one.drives))
}

/// Tells the other voters of a group that this node led it and cannot any more.
pub(super) async fn ask_others(inner: &Arc<Inner>, group: &Group) {
    let me = inner.me.broker_id;
    let voters = group.voters();
    let others = voters.iter().filter(|voter| voter.broker_id != me);
    let ask =
        others.map(|voter| send(inner, voter.broker_id, lift_message(BEREFT, me, &[group.id()])));
    join_all(ask).await;
}

/// Tells the other voters of these groups that they are open here.
pub(super) async fn announce(inner: &Arc<Inner>, groups: &[Arc<Group>]) {
    let me = inner.me.broker_id;
    let mut told: BTreeMap<BrokerId, Vec<GroupId>> = BTreeMap::new();
    for group in groups {
        for voter in group.voters().iter().filter(|voter| voter.broker_id != me) {
            told.entry(voter.broker_id).or_default().push(group.id());
        }
    }
    let tell = told.iter().flat_map(|(broker, ids)| {
        let chunks = ids.chunks(GROUPS_AT_ONCE_MAX);
        chunks.map(|ids| send(inner, *broker, lift_message(OPENED, me, ids)))
    });
    join_all(tell).await;
}

async fn send(inner: &Arc<Inner>, to: BrokerId, message: Message) -> Option<Bytes> {
    let call = inner.peers.call(to, ServiceId::TAKEOVER, Lane::Control, message, CALL_TIMEOUT);
    call.await.inspect_err(|error| tracing::debug!(%to, %error, "a takeover goes on without")).ok()
}

fn put_groups(out: &mut Vec<u8>, ids: &[GroupId]) {
    out.put_u32(u32::try_from(ids.len()).expect("a round has a few hundred groups"));
    ids.iter().for_each(|id| put_group(out, *id));
}

fn get_groups(bytes: &mut Bytes) -> Result<Vec<GroupId>, CodecError> {
    let count = bytes.try_get_u32()?;
    (0..count).map(|_| get_group(bytes)).collect()
}

fn lift_message(kind: u8, gone: BrokerId, ids: &[GroupId]) -> Message {
    let mut out = vec![kind];
    out.put_i32(gone.get());
    put_groups(&mut out, ids);
    vec![out.into()]
}

fn elect_message(ids: &[GroupId]) -> Message {
    let mut out = vec![ELECT];
    put_groups(&mut out, ids);
    vec![out.into()]
}

fn put_standing(out: &mut Vec<u8>, standing: Option<Standing>) {
    let Some(Standing { last, drives }) = standing else { return out.put_u8(0) };
    out.put_u8(if drives { 2 } else { 1 });
    put_optional_log_id(out, last.as_ref());
}

fn get_standings(
    mut bytes: Bytes,
    ids: &[GroupId],
) -> Result<Vec<(GroupId, Standing)>, CodecError> {
    let mut standings = Vec::new();
    for id in ids {
        let drives = match bytes.try_get_u8()? {
            0 => continue,
            1 => false,
            2 => true,
            tag => return Err(CodecError::Tag { what: "a replica's standing", tag }),
        };
        let last = get_optional_log_id(&mut bytes)?;
        standings.push((*id, Standing { last, drives }));
    }
    Ok(standings)
}

/// Answers another survivor.
pub(super) async fn answer(inner: Arc<Inner>, mut request: Bytes) -> Result<Message, String> {
    let failed = |error: CodecError| error.to_string();
    match request.try_get_u8().map_err(|error| error.to_string())? {
        LIFT => {
            let (gone, ids) = get_lift(&mut request).map_err(failed)?;
            let until = Instant::now() + FENCE;
            let hangs = inner.peers.fitness_of(inner.me.broker_id) == Fitness::Hanging;
            let standings = join_all(ids.iter().map(async |id| {
                let group = inner.group(*id).filter(|_| !hangs)?;
                let last = group.lift_lease(gone, until).await;
                Some(Standing { last, drives: group.is_taken_over() })
            }));
            let mut out = Vec::new();
            standings.await.into_iter().for_each(|standing| put_standing(&mut out, standing));
            Ok(vec![out.into()])
        }
        ELECT => {
            let ids = get_groups(&mut request).map_err(failed)?;
            for group in ids.into_iter().filter_map(|id| inner.group(id)) {
                group.campaign().await;
            }
            Ok(Vec::new())
        }
        BEREFT => {
            let (gone, ids) = get_lift(&mut request).map_err(failed)?;
            let groups = ids.into_iter().filter_map(|id| inner.group(id)).collect();
            tokio::spawn(take_over(inner, gone, groups));
            Ok(Vec::new())
        }
        OPENED => {
            let (there, ids) = get_lift(&mut request).map_err(failed)?;
            for group in ids.into_iter().filter_map(|id| inner.group(id)) {
                group.call_again(there).await;
            }
            Ok(Vec::new())
        }
        tag => Err(format!("a message of takeovers of the unknown kind {tag}")),
    }
}

fn get_lift(request: &mut Bytes) -> Result<(BrokerId, Vec<GroupId>), CodecError> {
    let gone = BrokerId::new(request.try_get_i32()?);
    Ok((gone, get_groups(request)?))
}
