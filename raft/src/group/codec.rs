//! What the replicas of a group say to each other, as bytes.
//!
//! ```text
//! all fields big-endian; values without a name here are those of `replicated_state::codec`
//! group       ├ 16 bytes topic id ┼ i32 partition ┤
//! membership  ├ optional log id ┼ membership ┤
//! request     ├ u8 kind ┼ group ┼ 16 bytes directory id of the replica that is meant ┼ body ┤
//! 1 append    ├ vote ┼ optional log id: previous ┼ optional log id: committed ┼ u32 entries ┤
//!             then the entries, each a whole v2 batch as it stands in the log
//! 2 vote, 3 pre-vote   ├ vote ┼ optional log id: last ┼ u8 leadership transfer ┤
//! 4 transfer  ├ vote: from ┼ replica: to ┼ optional log id: last ┤
//! 5 snapshot  ├ vote ┼ optional log id: last ┼ membership ┼ eviction state, to the end ┤
//! answers
//! append      ├ u8 0 success ┤ ├ 1 partial ┼ optional log id ┤ ├ 2 conflict ┤ ├ 3 ┼ higher vote ┤
//! vote        ├ vote ┼ optional log id: last ┼ u8 granted ┤
//! transfer    ├ u8 0 done ┤ ├ 1 ┼ vote: expected ┼ vote: actual ┤
//!             ├ 2 ┼ optional log id: expected ┼ optional log id: actual ┤
//! snapshot    ├ vote ┤
//! ```
//! An entry's term is its batch's leader epoch, its index follows from the previous one. The base
//! offset of an entry without records says nothing here. Bytes of batches are not copied on the way
//! out unless they are few, and shared with the received frame on the way in.

use std::io;

use bytes::{Buf, BufMut, Bytes};
use openraft::entry::RaftEntry;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderError, TransferLeaderRequest,
    VoteRequest, VoteResponse,
};
use protocol::batch::{BatchHeader, HEADER_BYTES};
use protocol::topic::TopicId;
use protocol::types::{BrokerId, Offset, PartitionId};
use storage::log::entries::EntryBatch;
use uuid::Uuid;

use super::raft_only;
use super::types::{
    Entry, LogId, PartitionRaft, Payload, Snapshot, SnapshotMeta, StoredMembership, Vote, epoch_of,
    log_id,
};
use crate::peers::Message;
use crate::replicated_state::codec::{
    CodecError, get_membership, get_optional_log_id, get_replica, get_vote, put_membership,
    put_optional_log_id, put_replica, put_vote,
};
use crate::types::{GroupId, ReplicaId};

const APPEND: u8 = 1;
const VOTE: u8 = 2;
const PRE_VOTE: u8 = 3;
const TRANSFER: u8 = 4;
const SNAPSHOT: u8 = 5;

/// Bodies below this are cheaper to copy than to gather.
const COPIED_BYTES_MAX: usize = 2048;

pub(crate) type AppendRequest = AppendEntriesRequest<PartitionRaft>;
pub(crate) type AppendResponse = AppendEntriesResponse<PartitionRaft>;
pub(crate) type TransferOutcome = Result<(), TransferLeaderError<PartitionRaft>>;

/// A request of another replica.
pub(crate) enum Request {
    Append(AppendRequest),
    Vote(VoteRequest<PartitionRaft>),
    PreVote(VoteRequest<PartitionRaft>),
    Transfer(TransferLeaderRequest<PartitionRaft>),
    Snapshot { vote: Vote, snapshot: Snapshot },
}

pub(crate) fn put_group(out: &mut Vec<u8>, group: GroupId) {
    out.put_slice(group.topic_id.get().as_bytes());
    out.put_i32(group.partition.get());
}

pub(crate) fn get_group(bytes: &mut Bytes) -> Result<GroupId, CodecError> {
    let topic_id = Uuid::from_u128(bytes.try_get_u128()?);
    let nil = || CodecError::Value("a group of the topic id that means none".to_owned());
    let topic_id = TopicId::new(topic_id).ok_or_else(nil)?;
    Ok(GroupId { topic_id, partition: PartitionId::new(bytes.try_get_i32()?) })
}

pub(crate) fn put_stored_membership(out: &mut Vec<u8>, stored: &StoredMembership) {
    put_optional_log_id(out, stored.log_id().as_ref());
    put_membership(out, stored.membership());
}

pub(crate) fn get_stored_membership(bytes: &mut Bytes) -> Result<StoredMembership, CodecError> {
    Ok(StoredMembership::new(get_optional_log_id(bytes)?, get_membership(bytes)?))
}

/// Which replica of which group is meant. A broker that lost its disk is another replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Recipient {
    pub(crate) group: GroupId,
    pub(crate) replica: ReplicaId,
}

