//! Responses, read as far as a run must know: error codes, and in a fetch the high watermark and the
//! headers of the batches. Everything else is stepped over. Bytes are the broker's: a response that
//! makes no sense is an error, never a panic.

use crate::batch::field;
use anyhow::{Context as _, Result, ensure};
use std::collections::BTreeMap;

/// Error codes by how often they came.
#[derive(Debug, Clone, Default)]
pub struct ErrorCodes {
    counts: BTreeMap<i16, u64>,
}

impl ErrorCodes {
    /// Counts a code that is one of an error.
    pub fn note(&mut self, code: i16) {
        if code != 0 {
            *self.counts.entry(code).or_default() += 1;
        }
    }

    /// Adds what another connection saw.
    pub fn merge(&mut self, other: &Self) {
        for (code, count) in &other.counts {
            *self.counts.entry(*code).or_default() += count;
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (i16, u64)> {
        self.counts.iter().map(|(code, count)| (*code, *count))
    }
}

/// What follows the correlation id of a Produce response (version 9): notes the code of each
/// partition.
///
/// # Errors
/// It is not such a response.
pub fn read_produce(body: &[u8], errors: &mut ErrorCodes) -> Result<()> {
    let mut cursor = Cursor { left: body };
    cursor.tags()?;
    for _ in 0..cursor.length()? {
        cursor.compact()?; // topic
        for _ in 0..cursor.length()? {
            cursor.skip(4)?; // partition
            errors.note(cursor.i16()?);
            cursor.skip(8 + 8 + 8)?; // base offset, append time, log start offset
            for _ in 0..cursor.length()? {
                cursor.skip(4)?;
                cursor.compact()?;
                cursor.tags()?;
            }
            cursor.compact()?; // error message
            cursor.tags()?;
        }
        cursor.tags()?;
    }
    Ok(())
}

/// What a JoinGroup response (version 9) says first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Joined {
    /// Its error code.
    pub code: i16,
    /// The generation that it is of.
    pub generation_id: i32,
}

/// What follows the correlation id of a JoinGroup response (version 9), as far as a member that was
/// there before must know it.
///
/// # Errors
/// It is not such a response.
pub fn read_join(body: &[u8]) -> Result<Joined> {
    let mut cursor = Cursor { left: body };
    cursor.tags()?;
    cursor.skip(4)?; // throttle time
    Ok(Joined { code: cursor.i16()?, generation_id: cursor.i32()? })
}

/// The code that follows the correlation id of a response to SyncGroup (version 5), Heartbeat (4) or
/// LeaveGroup (5).
///
/// # Errors
/// It is not such a response.
pub fn read_code(body: &[u8]) -> Result<i16> {
    let mut cursor = Cursor { left: body };
    cursor.tags()?;
    cursor.skip(4)?; // throttle time
    cursor.i16()
}

/// What follows the correlation id of an OffsetCommit response (version 9): notes the code of each
/// partition.
///
/// # Errors
/// It is not such a response.
pub fn read_commit(body: &[u8], errors: &mut ErrorCodes) -> Result<()> {
    let mut cursor = Cursor { left: body };
    cursor.tags()?;
    cursor.skip(4)?; // throttle time
    for _ in 0..cursor.length()? {
        cursor.compact()?; // topic
        for _ in 0..cursor.length()? {
            cursor.skip(4)?; // partition
            errors.note(cursor.i16()?);
            cursor.tags()?;
        }
        cursor.tags()?;
    }
    Ok(())
}

/// The one partition of a Fetch response.
#[derive(Debug, Clone, Copy)]
pub struct Fetched<'a> {
    /// End of what may be read.
    pub high_watermark: i64,
    /// Whole batches, and perhaps the beginning of one more.
    pub batches: &'a [u8],
}

/// What follows the correlation id of a Fetch response (version 12) for one partition.
///
/// # Errors
/// It is not such a response.
pub fn read_fetch<'a>(body: &'a [u8], errors: &mut ErrorCodes) -> Result<Fetched<'a>> {
    let mut cursor = Cursor { left: body };
    cursor.tags()?;
    cursor.skip(4)?; // throttle time
    errors.note(cursor.i16()?);
    cursor.skip(4)?; // session
    ensure!(cursor.length()? == 1, "a fetch answers for one topic");
    cursor.compact()?;
    ensure!(cursor.length()? == 1, "a fetch answers for one partition");
    cursor.skip(4)?; // partition
    errors.note(cursor.i16()?);
    let high_watermark = cursor.i64()?;
    cursor.skip(8 + 8)?; // last stable offset, log start offset
    for _ in 0..cursor.length()? {
        cursor.skip(8 + 8)?; // an aborted transaction
        cursor.tags()?;
    }
    cursor.skip(4)?; // preferred read replica
    Ok(Fetched { high_watermark, batches: cursor.compact()? })
}

