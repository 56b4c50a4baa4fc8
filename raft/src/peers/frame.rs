//! What stands on a connection between two nodes: frames, and how they are read and written.
//!
//! ```text
//! all fields big-endian
//! frame  ├ u32 length ┼ u32 crc32c ┼ u8 version ┼ u8 kind ┼ u8 service ┼ u8 0 ┼ u64 correlation ┼ payload ┤
//!        length and CRC are those of everything behind the CRC
//! kind   1 hello, 2 challenge, 3 proof, 4 welcome, 5 refused     see `hello`
//!        6 request    to a service
//!        7 answer     to the request with the same correlation
//!        8 refusal    of that request: a sentence
//!        9 ping, 10 pong
//! ```
//! A payload is written from the pieces it is made of and read into one buffer. The length is checked
//! against the limit of the moment before anything is allocated, and nothing here panics for bytes.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The version of everything between nodes.
pub(super) const VERSION: u8 = 1;
/// Length and CRC.
const PREFIX_BYTES: usize = 8;
/// What follows them in every frame.
const FIXED_BYTES: usize = 12;
/// Pieces that go to the socket in one call.
const PIECES_PER_WRITE_MAX: usize = 64;

/// What a frame is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Hello,
    Challenge,
    Proof,
    Welcome,
    Refused,
    Request,
    Answer,
    Refusal,
    Ping,
    Pong,
}

impl Kind {
    const ALL: [(Self, u8); 10] = [
        (Self::Hello, 1),
        (Self::Challenge, 2),
        (Self::Proof, 3),
        (Self::Welcome, 4),
        (Self::Refused, 5),
        (Self::Request, 6),
        (Self::Answer, 7),
        (Self::Refusal, 8),
        (Self::Ping, 9),
        (Self::Pong, 10),
    ];

    fn tag(self) -> u8 {
        let found = Self::ALL.iter().find(|(kind, _)| *kind == self);
        found.expect("the table lists every kind").1
    }

    fn of(tag: u8) -> Option<Self> {
        Self::ALL.iter().find(|(_, listed)| *listed == tag).map(|(kind, _)| *kind)
    }
}

/// Why a connection cannot go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    /// The socket's.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Between two frames, or within one.
    #[error("the connection was closed")]
    Closed,
    /// Nothing came for too long.
    #[error("nothing came for {0:?}")]
    Silent(Duration),
    /// These bytes are no frame of ours.
    #[error("it sent {0}")]
    Garbage(String),
}

/// A frame that came.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) kind: Kind,
    pub(super) service: u8,
    pub(super) correlation: u64,
    pub(super) payload: Bytes,
}

/// A frame to be sent, in pieces.
#[derive(Debug, Default)]
pub(super) struct Pieces(VecDeque<Bytes>);

impl Pieces {
    /// Adds a frame behind what is there already.
    pub(super) fn push(&mut self, kind: Kind, service: u8, correlation: u64, payload: Vec<Bytes>) {
        let length = FIXED_BYTES + payload.iter().map(Bytes::len).sum::<usize>();
        let mut head = BytesMut::with_capacity(PREFIX_BYTES + FIXED_BYTES);
        head.put_u32(u32::try_from(length).expect("messages are limited to far less than 4 GiB"));
        head.put_u32(0);
        head.put_slice(&[VERSION, kind.tag(), service, 0]);
        head.put_u64(correlation);
        let fixed = crc32c::crc32c(&head[PREFIX_BYTES..]);
        let crc = payload.iter().fold(fixed, |crc, piece| crc32c::crc32c_append(crc, piece));
        head[4..PREFIX_BYTES].copy_from_slice(&crc.to_be_bytes());
        self.0.push_back(head.freeze());
        self.0.extend(payload.into_iter().filter(|piece| !piece.is_empty()));
    }

