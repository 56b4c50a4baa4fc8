//! What nodes of the metadata group say to each other, as bytes.
//!
//! ```text
//! all fields big-endian, values as in `codec`
//! request    ├ u8 version ┼ u8 kind ┼ replica that is meant ┼ body ┤
//! 1 append   ├ vote ┼ optional log id before ┼ optional log id committed ┼ u32 entries ┼ (u32 length ┼ entry)… ┤
//! 2 vote     ├ vote ┼ optional last log id ┼ u8 leadership transfer ┤
//! 3 pre-vote as vote
//! 4 snapshot ├ vote ┼ optional last log id ┼ optional log id of the membership ┼ membership ┼ state ┤
//! 5 transfer ├ vote ┼ replica that shall lead ┼ optional last log id ┤
//! 6 propose  ├ command ┤
//! 7 yield    nothing more
//! answer to
//! append     ├ u8 0 ┤ or ├ u8 1 ┼ optional log id ┤ or ├ u8 2 ┤ conflict or ├ u8 3 ┼ vote ┤ higher vote
//! vote       ├ vote ┼ u8 granted ┼ optional last log id ┤
//! snapshot   ├ vote ┤
//! transfer   ├ u8 0 ┤ done or ├ u8 1 ┼ vote ┼ vote ┤ or ├ u8 2 ┼ optional log id ┼ optional log id ┤
//! propose    ├ u8 0 ┼ u64 index ┼ answer ┤ or ├ u8 1 ┼ u8 known (┼ i32 leader) ┤ or ├ u8 2 ┼ text ┤ unknown
//! yield      ├ optional last log id ┤
//! ```
//! Commands and states are sent as they are and received as slices of the message. A request that is
//! meant for another replica is refused: a broker with a new directory must not answer for the one
//! that it was.

use bytes::{Buf, BufMut, Bytes};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderError,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use protocol::types::BrokerId;

use super::codec::{
    CodecError, get_entry, get_membership, get_optional_log_id, get_replica, get_vote,
    put_entry_head, put_membership, put_optional_log_id, put_replica, put_vote,
};
use super::types::{LogId, MetadataRaft, Snapshot, SnapshotMeta, StoredMembership, Vote};
use crate::peers::Message;
use crate::types::ReplicaId;

const VERSION: u8 = 1;

/// What one node asks another.
#[derive(Debug)]
pub(crate) enum Request {
    Append(AppendEntriesRequest<MetadataRaft>),
    Vote(VoteRequest<MetadataRaft>),
    PreVote(VoteRequest<MetadataRaft>),
    Snapshot(Vote, Snapshot),
    Transfer(TransferLeaderRequest<MetadataRaft>),
    Propose(Bytes),
    /// Not to hold an election up, if the asked one sees no leader either.
    Yield,
}

/// What became of a proposal.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Proposed {
    /// Committed and applied by the one that answers.
    Applied { index: u64, answer: Bytes },
    /// Nothing was proposed.
    NotLeader(Option<BrokerId>),
    /// It may be applied or not.
    Unknown(String),
}

impl Request {
    pub(crate) fn encode(&self, to: ReplicaId) -> Message {
        let mut out = vec![VERSION, self.kind()];
        put_replica(&mut out, &to);
        match self {
            Self::Append(request) => return put_append(out, request),
            Self::Vote(request) | Self::PreVote(request) => {
                put_vote(&mut out, &request.vote);
                put_optional_log_id(&mut out, request.last_log_id.as_ref());
                out.put_u8(u8::from(request.leadership_transfer));
            }
            Self::Snapshot(vote, snapshot) => {
                let SnapshotMeta { last_log_id, last_membership } = &snapshot.meta;
                put_vote(&mut out, vote);
                put_optional_log_id(&mut out, last_log_id.as_ref());
                put_optional_log_id(&mut out, last_membership.log_id().as_ref());
                put_membership(&mut out, last_membership.membership());
                return vec![out.into(), snapshot.snapshot.clone()];
            }
            Self::Transfer(request) => {
                put_vote(&mut out, request.from_leader());
                put_replica(&mut out, request.to_node_id());
                put_optional_log_id(&mut out, request.last_log_id());
            }
            Self::Propose(command) => return vec![out.into(), command.clone()],
            Self::Yield => {}
        }
        vec![out.into()]
    }

