//! Who is in a group, by whichever protocol: what the rest of the coordinator may ask and do without
//! knowing which. A group changes its protocol here, and nowhere else.

use std::sync::Arc;

use protocol::group_record::{GroupRecord, OffsetKey};

use super::classic::{ClassicGroup, JoinRequest, Phase, SyncRequest};
use super::consumer::state::State;
use super::consumer::{
    ConsumerGroup, HeartbeatAnswer, HeartbeatRequest, PROTOCOL_TYPE, Surroundings,
};
use super::effects::{Effects, GroupError, Timer};
use super::migration;
use super::reads::Reads;

/// The members of one group.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "most groups are classic: a box would cost each one more"
)]
pub(crate) enum Members {
    /// They assign partitions themselves.
    Classic(ClassicGroup),
    /// The coordinator assigns them (KIP-848); some may speak the classic protocol.
    Consumer(Box<ConsumerGroup>),
}

/// Who commits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Committer<'a> {
    pub(crate) member_id: &'a str,
    pub(crate) instance_id: Option<&'a str>,
    /// The generation, or the member epoch.
    pub(crate) generation: i32,
    /// Of the request.
    pub(crate) version: i16,
}

impl Members {
    /// A group that nobody has joined.
    pub(crate) fn new(name: &Arc<str>) -> Self {
        Self::Classic(ClassicGroup::new(Arc::clone(name)))
    }

    /// What a replay has found of a group of the consumer protocol.
    pub(crate) fn from_state(
        name: &Arc<str>,
        state: State,
        around: Surroundings<'_>,
        effects: &mut Effects,
    ) -> Self {
        let group = ConsumerGroup::from_state(Arc::clone(name), state, around, effects);
        Self::Consumer(Box::new(group))
    }

    /// The members, if they assign partitions themselves.
    pub(crate) const fn classic(&self) -> Option<&ClassicGroup> {
        match self {
            Self::Classic(group) => Some(group),
            Self::Consumer(_) => None,
        }
    }

    /// The members, if the coordinator assigns partitions.
    pub(crate) fn consumer(&self) -> Option<&ConsumerGroup> {
        match self {
            Self::Classic(_) => None,
            Self::Consumer(group) => Some(group),
        }
    }

