//! What the journal of the metadata group is made of, as bytes, and how it is read back.
//!
//! ```text
//! all fields big-endian
//! file    ├ 8 bytes "MPJOURNL" ┼ u32 version ┼ u64 content bytes ┼ u32 crc32c of what precedes ┤
//!         then frames; the first `content bytes` of them were synced before the file got its name
//! frame   ├ u32 crc32c ┼ u32 length ┼ u8 kind ┼ body ┤
//!         the CRC covers length, kind and body; length counts kind and body
//! kind    1 round      ├ u64 position of this frame in the file ┤
//!         2 entry      ├ entry ┤
//!         3 vote       ├ vote ┤
//!         4 committed  ├ log id ┤
//!         5 truncated  ├ u64 first index that is gone ┤
//!         6 purged     ├ log id of the last entry that is gone ┤
//! ```
//! The values are those of `codec`. Each write of the journal is one round: it begins with a round
//! frame, and is synced before the next begins. So a round frame proves that everything before it
//! was synced once. What is unreadable behind the last provable byte is a torn write and is cut;
//! anything unreadable before it is damage, and is reported with its position.

use bytes::{Buf, BufMut, Bytes};

use super::codec::{CodecError, get_entry, get_log_id, get_vote, put_entry, put_log_id, put_vote};
use super::types::{Entry, LogId, Vote};

const MAGIC: [u8; 8] = *b"MPJOURNL";
/// The version of the format that this code writes, and the newest it reads.
pub(crate) const VERSION: u32 = 1;
const HEADER_BYTES: usize = 24;
const FRAME_HEADER_BYTES: usize = 8;

const ROUND: u8 = 1;
const ENTRY: u8 = 2;
const VOTE: u8 = 3;
const COMMITTED: u8 = 4;
const TRUNCATED: u8 = 5;
const PURGED: u8 = 6;
/// Kind and position.
const ROUND_LENGTH: u32 = 9;

/// One change of the log or the vote.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Record {
    /// The log grew.
    Entry(Entry),
    /// This node voted, or became leader by a vote.
    Vote(Vote),
    /// Everything up to here is committed.
    Committed(LogId),
    /// The entries from this index on are gone.
    Truncated {
        /// The first of them.
        from_index: u64,
    },
    /// The entries up to this one are gone: a snapshot holds what they did.
    Purged(LogId),
}

/// Why a journal cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// Something that was synced cannot be read back.
    Damaged {
        /// Where.
        position: usize,
        /// What is wrong.
        what: String,
    },
    /// Written by a newer version.
    Newer(u32),
}

/// What a journal holds.
#[derive(Debug)]
pub(crate) struct Readable {
    /// In the order in which they were written.
    pub(crate) records: Vec<Record>,
    /// Where the next round goes; the bytes behind it are a torn write.
    pub(crate) end: usize,
}

impl Record {
    /// Appends the record as one frame.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Entry(entry) => put_frame(out, ENTRY, |out| put_entry(out, entry)),
            Self::Vote(vote) => put_frame(out, VOTE, |out| put_vote(out, vote)),
            Self::Committed(id) => put_frame(out, COMMITTED, |out| put_log_id(out, id)),
            Self::Truncated { from_index } => {
                put_frame(out, TRUNCATED, |out| out.put_u64(*from_index));
            }
            Self::Purged(id) => put_frame(out, PURGED, |out| put_log_id(out, id)),
        }
    }

    fn decode(kind: u8, mut body: Bytes) -> Result<Option<Self>, CodecError> {
        Ok(Some(match kind {
            ROUND => return Ok(None),
            ENTRY => Self::Entry(get_entry(body)?),
            VOTE => Self::Vote(get_vote(&mut body)?),
            COMMITTED => Self::Committed(get_log_id(&mut body)?),
            TRUNCATED => Self::Truncated { from_index: body.try_get_u64()? },
            PURGED => Self::Purged(get_log_id(&mut body)?),
            tag => return Err(CodecError::Tag { what: "a frame", tag }),
        }))
    }
}

/// Begins a round at `position` of the file.
pub(crate) fn put_round(out: &mut Vec<u8>, position: u64) {
    put_frame(out, ROUND, |out| out.put_u64(position));
}

fn put_frame(out: &mut Vec<u8>, kind: u8, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.put_u64(0);
    out.put_u8(kind);
    body(out);
    let length = out.len() - start - FRAME_HEADER_BYTES;
    let length = u32::try_from(length).expect("commands are limited to far less than 4 GiB");
    out[start + 4..start + 8].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c::crc32c(&out[start + 4..]);
    out[start..start + 4].copy_from_slice(&crc.to_be_bytes());
}

/// A whole file that holds `frames`, to be written atomically.
pub(crate) fn whole_file(frames: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES + frames.len());
    out.put_slice(&MAGIC);
    out.put_u32(VERSION);
    out.put_u64(u64::try_from(frames.len()).expect("usize fits in u64"));
    out.put_u32(crc32c::crc32c(&out));
    out.put_slice(frames);
    out
}