fn request(kind: u8, to: Recipient) -> Vec<u8> {
    let mut out = vec![kind];
    put_group(&mut out, to.group);
    out.put_slice(to.replica.directory_id.as_bytes());
    out
}

pub(crate) fn encode_append(to: Recipient, rpc: AppendRequest) -> io::Result<Message> {
    let mut head = request(APPEND, to);
    put_vote(&mut head, &rpc.vote);
    put_optional_log_id(&mut head, rpc.prev_log_id.as_ref());
    put_optional_log_id(&mut head, rpc.leader_commit.as_ref());
    head.put_u32(u32::try_from(rpc.entries.len()).expect("openraft bounds the entries of a call"));
    let mut message = Vec::new();
    for entry in rpc.entries {
        let leader_epoch = epoch_of(entry.log_id().committed_leader_id().term)?;
        let EntryBatch { header, body } = match entry.payload {
            Payload::Batch(batch) => batch,
            other => raft_only::encode(&other, Offset::ZERO, leader_epoch).ok_or_else(|| {
                io::Error::other(format!("an entry was read without its bytes: {other}"))
            })?,
        };
        head.extend_from_slice(&header.encode());
        if body.len() < COPIED_BYTES_MAX {
            head.extend_from_slice(&body);
        } else {
            message.push(std::mem::take(&mut head).into());
            message.push(body);
        }
    }
    if !head.is_empty() {
        message.push(head.into());
    }
    Ok(message)
}

fn get_append(mut bytes: Bytes) -> Result<AppendRequest, CodecError> {
    let vote = get_vote(&mut bytes)?;
    let prev_log_id = get_optional_log_id(&mut bytes)?;
    let leader_commit = get_optional_log_id(&mut bytes)?;
    let count = usize::try_from(bytes.try_get_u32()?).unwrap_or(usize::MAX);
    let first = prev_log_id.map_or(0, |id| id.index().saturating_add(1));
    // A lying count allocates no more than the frame could hold.
    let mut entries = Vec::with_capacity(count.min(bytes.len() / HEADER_BYTES));
    for index in (first..).take(count) {
        entries.push(get_entry(&mut bytes, index)?);
    }
    Ok(AppendRequest { vote, prev_log_id, entries, leader_commit })
}

fn get_entry(bytes: &mut Bytes, index: u64) -> Result<Entry, CodecError> {
    let header = BatchHeader::parse(bytes).map_err(|error| CodecError::Value(error.to_string()))?;
    let batch_bytes = header.batch_bytes();
    if bytes.len() < batch_bytes {
        return Err(CodecError::Value(format!(
            "an entry of {batch_bytes} bytes has only {}",
            bytes.len()
        )));
    }
    let body = bytes.split_to(batch_bytes).slice(HEADER_BYTES..);
    let log_id =
        log_id(header.leader_epoch, index).map_err(|error| CodecError::Value(error.to_string()))?;
    let payload = raft_only::payload_of(EntryBatch { header, body })
        .map_err(|error| CodecError::Value(error.to_string()))?;
    Ok(Entry::new(log_id, payload))
}

pub(crate) fn encode_vote(
    to: Recipient,
    rpc: &VoteRequest<PartitionRaft>,
    is_pre_vote: bool,
) -> Message {
    let mut out = request(if is_pre_vote { PRE_VOTE } else { VOTE }, to);
    put_vote(&mut out, &rpc.vote);
    put_optional_log_id(&mut out, rpc.last_log_id.as_ref());
    out.put_u8(u8::from(rpc.leadership_transfer));
    vec![out.into()]
}

fn get_vote_request(mut bytes: Bytes) -> Result<VoteRequest<PartitionRaft>, CodecError> {
    let vote = get_vote(&mut bytes)?;
    let mut rpc = VoteRequest::new(vote, get_optional_log_id(&mut bytes)?);
    rpc.leadership_transfer = bytes.try_get_u8()? != 0;
    Ok(rpc)
}

pub(crate) fn encode_transfer(
    to: Recipient,
    rpc: &TransferLeaderRequest<PartitionRaft>,
) -> Message {
    let mut out = request(TRANSFER, to);
    put_vote(&mut out, rpc.from_leader());
    put_replica(&mut out, rpc.to_node_id());
    put_optional_log_id(&mut out, rpc.last_log_id());
    vec![out.into()]
}

fn get_transfer(mut bytes: Bytes) -> Result<TransferLeaderRequest<PartitionRaft>, CodecError> {
    let from = get_vote(&mut bytes)?;
    let to = get_replica(&mut bytes)?;
    Ok(TransferLeaderRequest::new(from, to, get_optional_log_id(&mut bytes)?))
}