    /// Bytes that wait.
    pub(super) fn bytes(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    /// Writes all of it. Cancelled, it leaves a frame half written: then the connection is of no use.
    pub(super) async fn write(&mut self, to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        while !self.0.is_empty() {
            let slices = self.0.iter().take(PIECES_PER_WRITE_MAX);
            let slices = slices.map(|piece| io::IoSlice::new(piece)).collect::<Vec<_>>();
            let mut written = to.write_vectored(&slices).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            while let Some(front) = self.0.front_mut() {
                if written < front.len() {
                    front.advance(written);
                    break;
                }
                written -= front.len();
                self.0.pop_front();
            }
        }
        to.flush().await
    }
}

/// Reads one frame of at most `payload_bytes_max`. An error also if nothing comes for `silence_max`.
/// Cancelled, it leaves a frame half read: then the connection is of no use.
pub(super) async fn read_frame(
    from: &mut (impl AsyncRead + Unpin),
    payload_bytes_max: usize,
    silence_max: Duration,
) -> Result<Frame, FrameError> {
    let mut prefix = read_exactly(from, PREFIX_BYTES, silence_max).await?;
    let (length, crc) = (prefix.get_u32(), prefix.get_u32());
    let garbage = |what: String| Err(FrameError::Garbage(what));
    let Some(length) = usize::try_from(length)
        .ok()
        .filter(|bytes| (FIXED_BYTES..=FIXED_BYTES + payload_bytes_max).contains(bytes))
    else {
        return garbage(format!(
            "a frame of {length} bytes, where at most {payload_bytes_max} are expected"
        ));
    };
    let mut frame = read_exactly(from, length, silence_max).await?;
    if crc32c::crc32c(&frame) != crc {
        return garbage("a frame that fails its checksum".to_owned());
    }
    let (version, kind) = (frame.get_u8(), frame.get_u8());
    if version != VERSION {
        return garbage(format!("version {version}, and this node speaks {VERSION}"));
    }
    let (service, _) = (frame.get_u8(), frame.get_u8());
    let Some(kind) = Kind::of(kind) else {
        return garbage(format!("the unknown kind {kind}"));
    };
    Ok(Frame { kind, service, correlation: frame.get_u64(), payload: frame })
}

async fn read_exactly(
    from: &mut (impl AsyncRead + Unpin),
    count: usize,
    silence_max: Duration,
) -> Result<Bytes, FrameError> {
    let mut buffer = BytesMut::with_capacity(count);
    while buffer.len() < count {
        let missing = count - buffer.len();
        let mut limited = (&mut buffer).limit(missing);
        let read = tokio::time::timeout(silence_max, from.read_buf(&mut limited)).await;
        match read {
            Err(_elapsed) => return Err(FrameError::Silent(silence_max)),
            Ok(Ok(0)) => return Err(FrameError::Closed),
            Ok(read) => read?,
        };
    }
    Ok(buffer.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn encoded(payload: &[&'static [u8]]) -> Vec<u8> {
        let mut pieces = Pieces::default();
        let payload = payload.iter().map(|piece| Bytes::from_static(piece)).collect();
        pieces.push(Kind::Request, 3, 77, payload);
        pieces.0.iter().flat_map(|piece| piece.to_vec()).collect()
    }

    #[tokio::test]
    async fn what_is_written_in_pieces_is_read_as_one() {
        let (mut near, mut far) = tokio::io::duplex(16);
        let writing = tokio::spawn(async move {
            let mut pieces = Pieces::default();
            for correlation in 0..3 {
                let payload = vec![Bytes::from_static(b"one "), Bytes::new(), vec![7; 500].into()];
                pieces.push(Kind::Answer, 9, correlation, payload);
            }
            pieces.write(&mut near).await.unwrap();
        });
        for correlation in 0..3 {
            let frame = read_frame(&mut far, 504, PATIENCE).await.unwrap();
            assert_eq!((frame.kind, frame.service), (Kind::Answer, 9));
            assert_eq!(frame.correlation, correlation);
            assert_eq!((&frame.payload[..4], frame.payload.len()), (b"one ".as_slice(), 504));
        }
        writing.await.unwrap();
        let end = read_frame(&mut far, 504, PATIENCE).await;
        assert!(matches!(end, Err(FrameError::Closed)), "{end:?}");
    }

    #[tokio::test]
    async fn a_frame_cut_anywhere_or_with_any_bit_flipped_is_refused() {
        let whole = encoded(&[b"pay", b"load"]);
        assert!(read_frame(&mut whole.as_slice(), 7, PATIENCE).await.is_ok());
        for cut in 0..whole.len() {
            assert!(read_frame(&mut &whole[..cut], 7, PATIENCE).await.is_err(), "cut at {cut}");
        }
        for at in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[at / 8] ^= 1 << (at % 8);
            let read = read_frame(&mut flipped.as_slice(), 1000, PATIENCE).await;
            assert!(read.is_err(), "bit {at}");
        }
    }

    #[tokio::test]
    async fn a_length_beyond_the_limit_is_refused_before_it_is_read() {
        let whole = encoded(&[b"payload"]);
        let read = read_frame(&mut &whole[..PREFIX_BYTES], 6, PATIENCE).await;
        assert!(matches!(read, Err(FrameError::Garbage(_))), "{read:?}");
    }
}
