//! The bounded pool of buffers that sockets are read into.
//!
//! A connection holds a buffer only while bytes arrive: an idle one holds none. Frames are split
//! off without a copy, so a buffer's front may be pinned by record bytes that live on; what is left
//! of it goes to the next borrower. A buffer that is used up is remembered, and lent again once its
//! frames are gone: fresh memory costs a page fault for every 4 KiB. Must never give out more than
//! [`READ_BUFFERS_MAX`] at once.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Size of a buffer: measured as the sweet spot between system calls and cache misses.
pub(crate) const READ_BUFFER_BYTES: usize = 256 << 10;
/// A buffer with less room than this is not worth a system call; it is replaced.
pub(crate) const READ_BYTES_MIN: usize = 64 << 10;
/// Buffers lent at once; who comes later waits its turn. A holder keeps its buffer only while its
/// bytes are being handed out, so the wait is short.
pub(crate) const READ_BUFFERS_MAX: usize = 256;
/// Buffers kept for the next borrower; more are given back to the allocator.
const FREE_BUFFERS_MAX: usize = 16;
/// Used up buffers that are remembered, and likewise large frames: somewhat more than the tail cache
/// pins while it is full.
const USED_BYTES_MAX: usize = 80 << 20;

const _: () = assert!(READ_BYTES_MIN < READ_BUFFER_BYTES);

/// The pool.
#[derive(Debug)]
pub(crate) struct ReadBuffers {
    kept: Mutex<Kept>,
    lent: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Kept {
    free: Vec<BytesMut>,
    used: UsedUp,
    large: UsedUp,
}

/// Memory without room, to be taken again when nobody looks at its bytes any more: mostly in the
/// order in which it was used up.
#[derive(Debug, Default)]
struct UsedUp {
    /// With the capacity that each had when it was empty.
    oldest_first: VecDeque<(usize, BytesMut)>,
    bytes: usize,
}

impl UsedUp {
    fn put(&mut self, capacity: usize, data: BytesMut) {
        self.oldest_first.push_back((capacity, data));
        self.bytes += capacity;
        while self.bytes > USED_BYTES_MAX {
            self.forget_oldest();
        }
    }

    /// Memory for `bytes`, of which not much is wasted.
    fn take(&mut self, bytes: usize) -> Option<BytesMut> {
        while let Some((capacity, oldest)) = self.oldest_first.front_mut() {
            if !oldest.try_reclaim(*capacity) {
                return None;
            }
            let fits = (bytes..=bytes + bytes / 4).contains(capacity);
            let data = self.forget_oldest().filter(|_| fits);
            if data.is_some() {
                return data;
            }
        }
        None
    }

    fn forget_oldest(&mut self) -> Option<BytesMut> {
        let (capacity, data) = self.oldest_first.pop_front()?;
        self.bytes -= capacity;
        Some(data)
    }
}

impl ReadBuffers {
    /// An empty pool: buffers are made when they are first needed.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { kept: Mutex::default(), lent: Arc::new(Semaphore::new(READ_BUFFERS_MAX)) })
    }

    /// Lends a buffer with room for at least [`READ_BYTES_MIN`] behind `unread_bytes` that the
    /// borrower brings along. May be cancelled.
    pub(crate) async fn lend(self: &Arc<Self>, unread_bytes: usize) -> ReadBuffer {
        let permit = match Arc::clone(&self.lent).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_none_left) => {
                let permit = Arc::clone(&self.lent).acquire_owned().await;
                permit.expect("the semaphore of the pool is never closed")
            }
        };
        let needed_bytes = unread_bytes + READ_BYTES_MIN;
        let kept = {
            let mut kept = self.kept.lock();
            let free = kept.free.pop().filter(|data| data.capacity() >= needed_bytes);
            free.or_else(|| kept.used.take(READ_BUFFER_BYTES.max(needed_bytes)))
        };
        let data =
            kept.unwrap_or_else(|| BytesMut::with_capacity(READ_BUFFER_BYTES.max(needed_bytes)));
        ReadBuffer { data, start: 0, pool: Arc::clone(self), _permit: permit }
    }

    /// Memory of its own for a frame that is too large for a read buffer, and reserved already.
    pub(crate) fn for_large_frame(&self, frame_bytes: usize) -> BytesMut {
        let used = self.kept.lock().large.take(frame_bytes);
        used.unwrap_or_else(|| BytesMut::with_capacity(frame_bytes))
    }

    /// The whole of a large frame. Its memory is remembered.
    pub(crate) fn freeze_large_frame(&self, mut frame: BytesMut) -> Bytes {
        let capacity = frame.capacity();
        let bytes = frame.split().freeze();
        self.kept.lock().large.put(capacity, frame);
        bytes
    }

    /// Buffers that are lent now.
    pub(crate) fn lent_count(&self) -> usize {
        READ_BUFFERS_MAX - self.lent.available_permits()
    }

    /// Bytes in buffers that are lent or kept.
    pub(crate) fn bytes(&self) -> usize {
        let kept = self.kept.lock();
        (self.lent_count() + kept.free.len()) * READ_BUFFER_BYTES
            + kept.used.bytes
            + kept.large.bytes
    }

    fn take_back(&self, mut data: BytesMut) {
        data.clear();
        // True if all frames that were split off are gone, or enough room is left beside them.
        let is_free = data.try_reclaim(READ_BUFFER_BYTES) || data.capacity() >= READ_BYTES_MIN;
        let mut kept = self.kept.lock();
        if !is_free {
            kept.used.put(READ_BUFFER_BYTES, data);
        } else if kept.free.len() < FREE_BUFFERS_MAX {
            kept.free.push(data);
        }
    }
}

