//! The budget for bytes of requests between the first byte of a frame's body and the last byte of
//! its response. Memory is reserved before it is filled, so that no number of connections and no
//! length on the wire can exceed it; who finds it spent stops reading, which the client feels as
//! back-pressure.
//!
//! Small requests draw from a share of their own: a few clients that announce huge frames and send
//! them slowly must not keep everybody else waiting.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The share of requests below [`LARGE_REQUEST_BYTES_MIN`].
const SMALL_BYTES_MAX: usize = 64 << 20;
/// The share of the others, unless one request alone may be larger.
const LARGE_BYTES_MAX: usize = 256 << 20;
/// Requests from this size on are large.
const LARGE_REQUEST_BYTES_MIN: usize = 1 << 20;

const _: () = assert!(LARGE_REQUEST_BYTES_MIN <= SMALL_BYTES_MAX);

/// The budget.
#[derive(Debug)]
pub(crate) struct RequestMemory {
    small: Share,
    large: Share,
}

#[derive(Debug)]
struct Share {
    bytes_max: usize,
    free: Arc<Semaphore>,
}

/// Reserved bytes, given back when dropped.
#[derive(Debug)]
pub(crate) struct Reserved(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

impl RequestMemory {
    /// A budget that at least one request of `request_bytes_max` fits into.
    pub(crate) fn new(request_bytes_max: usize) -> Self {
        Self {
            small: Share::new(SMALL_BYTES_MAX),
            large: Share::new(LARGE_BYTES_MAX.max(request_bytes_max)),
        }
    }

    /// Reserves `bytes`, in order of arrival among requests of its size. A request beyond the whole
    /// share takes all of it. May be cancelled.
    pub(crate) async fn reserve(&self, bytes: usize) -> Reserved {
        let share = if bytes < LARGE_REQUEST_BYTES_MIN { &self.small } else { &self.large };
        let permits = u32::try_from(bytes.min(share.bytes_max)).unwrap_or(u32::MAX);
        // Fails also while others wait, so that nobody is overtaken.
        if let Ok(permit) = Arc::clone(&share.free).try_acquire_many_owned(permits) {
            return Reserved(permit);
        }
        let permit = Arc::clone(&share.free).acquire_many_owned(permits).await;
        Reserved(permit.expect("the semaphore of the budget is never closed"))
    }

    /// Bytes reserved now.
    pub(crate) fn reserved_bytes(&self) -> usize {
        self.small.reserved_bytes() + self.large.reserved_bytes()
    }
}

impl Share {
    fn new(bytes_max: usize) -> Self {
        Self { bytes_max, free: Arc::new(Semaphore::new(bytes_max)) }
    }

    fn reserved_bytes(&self) -> usize {
        self.bytes_max - self.free.available_permits()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_request_waits_until_another_has_left() {
        let memory = RequestMemory::new(1 << 20);
        let first = memory.reserve(LARGE_BYTES_MAX).await;
        let second = memory.reserve(LARGE_REQUEST_BYTES_MIN);
        tokio::pin!(second);
        assert!(tokio::time::timeout(Duration::from_secs(1), &mut second).await.is_err());
        // Small requests do not stand behind large ones.
        drop(memory.reserve(1000).await);
        drop(first);
        let reserved = second.await;
        assert_eq!(memory.reserved_bytes(), LARGE_REQUEST_BYTES_MIN);
        drop(reserved);
        assert_eq!(memory.reserved_bytes(), 0);
    }

    #[tokio::test]
    async fn a_request_larger_than_the_budget_takes_all_of_it() {
        let memory = RequestMemory::new(1 << 30);
        let _all = memory.reserve(2 << 30).await;
        assert_eq!(memory.reserved_bytes(), 1 << 30);
    }
}