    /// Who is meant, and what is asked.
    pub(crate) fn decode(mut bytes: Bytes) -> Result<(ReplicaId, Self), CodecError> {
        let version = bytes.try_get_u8()?;
        if version != VERSION {
            return Err(CodecError::Tag { what: "the version of a request", tag: version });
        }
        let kind = bytes.try_get_u8()?;
        let to = get_replica(&mut bytes)?;
        let request = match kind {
            1 => Self::Append(get_append(bytes)?),
            2 => Self::Vote(get_vote_request(bytes)?),
            3 => Self::PreVote(get_vote_request(bytes)?),
            4 => {
                let vote = get_vote(&mut bytes)?;
                let last_log_id = get_optional_log_id(&mut bytes)?;
                let membership_log_id = get_optional_log_id(&mut bytes)?;
                let membership = get_membership(&mut bytes)?;
                let last_membership = StoredMembership::new(membership_log_id, membership);
                let meta = SnapshotMeta { last_log_id, last_membership };
                Self::Snapshot(vote, Snapshot { meta, snapshot: bytes })
            }
            5 => {
                let vote = get_vote(&mut bytes)?;
                let shall_lead = get_replica(&mut bytes)?;
                let last = get_optional_log_id(&mut bytes)?;
                Self::Transfer(TransferLeaderRequest::new(vote, shall_lead, last))
            }
            6 => Self::Propose(bytes),
            7 => Self::Yield,
            tag => return Err(CodecError::Tag { what: "a request", tag }),
        };
        Ok((to, request))
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Append(_) => 1,
            Self::Vote(_) => 2,
            Self::PreVote(_) => 3,
            Self::Snapshot(..) => 4,
            Self::Transfer(_) => 5,
            Self::Propose(_) => 6,
            Self::Yield => 7,
        }
    }
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    out.put_u32(u32::try_from(count).expect("messages are limited to far less than 4 GiB"));
}

fn put_append(mut out: Vec<u8>, request: &AppendEntriesRequest<MetadataRaft>) -> Message {
    put_vote(&mut out, &request.vote);
    put_optional_log_id(&mut out, request.prev_log_id.as_ref());
    put_optional_log_id(&mut out, request.leader_commit.as_ref());
    put_count(&mut out, request.entries.len());
    let mut pieces = Message::new();
    for entry in &request.entries {
        let mut head = Vec::new();
        let command = put_entry_head(&mut head, entry);
        put_count(&mut out, head.len() + command.map_or(0, Bytes::len));
        out.append(&mut head);
        if let Some(command) = command {
            pieces.push(std::mem::take(&mut out).into());
            pieces.push(command.clone());
        }
    }
    pieces.push(out.into());
    pieces
}

fn get_append(mut bytes: Bytes) -> Result<AppendEntriesRequest<MetadataRaft>, CodecError> {
    let vote = get_vote(&mut bytes)?;
    let prev_log_id = get_optional_log_id(&mut bytes)?;
    let leader_commit = get_optional_log_id(&mut bytes)?;
    let count = bytes.try_get_u32()?;
    let mut entries = Vec::new();
    for _ in 0..count {
        let length = bytes.try_get_u32()?;
        let length = usize::try_from(length).ok().filter(|length| *length <= bytes.len());
        let length = length.ok_or(CodecError::Long("an entry"))?;
        entries.push(get_entry(bytes.split_to(length))?);
    }
    Ok(AppendEntriesRequest { vote, prev_log_id, entries, leader_commit })
}

fn get_vote_request(mut bytes: Bytes) -> Result<VoteRequest<MetadataRaft>, CodecError> {
    let vote = get_vote(&mut bytes)?;
    let mut request = VoteRequest::new(vote, get_optional_log_id(&mut bytes)?);
    request.leadership_transfer = bytes.try_get_u8()? != 0;
    Ok(request)
}

pub(crate) fn put_appended(response: &AppendEntriesResponse<MetadataRaft>) -> Message {
    let mut out = Vec::new();
    match response {
        AppendEntriesResponse::Success => out.put_u8(0),
        AppendEntriesResponse::PartialSuccess(last) => {
            out.put_u8(1);
            put_optional_log_id(&mut out, last.as_ref());
        }
        AppendEntriesResponse::Conflict => out.put_u8(2),
        AppendEntriesResponse::HigherVote(vote) => {
            out.put_u8(3);
            put_vote(&mut out, vote);
        }
    }
    vec![out.into()]
}

pub(crate) fn get_appended(
    mut bytes: Bytes,
) -> Result<AppendEntriesResponse<MetadataRaft>, CodecError> {
    Ok(match bytes.try_get_u8()? {
        0 => AppendEntriesResponse::Success,
        1 => AppendEntriesResponse::PartialSuccess(get_optional_log_id(&mut bytes)?),
        2 => AppendEntriesResponse::Conflict,
        3 => AppendEntriesResponse::HigherVote(get_vote(&mut bytes)?),
        tag => return Err(CodecError::Tag { what: "an answer to append", tag }),
    })
}