/// A lent buffer. Goes back to the pool when dropped.
#[derive(Debug)]
pub(crate) struct ReadBuffer {
    /// Received bytes; those before `start` are consumed.
    data: BytesMut,
    start: usize,
    pool: Arc<ReadBuffers>,
    _permit: OwnedSemaphorePermit,
}

impl ReadBuffer {
    /// Bytes received and not consumed.
    pub(crate) fn unread(&self) -> &[u8] {
        self.data.get(self.start..).unwrap_or_default()
    }

    /// How many bytes fit behind what was received.
    pub(crate) fn room(&self) -> usize {
        self.data.capacity() - self.data.len()
    }

    /// How large the unread bytes can become in this buffer.
    pub(crate) fn room_from_unread(&self) -> usize {
        self.data.capacity() - self.start
    }

    /// Where the socket writes to. Only appended to.
    pub(crate) const fn tail(&mut self) -> &mut BytesMut {
        &mut self.data
    }

    /// Puts `bytes` behind what was received; the caller has seen that there is room.
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        assert!(bytes.len() <= self.room(), "a read buffer never grows");
        self.data.extend_from_slice(bytes);
    }

    /// Consumes `count` unread bytes. A wholly consumed buffer starts anew, so that only frames
    /// which were split off use it up.
    pub(crate) fn consume(&mut self, count: usize) {
        assert!(count <= self.data.len() - self.start, "only received bytes can be consumed");
        self.start += count;
        if self.start == self.data.len() {
            self.data.clear();
            self.start = 0;
        }
    }

    /// Splits off the first `count` unread bytes without a copy.
    pub(crate) fn split(&mut self, count: usize) -> Bytes {
        self.data.advance(self.start);
        self.start = 0;
        self.data.split_to(count).freeze()
    }
}

impl Drop for ReadBuffer {
    fn drop(&mut self) {
        self.pool.take_back(std::mem::take(&mut self.data));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_buffer_without_pinned_frames_is_lent_again_whole() {
        let pool = ReadBuffers::new();
        let mut buffer = pool.lend(0).await;
        buffer.put(&[7; 100]);
        let address = buffer.unread().as_ptr();
        buffer.consume(100);
        drop(buffer);
        let mut again = pool.lend(0).await;
        again.put(&[8; 100]);
        assert_eq!(again.unread().as_ptr(), address);
        assert_eq!(again.room(), READ_BUFFER_BYTES - 100);
    }

    #[tokio::test]
    async fn a_pinned_frame_is_never_written_over() {
        let pool = ReadBuffers::new();
        let mut buffer = pool.lend(0).await;
        buffer.put(&[7; 1000]);
        buffer.consume(10);
        let frame = buffer.split(500);
        drop(buffer);
        let mut again = pool.lend(0).await;
        let room = again.room();
        again.put(&vec![9; room]);
        assert_eq!(frame, vec![7; 500]);
    }

    #[tokio::test]
    async fn a_used_up_buffer_is_lent_again_when_its_frames_are_gone() {
        let pool = ReadBuffers::new();
        let mut buffer = pool.lend(0).await;
        buffer.put(&[1; READ_BUFFER_BYTES]);
        let address = buffer.unread().as_ptr();
        let frames = [buffer.split(READ_BUFFER_BYTES - 10), buffer.split(10)];
        drop(buffer);
        let mut other = pool.lend(0).await;
        other.put(&[2; READ_BUFFER_BYTES]);
        assert_eq!(frames.concat(), vec![1; READ_BUFFER_BYTES]);
        drop(frames);
        let mut again = pool.lend(0).await;
        again.put(&[3; 10]);
        assert_eq!(again.unread().as_ptr(), address);
        assert_eq!(again.room(), READ_BUFFER_BYTES - 10);
        assert_eq!(other.unread(), [2; READ_BUFFER_BYTES]);
    }

    #[test]
    fn memory_of_large_frames_is_used_again_within_bounds() {
        const FRAME_BYTES: usize = 1 << 20;
        let pool = ReadBuffers::new();
        let frame = || {
            let mut frame = pool.for_large_frame(FRAME_BYTES);
            frame.extend_from_slice(&[1; FRAME_BYTES]);
            pool.freeze_large_frame(frame)
        };
        let first = frame();
        let address = first.as_ptr();
        assert_ne!(frame().as_ptr(), address, "it is still looked at");
        drop(first);
        assert_eq!(frame().as_ptr(), address);
        let too_small = pool.for_large_frame(3 * FRAME_BYTES);
        assert_eq!(too_small.capacity(), 3 * FRAME_BYTES);
        let pinned: Vec<_> = std::iter::repeat_with(frame).take(100).collect();
        assert_eq!(pool.bytes(), USED_BYTES_MAX);
        drop(pinned);
    }

    #[tokio::test]
    async fn a_used_up_buffer_is_replaced() {
        let pool = ReadBuffers::new();
        let mut buffer = pool.lend(0).await;
        buffer.put(&[1; READ_BUFFER_BYTES]);
        let frame = buffer.split(READ_BUFFER_BYTES);
        drop(buffer);
        assert_eq!(pool.lend(0).await.room(), READ_BUFFER_BYTES);
        drop(frame);
    }
}
