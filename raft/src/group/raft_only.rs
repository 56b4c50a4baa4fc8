//! Entries without records as bytes in a partition's log.
//!
//! Each is a valid v2 control batch with record count 0, `lastOffsetDelta` -1 and producer id -1, so
//! it takes no offset and Kafka's tools hop over it. Behind the 61 bytes of the header, under the
//! batch's checksum:
//!
//! ```text
//! ├ u8 kind: 0 blank, 1 membership, 2 trim, 3 void ┼ rest ┤
//! rest of a membership   the membership as in `replicated_state::codec`
//! rest of a trim         ├ i64 offset ┤
//! ```
//! The bytes are a function of the log before the entry, its term and its content: the same on every
//! replica.

use std::io;

use bytes::{Buf, BufMut, Bytes};
use protocol::types::{LeaderEpoch, Offset};
use storage::log::entries::EntryBatch;

use super::types::Payload;
use crate::replicated_state::codec::{CodecError, get_membership, put_membership};

const BLANK: u8 = 0;
const MEMBERSHIP: u8 = 1;
const TRIM: u8 = 2;
const VOID: u8 = 3;

/// The bytes of an entry without records; `None` for one that has some.
pub(crate) fn encode(
    payload: &Payload,
    base_offset: Offset,
    leader_epoch: LeaderEpoch,
) -> Option<EntryBatch> {
    let mut body = Vec::new();
    match payload {
        Payload::Blank => body.put_u8(BLANK),
        Payload::Membership(membership) => {
            body.put_u8(MEMBERSHIP);
            put_membership(&mut body, membership);
        }
        Payload::Trim(to) => {
            body.put_u8(TRIM);
            body.put_i64(to.get());
        }
        Payload::Void => body.put_u8(VOID),
        Payload::Staged(_) | Payload::Batch(_) | Payload::Records => return None,
    }
    Some(EntryBatch::raft_only(base_offset, leader_epoch, body.into()))
}

/// What an entry without records holds, from the bytes behind its header.
pub(crate) fn decode(mut body: Bytes) -> Result<Payload, CodecError> {
    Ok(match body.try_get_u8()? {
        BLANK => Payload::Blank,
        MEMBERSHIP => Payload::Membership(get_membership(&mut body)?),
        TRIM => Payload::Trim(Offset::new(body.try_get_i64()?)),
        VOID => Payload::Void,
        tag => return Err(CodecError::Tag { what: "an entry without records", tag }),
    })
}

/// What an entry of the log holds: a batch with its bytes, or what stands in a Raft-only entry.
pub(crate) fn payload_of(entry: EntryBatch) -> io::Result<Payload> {
    if !entry.header.is_raft_only() {
        return Ok(Payload::Batch(entry));
    }
    decode(entry.body).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// As [`payload_of`], where the bytes of a batch were not read.
pub(crate) fn payload_of_header(entry: EntryBatch) -> io::Result<Payload> {
    if entry.header.is_raft_only() { payload_of(entry) } else { Ok(Payload::Records) }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use protocol::batch::check_crc;

    use super::*;
    use crate::group::types::Membership;
    use crate::types::ReplicaId;

    #[test]
    fn an_entry_without_records_is_a_batch_that_takes_no_offset() {
        let me = ReplicaId::default();
        let members = BTreeMap::from([(me, ())]);
        let membership = Membership::new(vec![BTreeSet::from([me])], members).unwrap();
        let all = [
            Payload::Blank,
            Payload::Membership(membership),
            Payload::Trim(Offset::new(7)),
            Payload::Void,
        ];
        for payload in all {
            let entry = encode(&payload, Offset::new(40), LeaderEpoch::new(3)).unwrap();
            let mut bytes = entry.header.encode().to_vec();
            bytes.extend_from_slice(&entry.body);
            let header = check_crc(&bytes).unwrap();
            assert!(header.is_raft_only() && header.attributes.is_control());
            assert_eq!((header.next_offset(), header.record_count), (Offset::new(40), 0));
            assert_eq!(payload_of(entry).unwrap().to_string(), payload.to_string());
        }
        assert!(decode(Bytes::from_static(&[9])).is_err());
    }
}
