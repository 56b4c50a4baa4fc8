//! Headers and whole batches, against bytes and against the codec library's own reader.

use bytes::Bytes;
use kafka_protocol::records::RecordBatchDecoder;

use super::builder::{BatchBuilder, NewRecord};
use super::*;

/// `v` at 1_700_000_000_000 ms, key `k`, header `h` without a value, producer 4000 in epoch 7.
fn sample() -> Vec<u8> {
    BatchBuilder::new(Attributes::new(Codec::None))
        .with_producer(ProducerId::new(4_000), ProducerEpoch::new(7), Sequence::new(9))
        .with_record(&NewRecord {
            timestamp: Timestamp::new(1_700_000_000_000),
            key: Some(b"k"),
            value: Some(b"v"),
            headers: &[("h", None)],
        })
        .with_record(&NewRecord::of_value(Timestamp::new(1_700_000_000_250), b"w"))
        .build()
        .unwrap()
}

#[test]
fn header_survives_a_round_trip() {
    let batch = sample();
    let header = BatchHeader::parse(&batch).unwrap();
    assert_eq!(header.encode().as_slice(), &batch[..HEADER_BYTES]);
    assert_eq!(header.batch_bytes(), batch.len());
    assert_eq!((header.last_offset_delta, header.record_count), (1, 2));
    assert_eq!(header.max_timestamp, Timestamp::new(1_700_000_000_250));
    assert_eq!(header.next_offset(), Offset::new(2));
    assert_eq!(header.last_sequence(), Sequence::new(10));
}

#[test]
fn fields_stand_where_the_drawing_says() {
    let header = BatchHeader {
        base_offset: Offset::new(0x0102_0304_0506_0708),
        length: 0x1112_1314,
        leader_epoch: LeaderEpoch::new(0x2122_2324),
        crc: 0x3132_3334,
        attributes: Attributes(0x4142),
        last_offset_delta: 0x5152_5354,
        base_timestamp: Timestamp::new(0x6162_6364_6566_6768),
        max_timestamp: Timestamp::new(0x7172_7374_7576_7778),
        producer_id: ProducerId::new(0x0908_0706_0504_0302),
        producer_epoch: ProducerEpoch::new(0x1918),
        base_sequence: Sequence::new(0x2928_2726),
        record_count: 0x3938_3736,
    };
    let mut expected = Vec::new();
    expected.extend([1, 2, 3, 4, 5, 6, 7, 8]);
    expected.extend([0x11, 0x12, 0x13, 0x14]);
    expected.extend([0x21, 0x22, 0x23, 0x24, 2]);
    expected.extend([0x31, 0x32, 0x33, 0x34]);
    expected.extend([0x41, 0x42, 0x51, 0x52, 0x53, 0x54]);
    expected.extend([0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68]);
    expected.extend([0x71, 0x72, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78]);
    expected.extend([9, 8, 7, 6, 5, 4, 3, 2]);
    expected.extend([0x19, 0x18, 0x29, 0x28, 0x27, 0x26, 0x39, 0x38, 0x37, 0x36]);
    assert_eq!(header.encode().as_slice(), expected);
    assert_eq!(BatchHeader::parse(&expected), Ok(header));
}

#[test]
fn the_codec_library_reads_what_the_builder_writes() {
    let mut batch = Bytes::from(sample());
    let records = RecordBatchDecoder::decode(&mut batch).unwrap().records;
    let values: Vec<_> = records.iter().map(|record| record.value.as_deref()).collect();
    assert_eq!(values, [Some(b"v".as_slice()), Some(b"w")]);
    let first = records.first().unwrap();
    assert_eq!(first.key.as_deref(), Some(b"k".as_slice()));
    assert_eq!(first.headers.len(), 1);
    assert_eq!((first.producer_id, first.producer_epoch, first.sequence), (4_000, 7, 9));
    assert_eq!(records.last().map(|record| record.timestamp), Some(1_700_000_000_250));
}

#[test]
fn headers_that_cannot_be_are_refused() {
    let batch = sample();
    let with = |at: usize, byte: u8| {
        let mut changed = batch.clone();
        changed[at] = byte;
        BatchHeader::parse(&changed).unwrap_err()
    };
    assert_eq!(BatchHeader::parse(&batch[..60]), Err(BatchError::Short { have: 60 }));
    assert_eq!(with(16, 1), BatchError::Magic { magic: 1 });
    assert!(matches!(with(8, 0x80), BatchError::Length { length } if length < 0));
    let mut short = batch.clone();
    short[8..12].copy_from_slice(&48_i32.to_be_bytes());
    assert_eq!(BatchHeader::parse(&short), Err(BatchError::Length { length: 48 }));
}

#[test]
fn offsets_beyond_the_offset_space_are_refused() {
    let parse = |base_offset: i64| {
        let mut batch = sample();
        batch[..8].copy_from_slice(&base_offset.to_be_bytes());
        BatchHeader::parse(&batch)
    };
    // The batch holds two records, and the offset after them must exist.
    let header = parse(i64::MAX - 2).unwrap();
    assert_eq!(header.next_offset(), Offset::new(i64::MAX));
    let base_offset = Offset::new(i64::MAX - 1);
    let error = BatchError::Offsets { base_offset, last_offset_delta: 1 };
    assert_eq!(parse(i64::MAX - 1), Err(error));
}

#[test]
fn crc_covers_everything_from_the_attributes_on() {
    let batch = sample();
    assert!(check_crc(&batch).is_ok());
    for at in 0..batch.len() {
        let mut changed = batch.clone();
        changed[at] ^= 1;
        let outcome = check_crc(&changed);
        match at {
            0..8 | 12..16 => assert!(outcome.is_ok(), "byte {at} is outside the CRC"),
            _ => assert!(outcome.is_err(), "byte {at} is not checked"),
        }
    }
    let cut = batch.len() - 1;
    assert_eq!(check_crc(&batch[..cut]), Err(BatchError::Short { have: cut }));
}

#[test]
fn sealing_after_a_rewrite_makes_the_batch_whole_again() {
    let batch = sample();
    let (header, body) = batch.split_at(HEADER_BYTES);
    let mut header = BatchHeader::parse(header).unwrap();
    assert_eq!(header.recompute_crc(body), header.crc);
    header.attributes = header.attributes.with_log_append_time();
    header.max_timestamp = Timestamp::new(1);
    let mut rewritten = header.sealed(body).encode().to_vec();
    rewritten.extend_from_slice(body);
    let read = check_crc(&rewritten).unwrap();
    assert!(read.attributes.is_log_append_time());
    assert_eq!(read.batch_bytes(), batch.len());
}

#[test]
fn attributes_keep_their_bits_apart() {
    let plain = Attributes::new(Codec::Zstd);
    assert_eq!(plain.get(), 4);
    let all = plain.with_log_append_time().with_transactional().with_control();
    assert_eq!(all.get(), 0b11_1100);
    assert_eq!(all.with_codec(Codec::Gzip).get(), 0b11_1001);
    assert!(all.is_control() && all.is_transactional() && all.is_log_append_time());
    assert_eq!(Attributes(5).codec(), None);
    for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        assert_eq!(Attributes::new(codec).codec(), Some(codec));
    }
}