pub(crate) fn encode_snapshot(to: Recipient, vote: &Vote, snapshot: &Snapshot) -> Message {
    let mut out = request(SNAPSHOT, to);
    put_vote(&mut out, vote);
    put_optional_log_id(&mut out, snapshot.meta.last_log_id.as_ref());
    put_stored_membership(&mut out, &snapshot.meta.last_membership);
    vec![out.into(), snapshot.snapshot.clone()]
}

fn get_snapshot(mut bytes: Bytes) -> Result<(Vote, Snapshot), CodecError> {
    let vote = get_vote(&mut bytes)?;
    let last_log_id = get_optional_log_id(&mut bytes)?;
    let last_membership = get_stored_membership(&mut bytes)?;
    let meta = SnapshotMeta { last_log_id, last_membership };
    Ok((vote, Snapshot { meta, snapshot: bytes }))
}

/// Decodes a request to broker `me` and which replica it is for.
pub(crate) fn decode_request(
    me: BrokerId,
    mut bytes: Bytes,
) -> Result<(Recipient, Request), CodecError> {
    let kind = bytes.try_get_u8()?;
    let group = get_group(&mut bytes)?;
    let directory_id = Uuid::from_u128(bytes.try_get_u128()?);
    let to = Recipient { group, replica: ReplicaId { broker_id: me, directory_id } };
    let request = match kind {
        APPEND => Request::Append(get_append(bytes)?),
        VOTE => Request::Vote(get_vote_request(bytes)?),
        PRE_VOTE => Request::PreVote(get_vote_request(bytes)?),
        TRANSFER => Request::Transfer(get_transfer(bytes)?),
        SNAPSHOT => {
            let (vote, snapshot) = get_snapshot(bytes)?;
            Request::Snapshot { vote, snapshot }
        }
        tag => return Err(CodecError::Tag { what: "a request of a replica", tag }),
    };
    Ok((to, request))
}

pub(crate) fn encode_append_answer(answer: &AppendResponse) -> Message {
    let mut out = Vec::new();
    match answer {
        AppendResponse::Success => out.put_u8(0),
        AppendResponse::PartialSuccess(id) => {
            out.put_u8(1);
            put_optional_log_id(&mut out, id.as_ref());
        }
        AppendResponse::Conflict => out.put_u8(2),
        AppendResponse::HigherVote(vote) => {
            out.put_u8(3);
            put_vote(&mut out, vote);
        }
    }
    vec![out.into()]
}

pub(crate) fn decode_append_answer(mut bytes: Bytes) -> Result<AppendResponse, CodecError> {
    Ok(match bytes.try_get_u8()? {
        0 => AppendResponse::Success,
        1 => AppendResponse::PartialSuccess(get_optional_log_id(&mut bytes)?),
        2 => AppendResponse::Conflict,
        3 => AppendResponse::HigherVote(get_vote(&mut bytes)?),
        tag => return Err(CodecError::Tag { what: "an answer to entries", tag }),
    })
}

pub(crate) fn encode_vote_answer(answer: &VoteResponse<PartitionRaft>) -> Message {
    let mut out = Vec::new();
    put_vote(&mut out, &answer.vote);
    put_optional_log_id(&mut out, answer.last_log_id.as_ref());
    out.put_u8(u8::from(answer.vote_granted));
    vec![out.into()]
}

pub(crate) fn decode_vote_answer(
    mut bytes: Bytes,
) -> Result<VoteResponse<PartitionRaft>, CodecError> {
    let vote = get_vote(&mut bytes)?;
    let last_log_id = get_optional_log_id(&mut bytes)?;
    Ok(VoteResponse::new(vote, last_log_id, bytes.try_get_u8()? != 0))
}

pub(crate) fn encode_transfer_answer(answer: &TransferOutcome) -> Message {
    let mut out = Vec::new();
    match answer {
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

pub(crate) fn decode_transfer_answer(mut bytes: Bytes) -> Result<TransferOutcome, CodecError> {
    Ok(match bytes.try_get_u8()? {
        0 => Ok(()),
        1 => {
            let expected = get_vote(&mut bytes)?;
            Err(TransferLeaderError::VoteChanged { expected, actual: get_vote(&mut bytes)? })
        }
        2 => {
            let expected: Option<LogId> = get_optional_log_id(&mut bytes)?;
            let actual = get_optional_log_id(&mut bytes)?;
            Err(TransferLeaderError::LogNotFlushed { expected, actual })
        }
        tag => return Err(CodecError::Tag { what: "an answer to a transfer", tag }),
    })
}

pub(crate) fn encode_snapshot_answer(vote: &Vote) -> Message {
    let mut out = Vec::new();
    put_vote(&mut out, vote);
    vec![out.into()]
}

pub(crate) fn decode_snapshot_answer(mut bytes: Bytes) -> Result<Vote, CodecError> {
    get_vote(&mut bytes)
}