    /// Kafka's name of the group's type.
    pub(crate) const fn type_name(&self) -> &'static str {
        match self {
            Self::Classic(_) => "classic",
            Self::Consumer(_) => "consumer",
        }
    }

    /// Kafka's name of its state.
    pub(crate) fn state_name(&self) -> &'static str {
        match self {
            Self::Classic(group) => group.state_name(),
            Self::Consumer(group) => group.phase().name(),
        }
    }

    /// Its generation, or its epoch.
    pub(crate) fn generation(&self) -> i32 {
        match self {
            Self::Classic(group) => group.generation,
            Self::Consumer(group) => group.state.epoch(),
        }
    }

    /// What its members call themselves; empty if nobody has yet.
    pub(crate) fn protocol_type(&self) -> &str {
        match self {
            Self::Classic(group) => group.protocol_type.as_deref().unwrap_or_default(),
            Self::Consumer(_) => PROTOCOL_TYPE,
        }
    }

    /// Whether anybody is in it.
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Classic(group) => group.phase == Phase::Empty,
            Self::Consumer(group) => group.state.members.is_empty(),
        }
    }

    /// Whether it has no members, and nobody is on the way.
    pub(crate) fn is_idle(&self) -> bool {
        match self {
            Self::Classic(group) => group.is_idle(),
            Self::Consumer(_) => self.is_empty(),
        }
    }

    /// Whether it is as if it had never been.
    pub(crate) fn is_void(&self) -> bool {
        match self {
            Self::Classic(group) => group.is_void(),
            Self::Consumer(group) => group.state.is_absent(),
        }
    }

    /// Whether its members are consumers, whose subscriptions can be read.
    pub(crate) fn is_of_consumers(&self) -> bool {
        match self {
            Self::Classic(group) => group.is_of_consumers(),
            Self::Consumer(_) => true,
        }
    }

    /// What its members may read.
    pub(crate) fn reads(&self) -> Reads<'_> {
        match self {
            Self::Classic(group) => group.reads(),
            Self::Consumer(group) => Reads::Counted(group.state.readers()),
        }
    }

    /// Whether members come and go at the moment, so that what they read is not known.
    pub(crate) fn is_rebalancing(&self) -> bool {
        self.classic()
            .is_some_and(|group| matches!(group.phase, Phase::Preparing { .. } | Phase::Completing))
    }

    /// Since when a classic group has been empty; milliseconds since 1970. The commits of others count
    /// by themselves, as in Kafka.
    pub(crate) fn empty_since_ms(&self) -> Option<i64> {
        self.classic().map(|group| group.phase_since).filter(|since| *since >= 0)
    }

    /// What forgets it. The last of these records says that the group is gone.
    pub(crate) fn tombstones(&self, name: &Arc<str>) -> Vec<GroupRecord> {
        match self {
            Self::Classic(_) => vec![GroupRecord::ClassicGroup(Arc::clone(name), None)],
            Self::Consumer(group) => group.all_tombstones(),
        }
    }

    /// A JoinGroup. An empty group becomes one of the protocol that is spoken.
    pub(crate) fn join(
        &mut self,
        request: &JoinRequest,
        around: Surroundings<'_>,
        effects: &mut Effects,
    ) {
        if let Self::Consumer(group) = self
            && group.state.members.is_empty()
        {
            effects.records.extend(group.all_tombstones());
            *self = Self::Classic(ClassicGroup::new(Arc::clone(&group.name)));
        }
        match self {
            Self::Classic(group) => group.join(request, around.at, around.classic, effects),
            Self::Consumer(group) => group.join(request, around, effects),
        }
    }

    /// A SyncGroup; `record_bytes_max` bounds what the log can take of one group.
    pub(crate) fn sync(
        &mut self,
        request: SyncRequest,
        record_bytes_max: usize,
        around: Surroundings<'_>,
        effects: &mut Effects,
    ) {
        match self {
            Self::Classic(group) => group.sync(request, record_bytes_max, around.at, effects),
            Self::Consumer(group) => group.sync(&request, around, effects),
        }
    }

    /// A Heartbeat of the classic protocol.
    ///
    /// # Errors
    /// As behaviour 42 says.
    pub(crate) fn heartbeat(
        &mut self,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
        around: Surroundings<'_>,
        effects: &mut Effects,
    ) -> Result<(), GroupError> {
        match self {
            Self::Classic(group) => {
                group.heartbeat(member_id, instance_id, generation, around.at.now)
            }
            Self::Consumer(group) => {
                group.classic_heartbeat(member_id, instance_id, generation, around, effects)
            }
        }
    }

    /// The members of one LeaveGroup; what became of each.
    pub(crate) fn leave(
        &mut self,
        members: &[(Arc<str>, Option<Arc<str>>)],
        around: Surroundings<'_>,
        effects: &mut Effects,
    ) -> Vec<Result<(), GroupError>> {
        match self {
            Self::Classic(group) => {
                let leave = |(member_id, instance_id): &(Arc<str>, Option<Arc<str>>)| {
                    let instance_id = instance_id.as_deref();
                    group.leave(member_id, instance_id, around.at, around.classic, effects)
                };
                members.iter().map(leave).collect()
            }
            Self::Consumer(group) => group.leave(members, around, effects),
        }
    }

    /// A ConsumerGroupHeartbeat. One that joins makes a classic group go on with its protocol, unless
    /// it is refused.
    ///
    /// # Errors
    /// As behaviour 49 says.
    pub(crate) fn consumer_heartbeat(
        &mut self,
        name: &Arc<str>,
        request: &HeartbeatRequest,
        around: Surroundings<'_>,
        effects: &mut Effects,
    ) -> Result<HeartbeatAnswer, GroupError> {
        let classic = match self {
            Self::Consumer(group) => return group.heartbeat(request, around, effects),
            Self::Classic(_) if request.member_epoch != 0 => return Err(GroupError::UnknownGroup),
            Self::Classic(classic) => classic,
        };
        let mut trial = Effects::default();
        let mut group = migration::upgrade(name, classic, around, &mut trial)?;
        let answer = group.heartbeat(request, around, &mut trial)?;
        classic.dissolve(effects);
        effects.extend(trial);
        *self = Self::Consumer(Box::new(group));
        Ok(answer)
    }

    /// A heartbeat of the consumer protocol that can change nothing, since nothing can be stored.
    pub(crate) fn keep_alive(
        &mut self,
        request: &HeartbeatRequest,
        around: Surroundings<'_>,
        effects: &mut Effects,
    ) {
        if let Self::Consumer(group) = self {
            group.keep_alive(request, around, effects);
        }
    }

    /// Whether commits of what `records` name are taken.
    ///
    /// # Errors
    /// As behaviours 45 and 49 say.
    pub(crate) fn check_commit(
        &mut self,
        committer: Committer<'_>,
        records: &[GroupRecord],
        around: Surroundings<'_>,
    ) -> Result<(), GroupError> {
        let Committer { member_id, instance_id, generation, version } = committer;
        match self {
            Self::Classic(group) => {
                group.check_commit(member_id, instance_id, generation, around.at.now)
            }
            Self::Consumer(group) => {
                let topic_id = |name: &str| around.image.topics.get(name).map(|it| it.id.get());
                let partitions = records.iter().filter_map(|record| match record {
                    GroupRecord::Offset(OffsetKey { topic, partition, .. }, _) => {
                        Some((topic_id(topic), *partition))
                    }
                    _ => None,
                });
                group.check_commit(member_id, generation, version, partitions)
            }
        }
    }

    /// Whether a member may fetch offsets. Of a classic group everybody may.
    ///
    /// # Errors
    /// As behaviour 49 says.
    pub(crate) fn check_fetch(
        &self,
        member_id: Option<&str>,
        member_epoch: i32,
    ) -> Result<(), GroupError> {
        match self {
            Self::Classic(_) => Ok(()),
            Self::Consumer(group) => group.check_fetch(member_id, member_epoch),
        }
    }

    /// A time has come that was asked for.
    pub(crate) fn wake(&mut self, timer: &Timer, around: Surroundings<'_>, effects: &mut Effects) {
        match self {
            Self::Classic(group) => group.wake(timer, around.at, around.classic, effects),
            Self::Consumer(group) => group.wake(timer, around, effects),
        }
    }

    /// After each event that can be stored: a group of classic members only goes on as one, and what must hold does.
    pub(crate) fn settle(&mut self, around: Surroundings<'_>, effects: &mut Effects) {
        if let Self::Consumer(group) = self
            && group.can_become_classic(around)
        {
            *self = Self::Classic(migration::downgrade(group, around, effects));
        }
        match self {
            Self::Classic(group) => group.validate(),
            // Asserted wherever a member is given anything.
            Self::Consumer(_) => {}
        }
    }
}
