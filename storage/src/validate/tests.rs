//! Cases for the rules that a batch must keep.

use protocol::batch::Attributes;
use protocol::batch::builder::{BatchBuilder, NewRecord};

use super::*;

const NOW: Timestamp = Timestamp::new(1_700_000_000_000);
const HOUR_MS: i64 = 3_600_000;

fn rules() -> BatchRules {
    BatchRules {
        batch_bytes_max: 1 << 20,
        log_append_time: false,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: HOUR_MS,
        keys_required: false,
        codec: None,
        decompressed_bytes_max: 1 << 20,
    }
}

/// A batch of records with these keys, one millisecond apart, the first at `NOW`.
fn built(codec: Codec, keys: &[Option<&[u8]>]) -> Bytes {
    let mut builder = BatchBuilder::new(Attributes::new(codec));
    for (number, key) in (0..).zip(keys) {
        let timestamp = Timestamp::new(NOW.get() + number);
        let value = Some(&b"some value, some value, some value"[..]);
        builder = builder.with_record(&NewRecord { timestamp, key: *key, value, headers: &[] });
    }
    builder.build().unwrap().into()
}

/// The batch with its header changed and its checksum made right again.
fn altered(batch: &Bytes, change: impl FnOnce(&mut BatchHeader)) -> Bytes {
    let mut header = BatchHeader::parse(batch).unwrap();
    change(&mut header);
    let body = &batch[HEADER_BYTES..];
    let crc = header.recompute_crc(body);
    let header = BatchHeader { crc, ..header };
    [&header.encode()[..], body].concat().into()
}

fn check(batch: &Bytes, rules: &BatchRules) -> Result<AppendBatch, BatchRejection> {
    let result = validate(batch, rules, true, NOW);
    if let Ok(accepted) = &result {
        let whole = [&accepted.header.encode()[..], &accepted.body].concat();
        check_crc(&whole).expect("what is accepted has a right checksum");
    }
    result
}

fn is_invalid_record(result: &Result<AppendBatch, BatchRejection>) -> bool {
    matches!(result, Err(BatchRejection::InvalidRecord { .. }))
}

#[test]
fn a_sound_batch_of_any_codec_passes_as_it_is_without_a_copy() {
    for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let batch = built(codec, &[None, Some(b"key"), None]);
        let accepted = check(&batch, &rules()).unwrap();
        assert_eq!(accepted.header, BatchHeader::parse(&batch).unwrap(), "{codec:?}");
        assert_eq!(accepted.body.as_ptr(), batch[HEADER_BYTES..].as_ptr(), "{codec:?}: copied");
    }
}

#[test]
fn anything_but_one_whole_batch_of_format_2_is_refused() {
    let batch = built(Codec::None, &[None]);
    let twice: Bytes = [&batch[..], &batch[..]].concat().into();
    let mut old_format = batch.to_vec();
    old_format[16] = 1;
    for records in
        [Bytes::new(), batch.slice(..60), batch.slice(..batch.len() - 1), twice, old_format.into()]
    {
        assert!(is_invalid_record(&check(&records, &rules())), "{} bytes", records.len());
    }
    let mut negative_length = batch.to_vec();
    negative_length[8] = 0xff;
    let result = check(&negative_length.into(), &rules());
    assert!(matches!(result, Err(BatchRejection::Corrupt(BatchError::Length { .. }))));
}

#[test]
fn a_changed_byte_anywhere_under_the_checksum_is_corruption() {
    let batch = built(Codec::None, &[None]);
    for at in [21, 40, 61, batch.len() - 1] {
        let mut bad = batch.to_vec();
        bad[at] ^= 0x40;
        let result = check(&bad.into(), &rules());
        assert!(
            matches!(result, Err(BatchRejection::Corrupt(BatchError::Crc { .. }))),
            "byte {at}: {result:?}"
        );
    }
}

