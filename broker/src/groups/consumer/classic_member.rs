//! Members that speak the classic protocol in a group of the consumer protocol: JoinGroup is their
//! heartbeat, SyncGroup fetches what it brought, and the error of a Heartbeat tells them to join again.
//! They elect no leader and compute nothing.

use std::sync::Arc;

use bytes::Bytes;
use protocol::consumer_protocol::{Assignment, NamedPartitions, Subscription};
use protocol::group_record::{ClassicMetadata, ClassicProtocol, Member as Told};
use protocol::topic::TopicId;
use uuid::Uuid;

use super::heartbeat::Entrant;
use super::member::{Member, MemberState};
use super::{ConsumerGroup, Surroundings};
use crate::cluster::image::Image;
use crate::groups::assignor::Partitions;
use crate::groups::classic::{JoinRequest, SyncRequest};
use crate::groups::effects::{Answer, Effects, GroupError, Joined, Synced};
use crate::groups::times::to_millis;

/// The only type of classic protocol that can be mixed with this one.
pub(crate) const PROTOCOL_TYPE: &str = "consumer";

impl ConsumerGroup {
    /// A JoinGroup; it is answered at once.
    pub(crate) fn join(
        &mut self,
        request: &JoinRequest,
        around: Surroundings<'_>,
        effects: &mut Effects,
    ) {
        match self.try_join(request, around, effects) {
            Ok(joined) => effects.answers.push((request.ticket, Answer::Join(Ok(joined)))),
            Err(error) => {
                let member_id = match error {
                    GroupError::MemberIdRequired => &request.new_member_id,
                    _ => &request.member_id,
                };
                effects.refuse_join(request.ticket, error, member_id);
            }
        }
    }

    fn try_join(
        &mut self,
        request: &JoinRequest,
        around: Surroundings<'_>,
        effects: &mut Effects,
    ) -> Result<Joined, GroupError> {
        let migration = around.limits.migration;
        if !migration.upgrade && !migration.downgrade {
            return Err(GroupError::InconsistentProtocol);
        }
        let bounds = around.classic.session_timeout_min..=around.classic.session_timeout_max;
        if !bounds.contains(&request.session_timeout) {
            return Err(GroupError::SessionTimeout);
        }
        let is_unknown = request.member_id.is_empty();
        let member_id = if is_unknown { &request.new_member_id } else { &request.member_id };
        let instance_id = request.instance_id.as_deref();
        self.check_room(member_id, instance_id, around)?;
        self.check_protocols(request)?;
        if is_unknown && instance_id.is_none() && request.needs_known_id {
            return Err(GroupError::MemberIdRequired);
        }
        let may_come = is_unknown || instance_id.is_none();
        let entrant = self.entrant(member_id, instance_id, may_come, true)?;
        let (told, owned) = to_told(request, around.image)?;
        if let Entrant::Successor(old) = &entrant {
            self.replace(old, member_id, effects);
        }
        let is_known = self.state.members.get(member_id).is_some_and(|member| member.told == told);
        let news = (!is_known).then_some(told);
        let has_changed = self.listen(member_id, news, around, effects);
        self.begin_session(member_id, around, effects);
        self.update_target(around, effects);
        self.reconcile(member_id, Some(&owned), has_changed, around, effects);
        self.expect_resync(member_id, around, effects);
        let member = self.member(member_id)?;
        Ok(Joined {
            member_id: Arc::clone(member_id),
            generation: member.current.epoch,
            protocol_type: Some(Arc::from(PROTOCOL_TYPE)),
            protocol: first_protocol(member).map(|protocol| Arc::clone(&protocol.name)),
            leader: Arc::from(""),
            skip_assignment: false,
            members: Vec::new(),
        })
    }

    /// The classic members must go on to have a protocol in common: they may be left to themselves.
    fn check_protocols(&self, request: &JoinRequest) -> Result<(), GroupError> {
        let others = || self.state.members.values().filter_map(|it| it.told.classic.as_ref());
        let has = |classic: &ClassicMetadata, name: &Arc<str>| {
            classic.protocols.iter().any(|protocol| protocol.name == *name)
        };
        let is_common = |name: &Arc<str>| others().all(|classic| has(classic, name));
        let is_consumer = &*request.protocol_type == PROTOCOL_TYPE;
        if is_consumer && request.protocols.iter().any(|(name, _)| is_common(name)) {
            Ok(())
        } else {
            Err(GroupError::InconsistentProtocol)
        }
    }

    /// A SyncGroup; it is answered at once.
    pub(crate) fn sync(
        &mut self,
        request: &SyncRequest,
        around: Surroundings<'_>,
        effects: &mut Effects,
    ) {
        let synced = self.try_sync(request, around, effects);
        effects.answers.push((request.ticket, Answer::Sync(synced)));
    }

    fn try_sync(
        &mut self,
        request: &SyncRequest,
        around: Surroundings<'_>,
        effects: &mut Effects,
    ) -> Result<Synced, GroupError> {
        let member_id = self.identify(&request.member_id, request.instance_id.as_deref())?;
        let member = self.member(&member_id)?;
        let protocol = first_protocol(member).ok_or(GroupError::UnknownMember)?;
        if request.generation != member.current.epoch {
            return Err(GroupError::IllegalGeneration);
        }
        let is_other_type = request.protocol_type.as_ref().is_some_and(|it| **it != *PROTOCOL_TYPE);
        if is_other_type || request.protocol.as_ref().is_some_and(|it| *it != protocol.name) {
            return Err(GroupError::InconsistentProtocol);
        }
        let is_behind = self.state.target_epoch() > member.current.epoch;
        if is_behind && member.current.state != MemberState::Unrevoked {
            self.expect_rejoin(&member_id, around, effects);
            return Err(GroupError::RebalanceInProgress);
        }
        let assignment = encode_assignment(&member.shares(), &protocol.metadata, around.image);
        if let Some(deadlines) = self.deadlines.get_mut(&member_id) {
            deadlines.resync = None;
        }
        self.begin_session(&member_id, around, effects);
        let SyncRequest { protocol_type, protocol, .. } = request.clone();
        Ok(Synced { protocol_type, protocol, assignment })
    }

