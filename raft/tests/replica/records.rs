//! Batches for the suite, and what a reader of a replica sees.

use std::os::unix::fs::FileExt;

use bytes::Bytes;
use protocol::batch::builder::{BatchBuilder, NewRecord};
use protocol::batch::{Attributes, BatchHeader, Codec, HEADER_BYTES, check_crc};
use protocol::record::walk;
use protocol::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};
use raft::replica::Replica;
use storage::log::AppendBatch;
use storage::read::{ReadRequest, ReadSource, RecordsPiece};

pub(crate) const NOW: Timestamp = Timestamp::new(1_000);

/// A batch of `count` records with values `text/0`, `text/1`, ….
pub(crate) fn batch(text: &str, count: usize) -> AppendBatch {
    finish(BatchBuilder::new(Attributes::new(Codec::None)), text, count)
}

/// The same from an idempotent producer.
pub(crate) fn batch_of(producer: i64, sequence: i32, text: &str, count: usize) -> AppendBatch {
    let builder = BatchBuilder::new(Attributes::new(Codec::None)).with_producer(
        ProducerId::new(producer),
        ProducerEpoch::new(0),
        Sequence::new(sequence),
    );
    finish(builder, text, count)
}

fn finish(mut builder: BatchBuilder, text: &str, count: usize) -> AppendBatch {
    for n in 0..count {
        let value = format!("{text}/{n}");
        builder = builder.with_record(&NewRecord::of_value(NOW, value.as_bytes()));
    }
    let bytes = Bytes::from(builder.build().unwrap());
    AppendBatch { header: BatchHeader::parse(&bytes).unwrap(), body: bytes.slice(HEADER_BYTES..) }
}

/// One record as a reader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) offset: Offset,
    pub(crate) leader_epoch: LeaderEpoch,
    pub(crate) value: String,
}

/// Everything between the log start and the high watermark.
pub(crate) fn read_visible(replica: &dyn Replica) -> Vec<Seen> {
    let pointers = replica.pointers();
    let (mut from, end) = (pointers.log_start_offset, pointers.high_watermark);
    let mut seen = Vec::new();
    while from < end {
        let request = ReadRequest {
            from,
            end,
            bytes_max: 1 << 20,
            at_least_one: true,
            source: ReadSource::Any,
        };
        let records = replica.log().read_blocking(request).unwrap();
        let mut bytes = Vec::new();
        for piece in records.pieces {
            match piece {
                RecordsPiece::Memory(memory) => bytes.extend_from_slice(&memory),
                RecordsPiece::File(slice) => {
                    let mut part = vec![0; slice.len];
                    slice.file.read_exact_at(&mut part, slice.position).unwrap();
                    bytes.extend_from_slice(&part);
                }
            }
        }
        let before = from;
        let mut rest = bytes.as_slice();
        while let Ok(header) = BatchHeader::parse(rest) {
            let Some(batch) = rest.get(..header.batch_bytes()) else { break };
            check_crc(batch).unwrap();
            see(&header, &batch[HEADER_BYTES..], &mut seen);
            from = header.next_offset();
            rest = &rest[header.batch_bytes()..];
        }
        assert!(from > before, "a read from {before} returned no whole batch");
    }
    // A read begins with the whole batch that holds its first offset.
    seen.retain(|record| record.offset >= pointers.log_start_offset);
    seen
}

fn see(header: &BatchHeader, payload: &[u8], seen: &mut Vec<Seen>) {
    for record in walk(payload, header.record_count).unwrap() {
        let record = record.unwrap();
        seen.push(Seen {
            offset: header.base_offset.advance(i64::from(record.offset_delta)),
            leader_epoch: header.leader_epoch,
            value: String::from_utf8(record.value.unwrap().to_vec()).unwrap(),
        });
    }
}
