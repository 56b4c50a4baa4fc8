//! SyncGroup: the leader's assignment reaches the members.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use super::{ClassicGroup, Phase};
use crate::groups::effects::{Answer, Effects, GroupError, Synced, Ticket};
use crate::groups::times::Times;

/// A SyncGroup, checked and copied out of its frame.
#[derive(Debug, Clone)]
pub(crate) struct SyncRequest {
    pub(crate) ticket: Ticket,
    pub(crate) member_id: Arc<str>,
    pub(crate) instance_id: Option<Arc<str>>,
    pub(crate) generation: i32,
    /// What the member takes the group for (version 5).
    pub(crate) protocol_type: Option<Arc<str>>,
    pub(crate) protocol: Option<Arc<str>>,
    /// By member id; only the leader's counts.
    pub(crate) assignments: HashMap<Arc<str>, Bytes>,
}

impl ClassicGroup {
    /// A SyncGroup. Its ticket is answered now or when the leader's has come.
    pub(crate) fn sync(
        &mut self,
        request: SyncRequest,
        record_bytes_max: usize,
        at: Times,
        effects: &mut Effects,
    ) {
        let ticket = request.ticket;
        let is_leaders = self.leader.as_ref() == Some(&request.member_id);
        let tried = if is_leaders && self.stored_bytes(&request) > record_bytes_max {
            Err(GroupError::TooLarge)
        } else {
            self.try_sync(request, at, effects)
        };
        if let Err(error) = tried {
            effects.refuse_sync(ticket, error);
        }
    }

    /// About as many bytes as the record of the generation will have.
    fn stored_bytes(&self, request: &SyncRequest) -> usize {
        const NUMBERS_BYTES: usize = 64;
        let protocol = self.protocol.as_deref();
        let members = self.members.iter().map(|(member_id, member)| {
            let texts = [Some(member_id), Some(&member.client_id), Some(&member.client_host)];
            let texts = texts.into_iter().chain([member.instance_id.as_ref()]).flatten();
            let texts: usize = texts.map(|text| text.len()).sum();
            texts + member.subscription(protocol).len() + NUMBERS_BYTES
        });
        let assignments = request.assignments.values().map(Bytes::len);
        let names = [&self.protocol_type, &self.protocol, &self.leader].into_iter().flatten();
        let names: usize = names.map(|name| name.len()).sum();
        // In the key and in the value.
        names
            + 2 * self.name.len()
            + NUMBERS_BYTES
            + members.sum::<usize>()
            + assignments.sum::<usize>()
    }

    fn try_sync(
        &mut self,
        request: SyncRequest,
        at: Times,
        effects: &mut Effects,
    ) -> Result<(), GroupError> {
        self.check_member(&request.member_id, request.instance_id.as_deref())?;
        if request.generation != self.generation {
            return Err(GroupError::IllegalGeneration);
        }
        let differs =
            |theirs: &Option<Arc<str>>, ours: &Option<Arc<str>>| theirs.is_some() && theirs != ours;
        if differs(&request.protocol_type, &self.protocol_type)
            || differs(&request.protocol, &self.protocol)
        {
            return Err(GroupError::InconsistentProtocol);
        }
        match self.phase {
            Phase::Empty => Err(GroupError::UnknownMember),
            Phase::Preparing { .. } => Err(GroupError::RebalanceInProgress),
            Phase::Stable => {
                self.unsynced.remove(&request.member_id);
                self.touch(&request.member_id, at.now);
                self.answer_sync(&request.member_id, request.ticket, effects);
                Ok(())
            }
            Phase::Completing => {
                self.await_assignment(request, at, effects);
                Ok(())
            }
        }
    }

    fn await_assignment(&mut self, request: SyncRequest, at: Times, effects: &mut Effects) {
        let SyncRequest { ticket, member_id, mut assignments, .. } = request;
        self.unsynced.remove(&member_id);
        let member = self.members.get_mut(&member_id).expect("the caller has found it");
        if let Some(earlier) = member.syncing.replace(ticket) {
            effects.refuse_sync(earlier, GroupError::RebalanceInProgress);
        }
        if self.leader.as_ref() != Some(&member_id) {
            return;
        }
        for (member_id, member) in &mut self.members {
            member.assignment = assignments.remove(member_id).unwrap_or_default();
        }
        self.enter(Phase::Stable, at);
        self.store(effects);
        let waiting: Vec<_> = self
            .members
            .iter_mut()
            .filter_map(|(member_id, member)| Some((Arc::clone(member_id), member.syncing.take()?)))
            .collect();
        for (member_id, ticket) in waiting {
            self.answer_sync(&member_id, ticket, effects);
            self.begin_session(&member_id, at.now, effects);
        }
    }

    fn answer_sync(&self, member_id: &str, ticket: Ticket, effects: &mut Effects) {
        let assignment =
            self.members.get(member_id).map(|member| member.assignment.clone()).unwrap_or_default();
        let synced = Synced {
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            assignment,
        };
        effects.answers.push((ticket, Answer::Sync(Ok(synced))));
    }
}