pub(crate) fn put_voted(response: &VoteResponse<MetadataRaft>) -> Message {
    let mut out = Vec::new();
    put_vote(&mut out, &response.vote);
    out.put_u8(u8::from(response.vote_granted));
    put_optional_log_id(&mut out, response.last_log_id.as_ref());
    vec![out.into()]
}

pub(crate) fn get_voted(mut bytes: Bytes) -> Result<VoteResponse<MetadataRaft>, CodecError> {
    let vote = get_vote(&mut bytes)?;
    let granted = bytes.try_get_u8()? != 0;
    Ok(VoteResponse::new(vote, get_optional_log_id(&mut bytes)?, granted))
}

pub(crate) fn put_installed(response: &SnapshotResponse<MetadataRaft>) -> Message {
    let mut out = Vec::new();
    put_vote(&mut out, &response.vote);
    vec![out.into()]
}

pub(crate) fn get_installed(
    mut bytes: Bytes,
) -> Result<SnapshotResponse<MetadataRaft>, CodecError> {
    Ok(SnapshotResponse::new(get_vote(&mut bytes)?))
}

pub(crate) fn put_transferred(response: &TransferLeaderResponse<MetadataRaft>) -> Message {
    let mut out = Vec::new();
    match response {
        Ok(()) => out.put_u8(0),
        Err(TransferLeaderError::VoteChanged { expected, actual }) => {
            out.put_u8(1);
            put_vote(&mut out, expected);
            put_vote(&mut out, actual);
        }
        Err(TransferLeaderError::LogNotFlushed { expected, actual }) => {
            out.put_u8(2);
            put_optional_log_id(&mut out, expected.as_ref());
            put_optional_log_id(&mut out, actual.as_ref());
        }
    }
    vec![out.into()]
}

pub(crate) fn get_transferred(
    mut bytes: Bytes,
) -> Result<TransferLeaderResponse<MetadataRaft>, CodecError> {
    Ok(match bytes.try_get_u8()? {
        0 => Ok(()),
        1 => {
            let expected = get_vote(&mut bytes)?;
            Err(TransferLeaderError::VoteChanged { expected, actual: get_vote(&mut bytes)? })
        }
        2 => {
            let expected = get_optional_log_id(&mut bytes)?;
            let actual = get_optional_log_id(&mut bytes)?;
            Err(TransferLeaderError::LogNotFlushed { expected, actual })
        }
        tag => return Err(CodecError::Tag { what: "an answer to transfer", tag }),
    })
}

impl Proposed {
    pub(crate) fn encode(self) -> Message {
        let mut out = Vec::new();
        match self {
            Self::Applied { index, answer } => {
                out.put_u8(0);
                out.put_u64(index);
                return vec![out.into(), answer];
            }
            Self::NotLeader(leader) => {
                out.put_u8(1);
                out.put_u8(u8::from(leader.is_some()));
                if let Some(leader) = leader {
                    out.put_i32(leader.get());
                }
            }
            Self::Unknown(why) => {
                out.put_u8(2);
                out.put_slice(why.as_bytes());
            }
        }
        vec![out.into()]
    }

    pub(crate) fn decode(mut bytes: Bytes) -> Result<Self, CodecError> {
        Ok(match bytes.try_get_u8()? {
            0 => Self::Applied { index: bytes.try_get_u64()?, answer: bytes },
            1 if bytes.try_get_u8()? == 0 => Self::NotLeader(None),
            1 => Self::NotLeader(Some(BrokerId::new(bytes.try_get_i32()?))),
            2 => Self::Unknown(String::from_utf8_lossy(&bytes).into_owned()),
            tag => return Err(CodecError::Tag { what: "an answer to propose", tag }),
        })
    }
}

pub(crate) fn put_yielded(last: Option<LogId>) -> Message {
    let mut out = Vec::new();
    put_optional_log_id(&mut out, last.as_ref());
    vec![out.into()]
}

pub(crate) fn get_yielded(mut bytes: Bytes) -> Result<Option<LogId>, CodecError> {
    get_optional_log_id(&mut bytes)
}

#[cfg(test)]
mod tests {
    use openraft::entry::{RaftEntry, RaftPayload};
    use std::collections::{BTreeMap, BTreeSet};
    use uuid::Uuid;

    use super::*;
    use crate::replicated_state::types::{
        Command, CommittedLeaderId, Entry, EntryPayload, Membership,
    };

    fn replica(broker: i32) -> ReplicaId {
        ReplicaId { broker_id: BrokerId::new(broker), directory_id: Uuid::from_u128(77) }
    }

    fn log_id(term: u64, index: u64) -> LogId {
        LogId::new(CommittedLeaderId::new(term), index)
    }

    fn membership() -> Membership {
        let members = BTreeMap::from([(replica(1), ()), (replica(2), ())]);
        Membership::new(vec![BTreeSet::from([replica(1)])], members).unwrap()
    }

