//! Groups that change between the protocols while they run (KIP-848): to the consumer protocol when its
//! first member comes, back when its last one has gone. Members keep what they own on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use protocol::consumer_protocol::{Assignment, Subscription};
use protocol::group_record::{
    ClassicGeneration, ClassicMember, ClassicMetadata, ClassicProtocol, GroupRecord, Member as Told,
};

use super::assignor::Partitions;
use super::classic::{ClassicGroup, Member as Classic};
use super::consumer::member::{Current, Member, Owned};
use super::consumer::{
    ConsumerGroup, ConsumerPhase, PROTOCOL_TYPE, Surroundings, encode_assignment, to_ids,
};
use super::effects::{Effects, GroupError};
use super::times::to_millis;

/// What a classic group goes on as in the consumer protocol. Whoever waits for the classic one's
/// rebalance is still to be told to join again.
///
/// # Errors
/// [`GroupError::UnknownGroup`], as Kafka answers, if the group must stay as it is.
pub(crate) fn upgrade(
    name: &Arc<str>,
    classic: &ClassicGroup,
    around: Surroundings<'_>,
    effects: &mut Effects,
) -> Result<ConsumerGroup, GroupError> {
    let mut group = ConsumerGroup::new(Arc::clone(name));
    if !classic.members.is_empty() {
        let is_consumer = classic.protocol_type.as_deref() == Some(PROTOCOL_TYPE);
        let limits = around.limits;
        let is_too_large = classic.members.len() > limits.members_max;
        if !limits.migration.upgrade || !is_consumer || is_too_large {
            return Err(GroupError::UnknownGroup);
        }
    }
    let mut members = BTreeMap::new();
    let mut taken = BTreeSet::new();
    for (member_id, member) in &classic.members {
        let protocol = classic.protocol.as_deref();
        let upgraded = to_member(member, protocol, classic.generation, around, &mut taken);
        members.insert(Arc::clone(member_id), upgraded.ok_or(GroupError::UnknownGroup)?);
    }
    if !classic.is_void() {
        effects.records.push(GroupRecord::ClassicGroup(Arc::clone(name), None));
    }
    group.admit(members, classic.generation, around, effects);
    if !classic.members.is_empty() {
        tracing::info!(group = %name, "a classic group goes on with the consumer protocol");
    }
    Ok(group)
}

/// `None` if its bytes are not a consumer's, or hold something that would be lost.
fn to_member(
    member: &Classic,
    protocol: Option<&str>,
    generation: i32,
    around: Surroundings<'_>,
    taken: &mut BTreeSet<(uuid::Uuid, i32)>,
) -> Option<Member> {
    let selected = member.protocols.iter().find(|(name, _)| Some(&**name) == protocol);
    let (_, metadata) = selected.or_else(|| member.protocols.first())?;
    let subscription = Subscription::decode(metadata).ok()?;
    let assignment = Assignment::decode(&member.assignment).ok()?;
    if assignment.has_user_data {
        return None;
    }
    let mut owned = Owned::new();
    for (topic_id, partitions) in to_ids(&assignment.partitions, around.image) {
        for partition in partitions {
            // Clients' assignors may give a partition to two members. Here only one can have it.
            if taken.insert((topic_id, partition)) {
                owned.entry(topic_id).or_default().insert(partition, generation);
            }
        }
    }
    let mut topics = subscription.topics;
    topics.sort_unstable();
    topics.dedup();
    let protocols = member.protocols.iter().map(|(name, metadata)| ClassicProtocol {
        name: Arc::clone(name),
        metadata: metadata.clone(),
    });
    let told = Told {
        instance_id: member.instance_id.clone(),
        rack_id: subscription.rack_id,
        client_id: Arc::clone(&member.client_id),
        client_host: Arc::clone(&member.client_host),
        topics,
        topics_regex: None,
        rebalance_timeout_ms: to_millis(member.rebalance_timeout),
        assignor: None,
        classic: Some(ClassicMetadata {
            session_timeout_ms: to_millis(member.session_timeout),
            protocols: protocols.collect(),
        }),
    };
    let current =
        Current { epoch: generation, previous_epoch: generation, owned, ..Current::default() };
    Some(Member { told, current })
}

/// Makes a group of which only classic members are left a classic one. What was meant for each is its
/// assignment; if not everybody has that already, or somebody has gone, they rebalance.
///
/// # Panics
/// If other members are left; see [`ConsumerGroup::can_become_classic`].
pub(crate) fn downgrade(
    group: &ConsumerGroup,
    around: Surroundings<'_>,
    effects: &mut Effects,
) -> ClassicGroup {
    let name = &group.name;
    effects.records.extend(group.all_tombstones());
    let classic_of = |member: &Member| member.told.classic.clone().expect("all are classic");
    let all = || group.state.members.iter();
    let protocol = common_protocol(all().map(|(_, member)| classic_of(member)).collect());
    let members = all().map(|(member_id, member)| {
        let classic = classic_of(member);
        let own = classic.protocols.iter().find(|it| Some(&it.name) == protocol.as_ref());
        let subscription = own.map(|protocol| protocol.metadata.clone()).unwrap_or_default();
        let target: &Partitions = group.state.target_of(member_id);
        let assignment = encode_assignment(target, &subscription, around.image);
        ClassicMember {
            member_id: Arc::clone(member_id),
            instance_id: member.told.instance_id.clone(),
            client_id: Arc::clone(&member.told.client_id),
            client_host: Arc::clone(&member.told.client_host),
            rebalance_timeout_ms: member.told.rebalance_timeout_ms,
            session_timeout_ms: classic.session_timeout_ms,
            subscription,
            assignment,
        }
    });
    let generation = ClassicGeneration {
        protocol_type: Arc::from(PROTOCOL_TYPE),
        generation: group.state.epoch(),
        protocol: protocol.clone(),
        leader: all().next().map(|(member_id, _)| Arc::clone(member_id)),
        state_since: around.at.wall_ms,
        members: members.collect(),
    };
    let now = around.at.now;
    let mut classic = ClassicGroup::from_record(Arc::clone(name), &generation, now, effects);
    effects.records.push(GroupRecord::ClassicGroup(Arc::clone(name), Some(generation)));
    for (member_id, member) in all() {
        let protocols = classic_of(member).protocols.into_iter();
        let protocols = protocols.map(|it| (it.name, it.metadata)).collect();
        classic.set_protocols(member_id, protocols);
    }
    if group.has_lost_members || group.phase() != ConsumerPhase::Stable {
        classic.prepare_rebalance(around.at, around.classic, effects);
    }
    tracing::info!(group = %name, "a consumer group goes on with the classic protocol");
    classic
}

/// Of the protocols that all have, the one that most like best.
fn common_protocol(members: Vec<ClassicMetadata>) -> Option<Arc<str>> {
    let has = |member: &ClassicMetadata, name: &str| {
        member.protocols.iter().any(|protocol| *protocol.name == *name)
    };
    let is_common = |name: &str| members.iter().all(|member| has(member, name));
    let mut votes: BTreeMap<&Arc<str>, usize> = BTreeMap::new();
    for member in &members {
        let best = member.protocols.iter().map(|protocol| &protocol.name).find(|it| is_common(it));
        *votes.entry(best?).or_default() += 1;
    }
    votes.into_iter().max_by_key(|(_, count)| *count).map(|(name, _)| Arc::clone(name))
}

#[cfg(test)]
mod tests;
