//! What a group wants to have done: decided in pure code, done by the shard that owns the group.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use protocol::group_record::GroupRecord;

/// Names a request that waits for its answer. Every ticket that a group takes is answered once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Ticket(pub(crate) u64);

/// Why a group refuses a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GroupError {
    /// Nobody with that member id is in the group.
    #[error("the member is not known")]
    UnknownMember,
    /// The request is about another generation than the present one.
    #[error("the generation is another one")]
    IllegalGeneration,
    /// A rebalance is under way: join again.
    #[error("the group is rebalancing")]
    RebalanceInProgress,
    /// No protocol that all members have, or another type of protocol.
    #[error("no protocol in common with the group")]
    InconsistentProtocol,
    /// A consumer with the same static id has taken the place (KIP-345).
    #[error("another consumer has the static id now")]
    FencedInstance,
    /// Ask again with the member id that comes with this (KIP-394).
    #[error("a member id is required")]
    MemberIdRequired,
    /// `group.max.size` (KIP-389).
    #[error("the group is full")]
    Full,
    /// The session timeout is out of the broker's bounds.
    #[error("the session timeout is out of bounds")]
    SessionTimeout,
    /// There is no such group.
    #[error("the group is not known")]
    UnknownGroup,
    /// It has members.
    #[error("the group is not empty")]
    NotEmpty,
    /// What is to be stored of the group is larger than the log can take.
    #[error("the group's assignments are too large to be stored")]
    TooLarge,
    /// The member has been given up, or missed too much: it must give up all and join anew (KIP-848).
    #[error("the member epoch is not the member's: it must join again")]
    FencedEpoch,
    /// A commit or fetch of offsets at another member epoch than the present one.
    #[error("the member epoch is stale")]
    StaleEpoch,
    /// The static id belongs to a member that has not left.
    #[error("another member has the static id and has not left")]
    UnreleasedInstance,
    /// No such server-side assignor.
    #[error("the assignor is not supported")]
    UnsupportedAssignor,
    /// Not in RE2's dialect, or too large.
    #[error("not a valid regular expression")]
    InvalidRegex,
    /// A request that no client may send.
    #[error("{0}")]
    InvalidRequest(&'static str),
    /// The request's version does not know the protocol of its sender.
    #[error("a member of the consumer protocol must use a newer version")]
    UnsupportedVersion,
    /// Its members read the topic.
    #[error("the group is subscribed to the topic")]
    Subscribed,
}

/// Answer to a JoinGroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Joined {
    /// The caller.
    pub(crate) member_id: Arc<str>,
    /// The generation that it belongs to.
    pub(crate) generation: i32,
    /// What kind of group it is.
    pub(crate) protocol_type: Option<Arc<str>>,
    /// The assignor that was agreed on.
    pub(crate) protocol: Option<Arc<str>>,
    /// Who computes the assignment.
    pub(crate) leader: Arc<str>,
    /// The leader need not compute it: the members are as before (KIP-814).
    pub(crate) skip_assignment: bool,
    /// For the leader alone: everybody, with their subscriptions.
    pub(crate) members: Vec<JoinedMember>,
}

/// A member, as the leader is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JoinedMember {
    /// Its id.
    pub(crate) member_id: Arc<str>,
    /// Its static id.
    pub(crate) instance_id: Option<Arc<str>>,
    /// Its metadata for the protocol that was agreed on.
    pub(crate) subscription: Bytes,
}

/// Answer to a SyncGroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Synced {
    /// What kind of group it is.
    pub(crate) protocol_type: Option<Arc<str>>,
    /// The assignor that was agreed on.
    pub(crate) protocol: Option<Arc<str>>,
    /// The caller's share.
    pub(crate) assignment: Bytes,
}

/// What a waiting request is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// To a JoinGroup; an error comes with the member id that the client shall use.
    Join(Result<Joined, (GroupError, Arc<str>)>),
    /// To a SyncGroup.
    Sync(Result<Synced, GroupError>),
}

/// What a group waits for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// A member's session.
    Session(Arc<str>),
    /// A member id that was given out and has not come back.
    Pending(Arc<str>),
    /// The members of a rebalance, who have until then to join.
    Join,
    /// The members of a new generation, who have until then to ask for their assignment.
    Sync,
    /// What the group has committed, some of which may be too old.
    Expiry,
    /// A member that has partitions to give up.
    Revocation(Arc<str>),
    /// A classic member of a consumer group that has been told to join again.
    Rejoin(Arc<str>),
    /// One that has joined and not yet asked for its assignment.
    Resync(Arc<str>),
}

/// What one event brought about, to be done in this order: the records appended, the timers set. The
/// answers wait until the records, and all before them, are committed.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// For the log.
    pub(crate) records: Vec<GroupRecord>,
    /// For those who wait.
    pub(crate) answers: Vec<(Ticket, Answer)>,
    /// Wake the group at that time. It may have changed its mind by then: it looks again itself.
    pub(crate) timers: Vec<(Instant, Timer)>,
}

impl Effects {
    /// Puts what came after behind what came before.
    pub(crate) fn extend(&mut self, later: Self) {
        self.records.extend(later.records);
        self.answers.extend(later.answers);
        self.timers.extend(later.timers);
    }

    /// Answers a JoinGroup with an error.
    pub(crate) fn refuse_join(&mut self, ticket: Ticket, error: GroupError, member_id: &Arc<str>) {
        self.answers.push((ticket, Answer::Join(Err((error, Arc::clone(member_id))))));
    }

    /// Answers a SyncGroup with an error.
    pub(crate) fn refuse_sync(&mut self, ticket: Ticket, error: GroupError) {
        self.answers.push((ticket, Answer::Sync(Err(error))));
    }
}
