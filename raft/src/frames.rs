//! The framing of a file that grows by rounds: each round is written at once and synced before the
//! next begins.
//!
//! ```text
//! all fields big-endian
//! file    ├ 8 bytes magic ┼ u32 version ┼ u64 content bytes ┼ u32 crc32c of what precedes ┤
//!         then frames; the first `content bytes` of them were synced before the file got its name
//! frame   ├ u32 crc32c ┼ u32 length ┼ u8 kind ┼ body ┤
//!         the CRC covers length, kind and body; length counts kind and body
//! round   kind 1: ├ u64 position of this frame in the file ┤
//! ```
//! A round begins with a round frame, so a round frame proves that everything before it was synced
//! once. What is unreadable behind the last provable byte is a torn write and is cut; anything
//! unreadable before it is damage, and is reported with its position.

use bytes::{Buf, BufMut, Bytes};

const HEADER_BYTES: usize = 24;
const FRAME_HEADER_BYTES: usize = 8;
/// The one kind that belongs to the framing.
const ROUND: u8 = 1;

/// What tells one such file from another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Format {
    pub(crate) magic: [u8; 8],
    /// The version that is written, and the newest that is read.
    pub(crate) version: u32,
    /// What the file is, for messages.
    pub(crate) what: &'static str,
}

/// Why a file cannot be used.
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

/// One frame that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) position: usize,
    pub(crate) kind: u8,
    pub(crate) body: Bytes,
}

/// What a file holds.
#[derive(Debug)]
pub(crate) struct Readable {
    /// All but the round frames, in the order in which they were written.
    pub(crate) frames: Vec<Frame>,
    /// Where the next round goes; the bytes behind it are a torn write.
    pub(crate) end: usize,
}

/// Adds a frame. `kind` must not be the round's.
pub(crate) fn put_frame(out: &mut Vec<u8>, kind: u8, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.put_u64(0);
    out.put_u8(kind);
    body(out);
    let length = out.len() - start - FRAME_HEADER_BYTES;
    let length = u32::try_from(length).expect("a frame is far smaller than 4 GiB");
    out[start + 4..start + 8].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c::crc32c(&out[start + 4..]);
    out[start..start + 4].copy_from_slice(&crc.to_be_bytes());
}

/// Begins a round at `position` of the file.
pub(crate) fn put_round(out: &mut Vec<u8>, position: u64) {
    put_frame(out, ROUND, |out| out.put_u64(position));
}

/// A whole file that holds `frames`, to be written atomically.
pub(crate) fn whole_file(format: &Format, frames: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES + frames.len());
    out.put_slice(&format.magic);
    out.put_u32(format.version);
    out.put_u64(u64::try_from(frames.len()).expect("usize fits in u64"));
    out.put_u32(crc32c::crc32c(&out));
    out.put_slice(frames);
    out
}

/// Reads a whole file.
pub(crate) fn read(format: &Format, file: &Bytes) -> Result<Readable, Unreadable> {
    let mut synced_end = read_header(format, file)?;
    let mut frames = Vec::new();
    let mut position = HEADER_BYTES;
    while let Some((kind, body)) = frame_at(file, position) {
        let end = position + FRAME_HEADER_BYTES + 1 + body.len();
        if kind == ROUND {
            synced_end = synced_end.max(position);
        } else {
            frames.push(Frame { position, kind, body });
        }
        position = end;
    }
    if position < synced_end || has_round_after(file, position) {
        let what = format!("a synced record of {} fails its checksum", format.what);
        return Err(Unreadable::Damaged { position, what });
    }
    Ok(Readable { frames, end: position })
}

/// Checks the header; returns where the content that came with it ends.
fn read_header(format: &Format, file: &Bytes) -> Result<usize, Unreadable> {
    let damaged = |what: String| Unreadable::Damaged { position: 0, what };
    let Some(header) = file.get(..HEADER_BYTES) else {
        return Err(damaged(format!("the header of {} is missing", format.what)));
    };
    let (mut fields, mut crc) = header.split_at(HEADER_BYTES - 4);
    if fields[..format.magic.len()] != format.magic {
        return Err(damaged(format!("this is not {}", format.what)));
    }
    if crc.get_u32() != crc32c::crc32c(fields) {
        return Err(damaged(format!("the header of {} fails its checksum", format.what)));
    }
    fields.advance(format.magic.len());
    let version = fields.get_u32();
    if version > format.version {
        return Err(Unreadable::Newer(version));
    }
    let end = usize::try_from(fields.get_u64()).ok().and_then(|c| c.checked_add(HEADER_BYTES));
    end.filter(|end| *end <= file.len())
        .ok_or_else(|| damaged(format!("{} is shorter than when it got its name", format.what)))
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
/// bytes of a body cannot be taken for one.
fn has_round_after(file: &Bytes, position: usize) -> bool {
    let mut head = Vec::with_capacity(FRAME_HEADER_BYTES + 9);
    (position + 1..file.len()).any(|at| {
        head.clear();
        put_round(&mut head, u64::try_from(at).expect("usize fits in u64"));
        file[at..].starts_with(&head)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMAT: Format = Format { magic: *b"MPTESTFR", version: 3, what: "a test file" };

    /// A file whose content holds frame 0 and two rounds behind it, and where the last begins.
    fn file() -> (Vec<u8>, usize) {
        let frame = |out: &mut Vec<u8>, n: u8| put_frame(out, 9, |out| out.put_slice(&[n; 5]));
        let mut frames = Vec::new();
        frame(&mut frames, 0);
        let mut file = whole_file(&FORMAT, &frames);
        let mut last = 0;
        for n in [1, 2] {
            last = file.len();
            put_round(&mut file, u64::try_from(last).unwrap());
            frame(&mut file, n);
        }
        (file, last)
    }

    fn values(readable: &Readable) -> Vec<u8> {
        readable.frames.iter().map(|frame| frame.body[0]).collect()
    }

    #[test]
    fn a_torn_last_round_is_cut_wherever_it_tears() {
        let (file, last) = file();
        assert_eq!(values(&read(&FORMAT, &file.clone().into()).unwrap()), [0, 1, 2]);
        for cut in last..file.len() {
            let readable = read(&FORMAT, &Bytes::copy_from_slice(&file[..cut])).unwrap();
            assert_eq!(values(&readable), [0, 1], "cut at {cut}");
            let mut zeros = file[..cut].to_vec();
            zeros.resize(file.len() + 100, 0);
            assert_eq!(values(&read(&FORMAT, &zeros.into()).unwrap()), [0, 1], "zeros from {cut}");
        }
    }

    #[test]
    fn a_flipped_bit_in_anything_synced_is_damage() {
        let (file, last) = file();
        for at in 0..last {
            let mut damaged = file.clone();
            damaged[at] ^= 0x10;
            let error = read(&FORMAT, &damaged.into()).unwrap_err();
            let Unreadable::Damaged { position, .. } = error else {
                panic!("byte {at}: {error:?}");
            };
            assert!(position <= at, "byte {at} reported at {position}");
        }
    }

    #[test]
    fn a_newer_version_is_named() {
        let newer = whole_file(&Format { version: 4, ..FORMAT }, &[]);
        assert_eq!(read(&FORMAT, &newer.into()).unwrap_err(), Unreadable::Newer(4));
    }
}