#[test]
fn headers_that_only_a_broker_may_write_are_refused() {
    let batch = built(Codec::None, &[None, None]);
    type Change = fn(&mut BatchHeader);
    let changes: [(&str, Change); 8] = [
        ("base offset", |h| h.base_offset = Offset::new(5)),
        ("last offset delta", |h| h.last_offset_delta = 2),
        ("count", |h| h.record_count = 0),
        ("negative count", |h| h.record_count = -1),
        ("raft-only", |h| (h.record_count, h.last_offset_delta) = (0, -1)),
        ("control", |h| h.attributes = h.attributes.with_control()),
        ("sequence", |h| {
            (h.producer_id, h.producer_epoch) = (ProducerId::new(1), ProducerEpoch::new(0));
        }),
        ("no producer", |h| h.attributes = h.attributes.with_transactional()),
    ];
    for (name, change) in changes {
        assert!(is_invalid_record(&check(&altered(&batch, change), &rules())), "{name}");
    }
    let dated = altered(&batch, |h| h.attributes = h.attributes.with_log_append_time());
    assert!(matches!(check(&dated, &rules()), Err(BatchRejection::InvalidTimestamp { .. })));
}

#[test]
fn records_that_contradict_the_header_are_refused() {
    let batch = built(Codec::None, &[None, None]);
    let fewer = altered(&batch, |h| (h.record_count, h.last_offset_delta) = (1, 0));
    assert!(is_invalid_record(&check(&fewer, &rules())), "bytes after the last record");
    let more = altered(&batch, |h| (h.record_count, h.last_offset_delta) = (3, 2));
    match check(&more, &rules()) {
        Err(BatchRejection::InvalidRecord { records, .. }) => assert_eq!(records[0].0, 2),
        other => panic!("{other:?}"),
    }
}

#[test]
fn zstd_and_unknown_codecs_are_refused_where_they_must_be() {
    let batch = built(Codec::Zstd, &[None]);
    let old = validate(&batch, &rules(), false, NOW);
    assert_eq!(old.unwrap_err(), BatchRejection::UnsupportedCodec);
    let mut unknown = built(Codec::None, &[None]).to_vec();
    unknown[22] |= 6;
    let header = BatchHeader::parse(&unknown).unwrap();
    let crc = header.recompute_crc(&unknown[HEADER_BYTES..]);
    unknown[17..21].copy_from_slice(&crc.to_be_bytes());
    let result = check(&unknown.into(), &rules());
    assert_eq!(result.unwrap_err(), BatchRejection::UnsupportedCodec);
}

#[test]
fn a_compacted_topic_names_the_records_without_a_key() {
    let compacted = BatchRules { keys_required: true, ..rules() };
    for codec in [Codec::None, Codec::Gzip] {
        let batch = built(codec, &[Some(b"a"), None, Some(b"b"), None]);
        match check(&batch, &compacted) {
            Err(BatchRejection::InvalidRecord { records, .. }) => {
                let at: Vec<i32> = records.iter().map(|(number, _)| *number).collect();
                assert_eq!(at, [1, 3], "{codec:?}");
            }
            other => panic!("{codec:?}: {other:?}"),
        }
        check(&built(codec, &[Some(b"a")]), &compacted).unwrap();
    }
}

#[test]
fn timestamps_outside_the_range_are_refused_and_none_at_all_is_fine() {
    let at = |timestamp: i64| {
        let record = NewRecord::of_value(Timestamp::new(timestamp), b"x");
        let builder = BatchBuilder::new(Attributes::new(Codec::None));
        Bytes::from(builder.with_record(&record).build().unwrap())
    };
    let bounded = BatchRules { timestamp_before_max_ms: 1000, ..rules() };
    for (timestamp, is_fine) in [
        (NOW.get() + HOUR_MS, true),
        (NOW.get() + HOUR_MS + 1, false),
        (NOW.get() - 1000, true),
        (NOW.get() - 1001, false),
        (-1, true),
    ] {
        let result = check(&at(timestamp), &bounded);
        let is_refused = matches!(&result, Err(BatchRejection::InvalidTimestamp { records, .. }) if records[0].0 == 0);
        assert_eq!((result.is_ok(), is_refused), (is_fine, !is_fine), "{timestamp}");
        let dated = BatchRules { log_append_time: true, ..bounded.clone() };
        check(&at(timestamp), &dated).expect("the broker's time replaces the client's");
    }
}