/// What a row of batches holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Batches {
    /// Offset after the last whole batch.
    pub next_offset: i64,
    /// Records from the asked offset on.
    pub records: u64,
    /// Bytes of whole batches.
    pub bytes: u64,
}

/// Steps over batches by their headers, starting from the offset that was asked for, and shows each
/// to `look`.
///
/// # Errors
/// A batch does not continue where the one before it ended, or what `look` says.
pub fn walk_batches(
    mut bytes: &[u8],
    asked: i64,
    mut look: impl FnMut(&[u8]) -> Result<()>,
) -> Result<Batches> {
    let mut found = Batches { next_offset: asked, ..Batches::default() };
    while let Some(header) = bytes.first_chunk::<{ field::LAST_OFFSET_DELTA.end }>() {
        let mut cursor = Cursor { left: header };
        let base_offset = cursor.i64()?;
        let length = usize::try_from(cursor.i32()?).context("a batch's length")?;
        let mut cursor = Cursor { left: &header[field::LAST_OFFSET_DELTA] };
        let count = i64::from(cursor.i32()?) + 1;
        let next_offset = base_offset.checked_add(count).context("a batch's offsets")?;
        let whole = field::BATCH_LENGTH.end + length;
        if whole > bytes.len() {
            break;
        }
        let first = base_offset.max(asked);
        ensure!(
            first == found.next_offset && next_offset > first,
            "batch {base_offset}..{next_offset} where {} was next",
            found.next_offset
        );
        found.records += u64::try_from(next_offset - first)?;
        found.bytes += whole as u64;
        found.next_offset = next_offset;
        let (batch, rest) = bytes.split_at(whole);
        look(batch)?;
        bytes = rest;
    }
    Ok(found)
}

