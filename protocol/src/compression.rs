//! Compression of records payloads, in the formats that Kafka's clients read and write.
//!
//! Decompression is bounded: output beyond the caller's limit is an error and is never allocated,
//! whatever a header inside the input announces.

use std::borrow::Cow;
use std::io::{self, Read, Write};

use crate::batch::Codec;

/// How xerial's framing of snappy begins: a magic, then its version and the oldest compatible one,
/// both 1. Blocks follow, each with its compressed length as an i32.
const XERIAL_HEADER: [u8; 16] = *b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";
/// The part of the header that tells it from raw snappy.
const XERIAL_MAGIC_BYTES: usize = 8;
/// Input bytes of a block as xerial's Java library makes them.
const XERIAL_BLOCK_BYTES: usize = 32 << 10;
/// No element of raw snappy makes more than 64 bytes out of three.
const SNAPPY_RATIO_MAX: usize = 22;
/// The largest window that zstd's own tools accept. The decoder reserves address space for the
/// window, but touches no more than the output fills.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// Why bytes cannot be decompressed.
#[derive(Debug, thiserror::Error)]
pub enum DecompressError {
    /// The output would be larger than the limit.
    #[error("the records decompress to more than {limit_bytes} bytes")]
    TooLarge {
        /// The caller's limit.
        limit_bytes: usize,
    },
    /// The bytes are not in the format of the codec.
    #[error("the records are not valid {codec:?}")]
    Damaged {
        /// The codec that refused them.
        codec: Codec,
        /// What it says.
        #[source]
        source: io::Error,
    },
}

/// The codec's library refused to compress.
#[derive(Debug, thiserror::Error)]
#[error("cannot compress with {codec:?}")]
pub struct CompressError {
    codec: Codec,
    #[source]
    source: io::Error,
}

/// Decompresses a records payload. [`Codec::None`] borrows, within the same limit.
///
/// # Errors
/// [`DecompressError::TooLarge`] as soon as the output exceeds `limit_bytes`, and
/// [`DecompressError::Damaged`].
pub fn decompress(
    codec: Codec,
    compressed: &[u8],
    limit_bytes: usize,
) -> Result<Cow<'_, [u8]>, DecompressError> {
    let output = match codec {
        Codec::None if compressed.len() > limit_bytes => Ok(None),
        Codec::None => return Ok(Cow::Borrowed(compressed)),
        Codec::Gzip => read_bounded(flate2::read::MultiGzDecoder::new(compressed), limit_bytes),
        Codec::Snappy => snappy(compressed, limit_bytes),
        Codec::Lz4 => read_bounded(lz4_flex::frame::FrameDecoder::new(compressed), limit_bytes),
        Codec::Zstd => zstd(compressed, limit_bytes),
    };
    match output {
        Ok(Some(payload)) => Ok(Cow::Owned(payload)),
        Ok(None) => Err(DecompressError::TooLarge { limit_bytes }),
        Err(source) => Err(DecompressError::Damaged { codec, source }),
    }
}

/// Reads to the end; `None` if that is beyond the limit.
fn read_bounded(reader: impl Read, limit_bytes: usize) -> io::Result<Option<Vec<u8>>> {
    let one_too_many = u64::try_from(limit_bytes).unwrap_or(u64::MAX).saturating_add(1);
    let mut output = Vec::new();
    reader.take(one_too_many).read_to_end(&mut output)?;
    Ok((output.len() <= limit_bytes).then_some(output))
}

fn zstd(compressed: &[u8], limit_bytes: usize) -> io::Result<Option<Vec<u8>>> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(compressed)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
    read_bounded(decoder, limit_bytes)
}