    fn requests() -> Vec<Request> {
        let (vote, committed) = (Vote::new(3, replica(1)), Vote::new_committed(4, replica(2)));
        let command = |bytes| EntryPayload::normal(Command(Bytes::from_static(bytes)));
        let payloads = [
            command(b"create"),
            EntryPayload::blank(),
            command(b""),
            EntryPayload::membership(membership()),
            command(b"delete"),
        ];
        let entries = (8..).zip(payloads);
        let entries = entries.map(|(index, payload)| Entry::new(log_id(4, index), payload));
        let append = AppendEntriesRequest {
            vote: committed,
            prev_log_id: Some(log_id(3, 7)),
            entries: entries.collect(),
            leader_commit: Some(log_id(2, 5)),
        };
        let empty = AppendEntriesRequest {
            vote: committed,
            prev_log_id: None,
            entries: vec![],
            leader_commit: None,
        };
        let mut transferred = VoteRequest::new(vote, Some(log_id(1, 1)));
        transferred.leadership_transfer = true;
        let meta = SnapshotMeta {
            last_log_id: Some(log_id(3, 6)),
            last_membership: StoredMembership::new(Some(log_id(1, 0)), membership()),
        };
        let snapshot = Snapshot { meta, snapshot: Bytes::from_static(b"state") };
        vec![
            Request::Append(append),
            Request::Append(empty),
            Request::Vote(transferred),
            Request::PreVote(VoteRequest::new(vote, None)),
            Request::Snapshot(committed, snapshot),
            Request::Transfer(TransferLeaderRequest::new(committed, replica(2), None)),
            Request::Propose(Bytes::from_static(b"command")),
            Request::Yield,
        ]
    }

    #[test]
    fn a_request_is_decoded_as_it_was_encoded() {
        for request in requests() {
            let bytes = Bytes::from(request.encode(replica(9)).concat());
            let (to, found) = Request::decode(bytes).unwrap();
            assert_eq!(to, replica(9));
            assert_eq!(format!("{found:?}"), format!("{request:?}"));
            if let (Request::Append(want), Request::Append(found)) = (&request, &found) {
                assert_eq!(want.entries, found.entries, "debug output hides commands");
            }
        }
    }

    #[test]
    fn no_bytes_make_the_decoder_panic_or_take_more_than_there_is() {
        for request in requests() {
            let whole = request.encode(replica(9)).concat();
            for cut in 0..whole.len() {
                drop(Request::decode(Bytes::copy_from_slice(&whole[..cut])));
            }
            for at in 0..whole.len() {
                for value in [0, 0x7f, 0xff] {
                    let mut changed = whole.clone();
                    changed[at] = value;
                    drop(Request::decode(changed.into()));
                }
            }
        }
    }

    #[test]
    fn an_answer_is_decoded_as_it_was_encoded() {
        let vote = Vote::new_committed(4, replica(2));
        let appended = [
            AppendEntriesResponse::Success,
            AppendEntriesResponse::PartialSuccess(Some(log_id(1, 2))),
            AppendEntriesResponse::PartialSuccess(None),
            AppendEntriesResponse::Conflict,
            AppendEntriesResponse::HigherVote(vote),
        ];
        for response in appended {
            let bytes = put_appended(&response).concat().into();
            assert_eq!(get_appended(bytes).unwrap(), response);
        }
        for granted in [true, false] {
            let response = VoteResponse::new(vote, Some(log_id(1, 2)), granted);
            assert_eq!(get_voted(put_voted(&response).concat().into()).unwrap(), response);
        }
        let installed = SnapshotResponse::new(vote);
        assert_eq!(get_installed(put_installed(&installed).concat().into()).unwrap(), installed);
        let (expected, actual) = (vote, Vote::new(5, replica(3)));
        let transferred = [
            Ok(()),
            Err(TransferLeaderError::VoteChanged { expected, actual }),
            Err(TransferLeaderError::LogNotFlushed { expected: Some(log_id(1, 2)), actual: None }),
        ];
        for response in transferred {
            let bytes = put_transferred(&response).concat().into();
            assert_eq!(get_transferred(bytes).unwrap(), response);
        }
        let proposed = || {
            [
                Proposed::Applied { index: 7, answer: Bytes::from_static(b"done") },
                Proposed::NotLeader(None),
                Proposed::NotLeader(Some(BrokerId::new(3))),
                Proposed::Unknown("who knows".to_owned()),
            ]
        };
        for (one, same) in proposed().into_iter().zip(proposed()) {
            assert_eq!(Proposed::decode(one.encode().concat().into()).unwrap(), same);
        }
        for last in [None, Some(log_id(1, 2))] {
            assert_eq!(get_yielded(put_yielded(last).concat().into()).unwrap(), last);
        }
    }
}