    /// A Heartbeat of the classic protocol.
    ///
    /// # Errors
    /// As behaviour 42 says; [`GroupError::RebalanceInProgress`] if the member shall join again.
    pub(crate) fn classic_heartbeat(
        &mut self,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
        around: Surroundings<'_>,
        effects: &mut Effects,
    ) -> Result<(), GroupError> {
        let member_id = self.identify(member_id, instance_id)?;
        let member = self.member(&member_id)?;
        if !member.is_classic() {
            return Err(GroupError::UnknownMember);
        }
        let current = &member.current;
        if generation != current.epoch {
            return Err(GroupError::IllegalGeneration);
        }
        // Also before its target is computed: nobody but a member that joins computes it.
        let must_rejoin = current.epoch < self.state.epoch()
            || current.state == MemberState::Unrevoked
            || (current.state == MemberState::Unreleased
                && !self.waits_for_others(&member_id, member));
        self.begin_session(&member_id, around, effects);
        if must_rejoin {
            self.expect_rejoin(&member_id, around, effects);
            return Err(GroupError::RebalanceInProgress);
        }
        Ok(())
    }

    /// The members of one LeaveGroup, each with its answer.
    pub(crate) fn leave(
        &mut self,
        leaving: &[(Arc<str>, Option<Arc<str>>)],
        around: Surroundings<'_>,
        effects: &mut Effects,
    ) -> Vec<Result<(), GroupError>> {
        let mut found: Vec<Arc<str>> = Vec::new();
        let mut answers = Vec::with_capacity(leaving.len());
        for (member_id, instance_id) in leaving {
            // By its static id alone, an operator may name whoever has it.
            let holder = instance_id.as_ref().and_then(|it| self.state.holder(it)).cloned();
            let member_id = if member_id.is_empty() { holder.as_ref() } else { Some(member_id) };
            let member_id = member_id.ok_or(GroupError::UnknownMember);
            let left = member_id.and_then(|id| self.identify(id, instance_id.as_deref()));
            answers.push(left.as_ref().map(|_| ()).map_err(|error| *error));
            found.extend(left.ok().filter(|it| !found.contains(it)));
        }
        self.dismiss(&found, around, effects);
        answers
    }
}

/// The protocol that a classic member likes best.
fn first_protocol(member: &Member) -> Option<&ClassicProtocol> {
    member.told.classic.as_ref()?.protocols.first()
}

/// What a JoinGroup tells, and what its sender says that it owns.
fn to_told(request: &JoinRequest, image: &Image) -> Result<(Told, Partitions), GroupError> {
    let protocols = request.protocols.iter().map(|(name, metadata)| ClassicProtocol {
        name: Arc::clone(name),
        metadata: metadata.clone(),
    });
    let protocols: Vec<_> = protocols.collect();
    let first = protocols.first().ok_or(GroupError::InconsistentProtocol)?;
    let subscription =
        Subscription::decode(&first.metadata).or(Err(GroupError::InconsistentProtocol))?;
    let owned = to_ids(&subscription.owned, image);
    let mut topics = subscription.topics;
    topics.sort_unstable();
    topics.dedup();
    let told = Told {
        instance_id: request.instance_id.clone(),
        rack_id: subscription.rack_id,
        client_id: Arc::clone(&request.client_id),
        client_host: Arc::clone(&request.client_host),
        topics,
        topics_regex: Some(Arc::from("")),
        rebalance_timeout_ms: to_millis(request.rebalance_timeout),
        assignor: None,
        classic: Some(ClassicMetadata {
            session_timeout_ms: to_millis(request.session_timeout),
            protocols,
        }),
    };
    Ok((told, owned))
}

/// Partitions by the ids of their topics; those of topics that do not exist are left out.
pub(crate) fn to_ids(named: &[NamedPartitions], image: &Image) -> Partitions {
    let mut partitions = Partitions::new();
    for of_topic in named.iter().filter(|it| !it.partitions.is_empty()) {
        if let Some(topic) = image.topics.get(&*of_topic.topic) {
            partitions.entry(topic.id.get()).or_default().extend(&of_topic.partitions);
        }
    }
    partitions
}

/// What a consumer finds in its SyncGroup, in the version in which it subscribed.
pub(crate) fn encode_assignment(
    partitions: &Partitions,
    subscription: &[u8],
    image: &Image,
) -> Bytes {
    let name_of = |topic_id: &Uuid| image.topic_names.get(&TopicId::new(*topic_id)?);
    let named = partitions.iter().filter_map(|(topic_id, partitions)| {
        let topic = Arc::from(name_of(topic_id)?.as_str());
        Some(NamedPartitions { topic, partitions: partitions.iter().copied().collect() })
    });
    let assignment = Assignment { partitions: named.collect(), has_user_data: false };
    let version = Subscription::decode(subscription).map_or(0, |subscription| subscription.version);
    assignment.encode(version)
}
