//! Round trips, bounds, and inputs that lie about their size.

use super::*;

const CODECS: [Codec; 4] = [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

/// Compressible, but not trivially: words in an order drawn from a fixed seed.
fn payload(bytes: usize) -> Vec<u8> {
    let words = ["offset", "record", "batch", "leader", "epoch", "segment", "broker", "partition"];
    let mut state = 7_u32;
    let mut payload = Vec::new();
    while payload.len() < bytes {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        payload.extend_from_slice(words[usize::try_from(state >> 29).unwrap()].as_bytes());
        payload.push((state >> 16).to_be_bytes()[3]);
    }
    payload.truncate(bytes);
    payload
}

fn too_large(outcome: Result<Cow<'_, [u8]>, DecompressError>, limit: usize) -> bool {
    matches!(outcome, Err(DecompressError::TooLarge { limit_bytes }) if limit_bytes == limit)
}

#[test]
fn payloads_survive_a_round_trip() {
    for codec in CODECS {
        for bytes in [0, 1, 100, XERIAL_BLOCK_BYTES, 200_000] {
            let payload = payload(bytes);
            let compressed = compress(codec, None, &payload).unwrap();
            let output = decompress(codec, &compressed, bytes).unwrap();
            assert!(output.as_ref() == payload, "{codec:?}, {bytes} bytes");
        }
    }
}

#[test]
fn one_byte_beyond_the_limit_is_refused() {
    let payload = payload(100_000);
    for codec in CODECS {
        let compressed = compress(codec, None, &payload).unwrap();
        assert!(too_large(decompress(codec, &compressed, 99_999), 99_999), "{codec:?}");
    }
    assert!(too_large(decompress(Codec::None, &payload, 99_999), 99_999));
    assert!(matches!(decompress(Codec::None, &payload, 100_000), Ok(Cow::Borrowed(_))));
}

#[test]
fn bombs_stop_at_the_limit() {
    let zeros = vec![0; 16 << 20];
    for codec in [Codec::Gzip, Codec::Lz4, Codec::Zstd] {
        let bomb = compress(codec, None, &zeros).unwrap();
        assert!(bomb.len() < 1 << 20, "{codec:?} made {} bytes", bomb.len());
        assert!(too_large(decompress(codec, &bomb, 1 << 20), 1 << 20), "{codec:?}");
    }
}

#[test]
fn raw_snappy_is_read_and_its_announcement_not_believed() {
    let payload = payload(1_000);
    let raw = snap::raw::Encoder::new().compress_vec(&payload).unwrap();
    assert_eq!(decompress(Codec::Snappy, &raw, 1_000).unwrap().as_ref(), payload);

    let mut liar = vec![0xff, 0xff, 0xff, 0xff, 0x0f];
    liar.extend([0; 61]);
    let outcome = decompress(Codec::Snappy, &liar, usize::MAX);
    assert!(matches!(outcome, Err(DecompressError::Damaged { codec: Codec::Snappy, .. })));
}

#[test]
fn the_densest_snappy_is_within_the_ratio() {
    let zeros = vec![0; 1 << 16];
    let raw = snap::raw::Encoder::new().compress_vec(&zeros).unwrap();
    assert_eq!(decompress(Codec::Snappy, &raw, zeros.len()).unwrap().as_ref(), zeros);
}

#[test]
fn concatenated_gzip_and_zstd_are_read_whole() {
    for codec in [Codec::Gzip, Codec::Zstd] {
        let mut twice = compress(codec, None, b"one").unwrap();
        twice.extend(compress(codec, None, b"two").unwrap());
        assert_eq!(decompress(codec, &twice, 6).unwrap().as_ref(), b"onetwo", "{codec:?}");
    }
}

#[test]
fn truncations_and_noise_are_damage() {
    for codec in CODECS {
        let payload = payload(5_000);
        let compressed = compress(codec, None, &payload).unwrap();
        for bytes in [1, 7, 15, compressed.len() / 2, compressed.len() - 1] {
            match decompress(codec, &compressed[..bytes], 10_000) {
                Err(DecompressError::Damaged { .. }) => {}
                // An LZ4 frame cut between two blocks ends early; the walk over the records, which
                // counts them, finds that.
                Ok(output) if codec == Codec::Lz4 => assert!(payload.starts_with(&output)),
                outcome => panic!("{codec:?} cut to {bytes} bytes: {outcome:?}"),
            }
        }
        let outcome = decompress(codec, b"no compressed records at all", 10_000);
        assert!(matches!(outcome, Err(DecompressError::Damaged { .. })), "{codec:?}");
    }
}

#[test]
fn levels_reach_the_codec() {
    let payload = payload(100_000);
    for (codec, low, high) in [(Codec::Gzip, 0, 9), (Codec::Zstd, 1, 19)] {
        let fast = compress(codec, Some(low), &payload).unwrap();
        let small = compress(codec, Some(high), &payload).unwrap();
        assert!(small.len() < fast.len(), "{codec:?}: {} and {}", small.len(), fast.len());
    }
    assert!(compress(Codec::Gzip, Some(10), &payload).is_err());
}