#[test]
fn log_append_time_is_written_into_the_header_alone() {
    let batch = built(Codec::None, &[None, None]);
    let accepted = check(&batch, &BatchRules { log_append_time: true, ..rules() }).unwrap();
    assert!(accepted.header.attributes.is_log_append_time());
    assert_eq!(accepted.header.max_timestamp, NOW);
    assert_eq!(accepted.header.base_timestamp, NOW, "as the client sent it");
    assert_eq!(accepted.body, batch[HEADER_BYTES..]);
}

#[test]
fn a_wrong_largest_timestamp_is_corrected_from_the_records() {
    let batch = altered(&built(Codec::None, &[None, None]), |h| h.max_timestamp = NOW);
    let accepted = check(&batch, &rules()).unwrap();
    assert_eq!(accepted.header.max_timestamp, Timestamp::new(NOW.get() + 1));
}

#[test]
fn another_codec_is_applied_only_where_it_differs() {
    let gzip = Some(TargetCodec { codec: Codec::Gzip, level: None });
    let to_gzip = BatchRules { codec: gzip, ..rules() };
    let same = built(Codec::Gzip, &[None]);
    assert_eq!(check(&same, &to_gzip).unwrap().body, same[HEADER_BYTES..]);
    let plain = built(Codec::None, &[None, Some(b"k")]);
    for codec in [Codec::None, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let accepted = check(&built(codec, &[None, Some(b"k")]), &to_gzip).unwrap();
        assert_eq!(accepted.header.attributes.codec(), Some(Codec::Gzip), "{codec:?}");
        let payload = decompress(Codec::Gzip, &accepted.body, 1 << 20).unwrap();
        assert_eq!(payload[..], plain[HEADER_BYTES..], "{codec:?}");
    }
    let none = Some(TargetCodec { codec: Codec::None, level: None });
    let accepted = check(&same, &BatchRules { codec: none, ..rules() }).unwrap();
    assert_eq!(accepted.body, built(Codec::None, &[None])[HEADER_BYTES..]);
}

#[test]
fn sizes_are_checked_as_sent_and_after_recompression() {
    let batch = built(Codec::Gzip, &[None; 200]);
    let sent = u32::try_from(batch.len()).unwrap();
    check(&batch, &BatchRules { batch_bytes_max: sent, ..rules() }).unwrap();
    let result = check(&batch, &BatchRules { batch_bytes_max: sent - 1, ..rules() });
    assert!(matches!(result, Err(BatchRejection::TooLarge { .. })));
    let none = Some(TargetCodec { codec: Codec::None, level: None });
    let result = check(&batch, &BatchRules { batch_bytes_max: sent, codec: none, ..rules() });
    assert!(matches!(result, Err(BatchRejection::TooLarge { .. })), "grows when unpacked");
}

#[test]
fn decompression_is_bounded() {
    let value = vec![0; 1 << 20];
    let builder = BatchBuilder::new(Attributes::new(Codec::Gzip));
    let bomb = builder.with_record(&NewRecord::of_value(NOW, &value)).build().unwrap().into();
    let tight = BatchRules { decompressed_bytes_max: 64 << 10, ..rules() };
    check(&bomb, &tight).expect("nothing needs its content");
    let keyed = BatchRules { keys_required: true, ..tight };
    assert!(is_invalid_record(&check(&bomb, &keyed)));
}
