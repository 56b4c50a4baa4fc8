//! The walk, over payloads of the builder and over every way to break them.

use super::*;
use crate::batch::builder::{BatchBuilder, NewRecord};
use crate::batch::{Attributes, Codec, HEADER_BYTES};
use crate::types::Timestamp;

/// Two records: one with everything, one with nothing.
fn payload() -> Vec<u8> {
    let batch = BatchBuilder::new(Attributes::new(Codec::None))
        .with_record(&NewRecord {
            timestamp: Timestamp::new(1_000),
            key: Some(b"key"),
            value: Some(b"value"),
            headers: &[("a", Some(b"1")), ("a", None)],
        })
        .with_record(&NewRecord {
            timestamp: Timestamp::new(998),
            key: None,
            value: None,
            headers: &[],
        })
        .build()
        .unwrap();
    batch[HEADER_BYTES..].to_vec()
}

fn outcome(payload: &[u8], record_count: i32) -> Result<usize, RecordError> {
    walk(payload, record_count)?.try_fold(0, |seen, record| record.map(|_| seen + 1))
}

#[test]
fn fields_are_those_that_were_written() {
    let payload = payload();
    let records: Vec<_> = walk(&payload, 2).unwrap().collect::<Result<_, _>>().unwrap();
    let first = RecordView {
        offset_delta: 0,
        timestamp_delta: 0,
        key: Some(b"key"),
        value: Some(b"value"),
        header_bytes: b"\x04\x02a\x021\x02a\x01",
    };
    let second = RecordView {
        offset_delta: 1,
        timestamp_delta: -2,
        key: None,
        value: None,
        header_bytes: b"\0",
    };
    assert_eq!(records, [first, second]);
}

#[test]
fn count_must_match() {
    let payload = payload();
    assert_eq!(outcome(&payload, 2), Ok(2));
    assert_eq!(outcome(&payload, 1), Err(RecordError::Trailing { bytes: 7 }));
    assert_eq!(outcome(&payload, 3), Err(RecordError::Truncated { record: 2 }));
    assert_eq!(outcome(&payload, -1), Err(RecordError::Count { count: -1 }));
    assert_eq!(outcome(&payload, i32::MAX), Err(RecordError::Truncated { record: 2 }));
    assert_eq!(outcome(&[], 0), Ok(0));
}

#[test]
fn every_truncation_is_refused() {
    let payload = payload();
    for bytes in 0..payload.len() {
        assert!(outcome(&payload[..bytes], 2).is_err(), "{bytes}");
    }
}

#[test]
fn every_broken_field_is_refused() {
    // length; attributes, timestamp delta, offset delta; key, value; a header
    let sound = [16, 0, 0, 0, 1, 1, 2, 0, 1];
    let cases: [(&[u8], RecordError); 8] = [
        (&[16, 0, 0, 2, 1, 1, 2, 0, 1], RecordError::OffsetDelta { record: 0, offset_delta: 1 }),
        (&[18, 0, 0, 0, 1, 1, 2, 0, 1, 9], RecordError::Slack { record: 0, bytes: 1 }),
        (&[14, 0, 0, 0, 1, 1, 2, 0, 1], RecordError::Truncated { record: 0 }),
        (&[16, 0, 0, 0, 3, 1, 2, 0, 1], RecordError::NegativeLength { record: 0, length: -2 }),
        (&[16, 0, 0, 0, 1, 1, 2, 1, 1], RecordError::NegativeLength { record: 0, length: -1 }),
        (&[16, 0, 0, 0, 1, 1, 1, 0, 1], RecordError::NegativeLength { record: 0, length: -1 }),
        (&[13, 0, 0, 0, 1, 1, 2, 0, 1], RecordError::NegativeLength { record: 0, length: -7 }),
        (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff], RecordError::Varint { record: 0 }),
    ];
    assert_eq!(outcome(&sound, 1), Ok(1));
    for (payload, error) in cases {
        assert_eq!(outcome(payload, 1), Err(error), "{payload:?}");
    }
}

#[test]
fn huge_announcements_end_at_the_last_byte() {
    let header_count = [26, 0, 0, 0, 1, 1, 0xfe, 0xff, 0xff, 0xff, 0x0f, 0, 1, 0];
    assert_eq!(outcome(&header_count, 1), Err(RecordError::Truncated { record: 0 }));
    let key_length = [22, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff, 0x0f, 0, 1, 0];
    assert_eq!(outcome(&key_length, 1), Err(RecordError::Truncated { record: 0 }));
}

#[test]
fn nothing_follows_an_error() {
    let mut records = walk(&[1, 2, 3], 5).unwrap();
    assert!(records.next().is_some_and(|record| record.is_err()));
    assert_eq!(records.next(), None);
    assert_eq!(records.next(), None);
}