/// Reads a whole file.
pub(crate) fn read(file: &Bytes) -> Result<Readable, Unreadable> {
    let mut synced_end = read_header(file)?;
    let mut records = Vec::new();
    let mut position = HEADER_BYTES;
    while let Some((kind, body)) = frame_at(file, position) {
        let end = position + FRAME_HEADER_BYTES + 1 + body.len();
        match Record::decode(kind, body) {
            Ok(Some(record)) => records.push(record),
            Ok(None) => synced_end = synced_end.max(position),
            Err(error) => return Err(Unreadable::Damaged { position, what: error.to_string() }),
        }
        position = end;
    }
    if position < synced_end || has_round_after(file, position) {
        let what = "a synced record of the journal fails its checksum".to_owned();
        return Err(Unreadable::Damaged { position, what });
    }
    Ok(Readable { records, end: position })
}

/// Checks the header; returns where the content that came with it ends.
fn read_header(file: &Bytes) -> Result<usize, Unreadable> {
    let damaged = |what: &str| Unreadable::Damaged { position: 0, what: what.to_owned() };
    let Some(header) = file.get(..HEADER_BYTES) else {
        return Err(damaged("the header of the journal is missing"));
    };
    let (mut fields, mut crc) = header.split_at(HEADER_BYTES - 4);
    if fields[..MAGIC.len()] != MAGIC {
        return Err(damaged("this is no journal of the metadata group"));
    }
    if crc.get_u32() != crc32c::crc32c(fields) {
        return Err(damaged("the header of the journal fails its checksum"));
    }
    fields.advance(MAGIC.len());
    let version = fields.get_u32();
    if version > VERSION {
        return Err(Unreadable::Newer(version));
    }
    let end = usize::try_from(fields.get_u64()).ok().and_then(|c| c.checked_add(HEADER_BYTES));
    end.filter(|end| *end <= file.len())
        .ok_or_else(|| damaged("the journal is shorter than it was when it got its name"))
}

/// The whole frame at `position`, if one is there and its CRC is right.
fn frame_at(file: &Bytes, position: usize) -> Option<(u8, Bytes)> {
    let mut rest = file.get(position..)?;
    let crc = rest.try_get_u32().ok()?;
    let covered = rest;
    let length = usize::try_from(rest.try_get_u32().ok()?).ok()?;
    let covered = covered.get(..length.checked_add(4)?)?;
    if length == 0 || crc32c::crc32c(covered) != crc {
        return None;
    }
    let body = position + FRAME_HEADER_BYTES + 1;
    Some((rest[0], file.slice(body..body + length - 1)))
}

/// Whether a round begins anywhere behind `position`. A round frame carries its own position, so
/// bytes of a command cannot be taken for one.
fn has_round_after(file: &Bytes, position: usize) -> bool {
    let mut head = Vec::with_capacity(FRAME_HEADER_BYTES + 9);
    (position + 1..file.len()).any(|at| {
        head.clear();
        put_round(&mut head, u64::try_from(at).expect("usize fits in u64"));
        file[at..].starts_with(&head)
    })
}

const _: () = assert!(ROUND_LENGTH as usize == 1 + size_of::<u64>());

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replicated_state::types::{Command, CommittedLeaderId, EntryPayload};
    use openraft::entry::{RaftEntry, RaftPayload};

    fn entry(index: u64) -> Record {
        let id = LogId::new(CommittedLeaderId::new(1), index);
        let payload = EntryPayload::normal(Command(Bytes::from(format!("command {index}"))));
        Record::Entry(Entry::new(id, payload))
    }

    /// A file whose content holds entry 0 and two rounds behind it, and where the last begins.
    fn journal() -> (Vec<u8>, usize) {
        let mut frames = Vec::new();
        entry(0).encode(&mut frames);
        let mut file = whole_file(&frames);
        let mut last = 0;
        for index in [1, 2] {
            last = file.len();
            put_round(&mut file, u64::try_from(last).unwrap());
            entry(index).encode(&mut file);
        }
        (file, last)
    }

    #[test]
    fn a_whole_journal_is_read_to_its_end() {
        let (file, _) = journal();
        let readable = read(&file.clone().into()).unwrap();
        assert_eq!(readable.records, [entry(0), entry(1), entry(2)]);
        assert_eq!(readable.end, file.len());
    }

    #[test]
    fn a_torn_last_round_is_cut_wherever_it_tears() {
        let (file, last) = journal();
        for cut in last..file.len() {
            let readable = read(&Bytes::copy_from_slice(&file[..cut])).unwrap();
            assert_eq!(readable.records, [entry(0), entry(1)], "cut at {cut}");
            let mut zeros = file[..cut].to_vec();
            zeros.resize(file.len() + 100, 0);
            assert_eq!(read(&zeros.into()).unwrap().records.len(), 2, "zeros from {cut}");
        }
    }

    #[test]
    fn a_flipped_bit_in_anything_synced_is_damage() {
        let (file, last) = journal();
        for at in 0..last {
            let mut damaged = file.clone();
            damaged[at] ^= 0x10;
            let error = read(&damaged.into()).unwrap_err();
            let Unreadable::Damaged { position, .. } = error else {
                panic!("byte {at}: {error:?}");
            };
            assert!(position <= at, "byte {at} reported at {position}");
        }
    }

    #[test]
    fn content_that_came_with_the_file_is_never_taken_for_torn() {
        let mut frames = Vec::new();
        entry(0).encode(&mut frames);
        let mut file = whole_file(&frames);
        *file.last_mut().unwrap() ^= 1;
        assert!(matches!(read(&file.into()), Err(Unreadable::Damaged { position: 24, .. })));
    }
}
