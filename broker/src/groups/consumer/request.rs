//! A ConsumerGroupHeartbeat and its answer, checked and copied out of the frame.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use protocol::group_record::Member as Told;
use uuid::Uuid;

use super::{AWAY_EPOCH, ConsumerLimits, LEAVE_EPOCH};
use crate::groups::assignor::{Assignor, Partitions};
use crate::groups::effects::GroupError;

/// The first version in which members make their ids themselves (KIP-1082).
const OWN_ID_SINCE: i16 = 1;

/// What stands in the keys of the log has a length of two bytes there.
pub(crate) const ID_BYTES_MAX: usize = 32_767;

/// Topics that one member may name; the group keeps them.
const TOPICS_MAX: usize = 100_000;

/// A heartbeat. What is missing is as it was.
#[derive(Debug, Clone)]
pub(crate) struct HeartbeatRequest {
    /// Empty at first, from a client of version 0.
    pub(crate) member_id: Arc<str>,
    /// The id that the caller gets if it has none.
    pub(crate) new_member_id: Arc<str>,
    /// 0 joins; [`LEAVE_EPOCH`] and [`AWAY_EPOCH`] leave.
    pub(crate) member_epoch: i32,
    pub(crate) instance_id: Option<Arc<str>>,
    pub(crate) rack_id: Option<Arc<str>>,
    pub(crate) client_id: Arc<str>,
    pub(crate) client_host: Arc<str>,
    pub(crate) rebalance_timeout_ms: Option<i32>,
    /// Sorted, each once.
    pub(crate) topics: Option<Vec<Arc<str>>>,
    /// Empty for none.
    pub(crate) regex: Option<Arc<str>>,
    pub(crate) assignor: Option<Arc<str>>,
    /// What the member says that it owns.
    pub(crate) owned: Option<Partitions>,
}

/// What a member is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeartbeatAnswer {
    pub(crate) member_id: Arc<str>,
    pub(crate) member_epoch: i32,
    pub(crate) heartbeat_interval: Duration,
    /// Missing if it is as the member knows it.
    pub(crate) assignment: Option<BTreeMap<Uuid, Vec<i32>>>,
}

impl HeartbeatRequest {
    /// Whether a member may send this, of whatever group.
    ///
    /// # Errors
    /// [`GroupError::InvalidRequest`], [`GroupError::UnsupportedAssignor`].
    pub(crate) fn check(&self, version: i16, limits: &ConsumerLimits) -> Result<(), GroupError> {
        let is_blank = |text: &str| text.trim().is_empty();
        let refuse = |is_wrong: bool, why| {
            if is_wrong { Err(GroupError::InvalidRequest(why)) } else { Ok(()) }
        };
        let epoch = self.member_epoch;
        let needs_id = version >= OWN_ID_SINCE || epoch > 0 || epoch == LEAVE_EPOCH;
        refuse(needs_id && is_blank(&self.member_id), "MemberId can't be empty.")?;
        refuse(self.member_id.len() > ID_BYTES_MAX, "MemberId is too long.")?;
        let topics = self.topics.as_ref().map_or(0, Vec::len);
        refuse(topics > TOPICS_MAX, "SubscribedTopicNames are too many.")?;
        let is_blank_one = |text: &Option<Arc<str>>| text.as_deref().is_some_and(is_blank);
        refuse(is_blank_one(&self.instance_id), "InstanceId can't be empty.")?;
        refuse(is_blank_one(&self.rack_id), "RackId can't be empty.")?;
        match epoch {
            0 => {
                let has_no_timeout = self.rebalance_timeout_ms.is_none();
                refuse(has_no_timeout, "RebalanceTimeoutMs must be provided in first request.")?;
                let owns_nothing = self.owned.as_ref().is_some_and(Partitions::is_empty);
                refuse(!owns_nothing, "TopicPartitions must be empty when (re-)joining.")?;
                refuse(
                    self.topics.is_none() && self.regex.is_none(),
                    "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when \
                     (re-)joining.",
                )?;
            }
            AWAY_EPOCH => refuse(self.instance_id.is_none(), "InstanceId can't be null.")?,
            _ => refuse(epoch < AWAY_EPOCH, "MemberEpoch is invalid.")?,
        }
        let Some(assignor) = &self.assignor else { return Ok(()) };
        match Assignor::from_name(assignor).filter(|it| limits.assignors.contains(it)) {
            Some(_) => Ok(()),
            None => Err(GroupError::UnsupportedAssignor),
        }
    }

    /// Bytes of the topics' names, which make most of what the log keeps of a member.
    pub(crate) fn names_bytes(&self) -> usize {
        self.topics.iter().flatten().map(|name| name.len()).sum()
    }

    /// The member's id, given or new.
    pub(super) fn id(&self) -> &Arc<str> {
        if self.member_id.is_empty() { &self.new_member_id } else { &self.member_id }
    }

    /// Whether it tells everything, as a member does that has missed answers: it is then told
    /// everything too.
    pub(super) const fn is_full(&self) -> bool {
        self.rebalance_timeout_ms.is_some()
            && (self.topics.is_some() || self.regex.is_some())
            && self.owned.is_some()
    }

    /// What the member has told, with what is new in this; `None` if nothing is.
    pub(super) fn news(&self, told: &Told) -> Option<Told> {
        fn differs<T: PartialEq>(new: &Option<T>, old: &Option<T>) -> bool {
            new.is_some() && new != old
        }
        let is_known = !differs(&self.instance_id, &told.instance_id)
            && !differs(&self.rack_id, &told.rack_id)
            && self.rebalance_timeout_ms.is_none_or(|it| it == told.rebalance_timeout_ms)
            && self.topics.as_ref().is_none_or(|it| *it == told.topics)
            && !differs(&self.regex, &told.topics_regex)
            && !differs(&self.assignor, &told.assignor)
            && self.client_id == told.client_id
            && self.client_host == told.client_host
            && told.classic.is_none();
        if is_known {
            return None;
        }
        Some(Told {
            instance_id: self.instance_id.clone().or_else(|| told.instance_id.clone()),
            rack_id: self.rack_id.clone().or_else(|| told.rack_id.clone()),
            client_id: Arc::clone(&self.client_id),
            client_host: Arc::clone(&self.client_host),
            topics: self.topics.clone().unwrap_or_else(|| told.topics.clone()),
            topics_regex: self.regex.clone().or_else(|| told.topics_regex.clone()),
            rebalance_timeout_ms: self.rebalance_timeout_ms.unwrap_or(told.rebalance_timeout_ms),
            assignor: self.assignor.clone().or_else(|| told.assignor.clone()),
            classic: None,
        })
    }
}