/// Snappy in xerial's framing (Java) or raw (librdkafka and others).
fn snappy(compressed: &[u8], limit_bytes: usize) -> io::Result<Option<Vec<u8>>> {
    let mut output = Vec::new();
    let whole = if compressed.first_chunk() == XERIAL_HEADER.first_chunk::<XERIAL_MAGIC_BYTES>() {
        let mut rest = compressed.get(XERIAL_HEADER.len()..).ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut whole = true;
        while whole && !rest.is_empty() {
            let block = xerial_block(&mut rest).ok_or(io::ErrorKind::UnexpectedEof)?;
            whole = append_raw_snappy(block, &mut output, limit_bytes)?;
        }
        whole
    } else {
        append_raw_snappy(compressed, &mut output, limit_bytes)?
    };
    Ok(whole.then_some(output))
}

fn xerial_block<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = rest.split_first_chunk()?;
    let length = usize::try_from(i32::from_be_bytes(*length)).ok()?;
    let (block, after) = after.split_at_checked(length)?;
    *rest = after;
    Some(block)
}

/// Appends what `block` decompresses to; `false` if that is beyond the limit.
fn append_raw_snappy(block: &[u8], output: &mut Vec<u8>, limit_bytes: usize) -> io::Result<bool> {
    let announced = snap::raw::decompress_len(block)?;
    if announced > block.len().saturating_mul(SNAPPY_RATIO_MAX) {
        let reason = "snappy cannot compress as much as the block announces";
        return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    }
    let begin = output.len();
    if announced > limit_bytes.saturating_sub(begin) {
        return Ok(false);
    }
    output.resize(begin + announced, 0);
    let target = output.get_mut(begin..).expect("output was only extended");
    let written = snap::raw::Decoder::new().decompress(block, target)?;
    output.truncate(begin + written);
    Ok(true)
}

/// Compresses a records payload. `level` is the codec's own, its default if `None`; codecs without
/// levels ignore it. [`Codec::None`] copies.
///
/// # Errors
/// [`CompressError`] if the codec's library fails, for want of memory or for a level it lacks.
pub fn compress(
    codec: Codec,
    level: Option<i32>,
    payload: &[u8],
) -> Result<Vec<u8>, CompressError> {
    let output = match codec {
        Codec::None => Ok(payload.to_vec()),
        Codec::Gzip => gzip_compress(level, payload),
        Codec::Snappy => xerial_compress(payload),
        Codec::Lz4 => lz4_compress(payload),
        Codec::Zstd => {
            zstd::bulk::compress(payload, level.unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL))
        }
    };
    output.map_err(|source| CompressError { codec, source })
}

fn gzip_compress(level: Option<i32>, payload: &[u8]) -> io::Result<Vec<u8>> {
    let level = match level.map(u32::try_from) {
        None => flate2::Compression::default(),
        Some(Ok(level @ 0..=9)) => flate2::Compression::new(level),
        Some(_) => return Err(io::ErrorKind::InvalidInput.into()),
    };
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
    encoder.write_all(payload)?;
    encoder.finish()
}

/// Small independent blocks without checksums, as Kafka's Java client writes them.
fn lz4_compress(payload: &[u8]) -> io::Result<Vec<u8>> {
    let format = lz4_flex::frame::FrameInfo::new()
        .block_size(lz4_flex::frame::BlockSize::Max64KB)
        .block_mode(lz4_flex::frame::BlockMode::Independent);
    let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(format, Vec::new());
    encoder.write_all(payload)?;
    Ok(encoder.finish()?)
}

fn xerial_compress(payload: &[u8]) -> io::Result<Vec<u8>> {
    let mut output = XERIAL_HEADER.to_vec();
    let mut encoder = snap::raw::Encoder::new();
    for block in payload.chunks(XERIAL_BLOCK_BYTES) {
        let compressed = encoder.compress_vec(block)?;
        let length = i32::try_from(compressed.len()).expect("a block of 32 KiB stays small");
        output.extend_from_slice(&length.to_be_bytes());
        output.extend_from_slice(&compressed);
    }
    Ok(output)
}

#[cfg(test)]
mod tests;
