//! Incremental fetch sessions (KIP-227): a bounded cache of what clients fetch.
//!
//! A session belongs to no connection: a client names it by id and by the epoch of its next request.
//! Its state is in [`session`]; this file decides which sessions exist.
//!
//! Bounds: `max.incremental.fetch.session.cache.slots` sessions, and [`CACHED_PARTITIONS_MAX`]
//! partitions over all of them. Who finds no room is served without a session, which is legal.
//! A full cache makes room as Kafka does: first a session that nobody used for
//! [`EVICTION_AGE`], then a smaller one that has lived that long.

pub(crate) mod session;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use session::{Session, SessionError};

/// How long a session is safe from larger ones, and how long an unused one is kept if others want
/// its place (Kafka's figure).
const EVICTION_AGE: Duration = Duration::from_secs(120);

/// Partitions over all sessions: some 200 MB at the very worst.
const CACHED_PARTITIONS_MAX: usize = 1 << 20;

/// The id that means "no session".
pub(crate) const NO_SESSION: i32 = 0;

/// A session that its request and the cache share.
pub(crate) type SharedSession = Arc<Mutex<Session>>;

/// All sessions of this broker.
#[derive(Debug)]
pub(crate) struct FetchSessions {
    slots_max: usize,
    cache: Mutex<Cache>,
}

#[derive(Debug, Default)]
struct Cache {
    entries: HashMap<i32, Entry>,
    /// (last use, id), longest unused first.
    by_use: BTreeSet<(Instant, i32)>,
    /// (partitions, id), smallest first.
    by_size: BTreeSet<(usize, i32)>,
    partitions: usize,
}

#[derive(Debug)]
struct Entry {
    session: SharedSession,
    size: usize,
    created: Instant,
    used: Instant,
}

impl FetchSessions {
    /// A cache of `slots_max` sessions at most; 0 turns sessions off.
    pub(crate) fn new(slots_max: usize) -> Self {
        Self { slots_max, cache: Mutex::default() }
    }

    /// The session of this id.
    pub(crate) fn get(&self, id: i32) -> Result<SharedSession, SessionError> {
        let cache = self.cache.lock();
        cache.entries.get(&id).map(|entry| entry.session.clone()).ok_or(SessionError::UnknownId)
    }

    /// Notes a use of the session and its present size. `false` if it is not in the cache, or not
    /// any longer because it outgrew the cache.
    #[must_use]
    pub(crate) fn touch(&self, id: i32, size: usize, now: Instant) -> bool {
        let mut cache = self.cache.lock();
        let Some(entry) = cache.remove(id) else { return false };
        if cache.partitions + size > CACHED_PARTITIONS_MAX {
            return false;
        }
        cache.insert(id, Entry { size, used: now, ..entry });
        true
    }

    /// Ends a session.
    pub(crate) fn remove(&self, id: i32) {
        self.cache.lock().remove(id);
    }

    /// Keeps a new session if there is room or room can be made; [`NO_SESSION`] if not.
    pub(crate) fn insert(&self, session: SharedSession, size: usize, now: Instant) -> i32 {
        let mut cache = self.cache.lock();
        let full = |cache: &Cache| {
            cache.entries.len() >= self.slots_max
                || cache.partitions.saturating_add(size) > CACHED_PARTITIONS_MAX
        };
        while full(&cache) {
            let Some(victim) = cache.victim(size, now) else { return NO_SESSION };
            cache.remove(victim);
        }
        let id = cache.free_id();
        cache.insert(id, Entry { session, size, created: now, used: now });
        id
    }

    /// How many sessions there are, and how many partitions in them.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let cache = self.cache.lock();
        (cache.entries.len(), cache.partitions)
    }
}

impl Cache {
    fn insert(&mut self, id: i32, entry: Entry) {
        self.by_use.insert((entry.used, id));
        self.by_size.insert((entry.size, id));
        self.partitions += entry.size;
        self.entries.insert(id, entry);
    }

    fn remove(&mut self, id: i32) -> Option<Entry> {
        let entry = self.entries.remove(&id)?;
        self.by_use.remove(&(entry.used, id));
        self.by_size.remove(&(entry.size, id));
        self.partitions -= entry.size;
        Some(entry)
    }

    /// Who makes room for a session of `size` partitions.
    fn victim(&self, size: usize, now: Instant) -> Option<i32> {
        let &(used, longest_unused) = self.by_use.first()?;
        if now.saturating_duration_since(used) > EVICTION_AGE {
            return Some(longest_unused);
        }
        let is_old = |id: &i32| {
            self.entries
                .get(id)
                .is_some_and(|entry| now.saturating_duration_since(entry.created) > EVICTION_AGE)
        };
        let smaller = self.by_size.iter().take_while(|(other, _)| *other < size);
        smaller.map(|(_, id)| *id).find(is_old)
    }

    /// An id that nobody uses. Random, so that a client whose session was evicted does not find
    /// another's in its place.
    fn free_id(&self) -> i32 {
        loop {
            let id = rand::random_range(1..=i32::MAX);
            if !self.entries.contains_key(&id) {
                return id;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[expect(clippy::disallowed_methods, reason = "an origin to count from; never compared to now")]
    fn start() -> Instant {
        Instant::now()
    }

    fn session() -> SharedSession {
        Arc::new(Mutex::new(Session::new(true)))
    }

    #[test]
    fn a_full_cache_refuses_until_a_session_is_unused_for_long() {
        let (sessions, start) = (FetchSessions::new(1), start());
        let first = sessions.insert(session(), 3, start);
        assert_ne!(first, NO_SESSION);
        assert_eq!(sessions.insert(session(), 3, at(start, 120)), NO_SESSION);
        let second = sessions.insert(session(), 1, at(start, 121));
        assert_ne!(second, NO_SESSION);
        assert_eq!(sessions.get(first).unwrap_err(), SessionError::UnknownId);
        assert_eq!(sessions.counts(), (1, 1));
    }

    #[test]
    fn a_larger_session_takes_the_place_of_an_old_smaller_one_in_use() {
        let (sessions, start) = (FetchSessions::new(2), start());
        let small = sessions.insert(session(), 1, start);
        let large = sessions.insert(session(), 9, start);
        assert!(
            sessions.touch(small, 2, at(start, 100)) && sessions.touch(large, 9, at(start, 100))
        );
        assert_eq!(sessions.insert(session(), 5, at(start, 110)), NO_SESSION, "both are young");
        assert_eq!(sessions.insert(session(), 2, at(start, 130)), NO_SESSION, "none is smaller");
        assert_ne!(sessions.insert(session(), 5, at(start, 130)), NO_SESSION);
        assert!(sessions.get(small).is_err() && sessions.get(large).is_ok());
        assert_eq!(sessions.counts(), (2, 14));
    }

    #[test]
    fn all_sessions_together_are_bounded() {
        let (sessions, start) = (FetchSessions::new(8), start());
        let id = sessions.insert(session(), CACHED_PARTITIONS_MAX - 1, start);
        assert_eq!(sessions.insert(session(), 2, start), NO_SESSION);
        assert!(!sessions.touch(id, CACHED_PARTITIONS_MAX + 1, start), "it outgrew the cache");
        assert_eq!(sessions.counts(), (0, 0));
    }

    #[test]
    fn no_slots_means_no_sessions() {
        assert_eq!(FetchSessions::new(0).insert(session(), 1, start()), NO_SESSION);
    }
}