/// Reads from the front of some bytes.
#[derive(Debug)]
struct Cursor<'a> {
    left: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, left) = self.left.split_at_checked(count).context("a response ends early")?;
        self.left = left;
        Ok(taken)
    }

    fn skip(&mut self, count: usize) -> Result<()> {
        self.take(count).map(drop)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, left) = self.left.split_first_chunk().context("a response ends early")?;
        self.left = left;
        Ok(*taken)
    }

    fn i16(&mut self) -> Result<i16> {
        self.array().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> Result<i32> {
        self.array().map(i32::from_be_bytes)
    }

    fn i64(&mut self) -> Result<i64> {
        self.array().map(i64::from_be_bytes)
    }

    fn varint(&mut self) -> Result<usize> {
        let mut value = 0;
        for shift in (0..35).step_by(7) {
            let [byte] = self.array()?;
            value |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        anyhow::bail!("a length of more than five bytes")
    }

    /// Length of a compact array, or of compact bytes; none counts as empty.
    fn length(&mut self) -> Result<usize> {
        Ok(self.varint()?.saturating_sub(1))
    }

    /// Compact bytes, or a compact string.
    fn compact(&mut self) -> Result<&'a [u8]> {
        let length = self.length()?;
        self.take(length)
    }

    fn tags(&mut self) -> Result<()> {
        for _ in 0..self.varint()? {
            self.varint()?;
            let length = self.varint()?;
            self.skip(length)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{ANONYMOUS, batch_of};
    use crate::calls::FETCH;
    use bytes::BytesMut;
    use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
    use kafka_protocol::messages::offset_commit_response::{
        OffsetCommitResponsePartition, OffsetCommitResponseTopic,
    };
    use kafka_protocol::messages::produce_response::{
        BatchIndexAndErrorMessage, PartitionProduceResponse, TopicProduceResponse,
    };
    use kafka_protocol::messages::{
        FetchResponse, HeartbeatResponse, JoinGroupResponse, OffsetCommitResponse, ProduceResponse,
        SyncGroupResponse,
    };
    use kafka_protocol::protocol::{Encodable, StrBytes};

    /// A response of a flexible version, after its correlation id.
    fn body(version: i16, response: &impl Encodable) -> Vec<u8> {
        let mut bytes = BytesMut::from(&[0][..]); // no tagged fields in the header
        response.encode(&mut bytes, version).expect("it encodes");
        bytes.to_vec()
    }

    fn codes(errors: &ErrorCodes) -> Vec<(i16, u64)> {
        errors.iter().collect()
    }

    #[test]
    fn the_code_of_each_partition_is_counted() {
        let partition = |code| PartitionProduceResponse::default().with_error_code(code);
        let explained = partition(87)
            .with_error_message(Some(StrBytes::from_static_str("a reason")))
            .with_record_errors(vec![BatchIndexAndErrorMessage::default()]);
        let topic = TopicProduceResponse::default().with_partition_responses(vec![
            explained,
            partition(0),
            partition(7),
            partition(7),
        ]);
        let body = body(9, &ProduceResponse::default().with_responses(vec![topic]));
        let mut errors = ErrorCodes::default();
        read_produce(&body, &mut errors).expect("a response");
        assert_eq!(codes(&errors), [(7, 2), (87, 1)]);
    }

    #[test]
    fn what_groups_answer_is_read_as_the_codec_writes_it() {
        let joined = JoinGroupResponse::default()
            .with_error_code(27)
            .with_generation_id(258)
            .with_protocol_name(Some(StrBytes::from_static_str("range")));
        let read = read_join(&body(9, &joined)).expect("a response");
        assert_eq!(read, Joined { code: 27, generation_id: 258 });
        let synced = SyncGroupResponse::default().with_error_code(25);
        assert_eq!(read_code(&body(5, &synced)).expect("a response"), 25);
        assert_eq!(
            read_code(&body(4, &HeartbeatResponse::default().with_error_code(22))).expect("it"),
            22
        );

        let partition = |index, code| {
            OffsetCommitResponsePartition::default()
                .with_partition_index(index)
                .with_error_code(code)
        };
        let topic = OffsetCommitResponseTopic::default().with_partitions(vec![
            partition(0, 0),
            partition(1, 14),
            partition(2, 14),
        ]);
        let committed = OffsetCommitResponse::default().with_topics(vec![topic]);
        let mut errors = ErrorCodes::default();
        read_commit(&body(9, &committed), &mut errors).expect("a response");
        assert_eq!(codes(&errors), [(14, 2)]);
    }

    #[test]
    fn batches_are_stepped_over_and_a_cut_one_is_left_out() {
        let mut records = batch_of(ANONYMOUS, &["a", "b", "c"], 0).to_vec();
        let first_bytes = records.len();
        let mut second = batch_of(ANONYMOUS, &["d", "e"], 0).to_vec();
        second[field::BASE_OFFSET].copy_from_slice(&3_i64.to_be_bytes());
        records.extend_from_slice(&second);
        let walk = |bytes: &[u8], asked| walk_batches(bytes, asked, |_| Ok(()));

        let whole = Batches { next_offset: 5, records: 5, bytes: records.len() as u64 };
        assert_eq!(walk(&records, 0).expect("whole batches"), whole);
        // Asked for from the middle of a batch, it comes whole.
        assert_eq!(walk(&records, 2).expect("whole batches").records, 3);
        let cut = Batches { next_offset: 3, records: 3, bytes: first_bytes as u64 };
        for missing in 1..second.len() {
            let bytes = &records[..records.len() - missing];
            assert_eq!(walk(bytes, 0).expect("one whole batch"), cut, "{missing} missing");
        }
        assert!(walk(&second, 0).is_err(), "a gap in the offsets");
        second[field::BASE_OFFSET].copy_from_slice(&i64::MAX.to_be_bytes());
        assert!(walk(&second, 0).is_err(), "offsets beyond the last");
    }

    #[test]
    fn a_response_that_ends_early_is_an_error() {
        let partition = PartitionData::default()
            .with_high_watermark(9)
            .with_records(Some(batch_of(ANONYMOUS, &["a"], 0).freeze()));
        let topic = FetchableTopicResponse::default().with_partitions(vec![partition]);
        let whole = body(FETCH, &FetchResponse::default().with_responses(vec![topic]));
        let mut errors = ErrorCodes::default();
        let fetched = read_fetch(&whole, &mut errors).expect("a response");
        assert_eq!((fetched.high_watermark, codes(&errors)), (9, vec![]));
        let read_to = whole.len() - 3; // three rows of tagged fields end it
        for end in 0..read_to {
            assert!(read_fetch(&whole[..end], &mut errors).is_err(), "{end} bytes");
        }
    }
}
