//! Which part of the journal's file is in use: pure bookkeeping.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use crate::device::DeviceFile;
use crate::log::Log;
use crate::log::sync_job::SyncJob;
use crate::scan::as_u64;

/// Files with bytes in the records of one half; each keeps a descriptor.
const FILES_MAX: usize = 256;

/// A segment file that is not synced as far as a record says.
#[derive(Debug, Clone)]
pub(super) struct Unsynced {
    pub(super) path: PathBuf,
    pub(super) handle: Arc<dyn DeviceFile>,
    pub(super) log: Weak<Log>,
}

/// Where a record goes.
pub(super) struct Place {
    pub(super) position: u64,
    /// Whether the other half can be synced from now on.
    pub(super) fills_half: bool,
}

#[derive(Default)]
struct Half {
    /// Which lap its records belong to; laps count over both halves.
    lap: u64,
    unsynced: Vec<Unsynced>,
}

/// The two halves.
pub(super) struct Ring {
    half_bytes: u64,
    halves: [Half; 2],
    current: usize,
    /// Bytes in use of the current half.
    used_bytes: u64,
    sequence: u64,
    /// Whether a replay would find a record, synced or not.
    has_records: bool,
}

impl Ring {
    /// An empty ring of `bytes`.
    pub(super) fn new(bytes: u64) -> Self {
        let mut ring = Self {
            half_bytes: bytes / 2,
            halves: Default::default(),
            current: 0,
            used_bytes: 0,
            sequence: 1,
            has_records: false,
        };
        ring.halves[0].lap = 1;
        ring
    }

    /// The sequence number of the next record.
    pub(super) const fn next_sequence(&self) -> u64 {
        self.sequence
    }

    /// Room for a record of `jobs`, whose files count as unsynced from now on; `None` if there is none.
    pub(super) fn reserve(&mut self, bytes: usize, jobs: &[SyncJob]) -> Option<Place> {
        let bytes = as_u64(bytes);
        if bytes > self.half_bytes {
            return None;
        }
        let has_files_left = self.halves[self.current].unsynced.len() < FILES_MAX;
        let fits = self.used_bytes + bytes <= self.half_bytes && has_files_left;
        if !fits {
            let other = 1 - self.current;
            if !self.halves[other].unsynced.is_empty() {
                return None;
            }
            self.halves[other].lap = self.halves[self.current].lap + 1;
            (self.current, self.used_bytes) = (other, 0);
        }
        let position = self.heads()[self.current] + self.used_bytes;
        self.used_bytes += bytes;
        self.sequence += 1;
        self.has_records = true;
        self.halves[self.current].note(jobs);
        Some(Place { position, fills_half: !fits })
    }

    /// Where the halves begin.
    pub(super) const fn heads(&self) -> [u64; 2] {
        [0, self.half_bytes]
    }

    /// Whether a replay would find anything, be it synced or not.
    pub(super) const fn has_records(&self) -> bool {
        self.has_records
    }

    /// The half that is full and not synced, by its lap.
    pub(super) fn filled(&self) -> Option<(u64, Vec<Unsynced>)> {
        let half = &self.halves[1 - self.current];
        (!half.unsynced.is_empty()).then(|| (half.lap, half.unsynced.clone()))
    }

    /// The files of a lap are synced; its half may be overwritten.
    pub(super) fn synced(&mut self, lap: u64) {
        for half in self.halves.iter_mut().filter(|half| half.lap == lap) {
            half.unsynced.clear();
        }
    }

    /// Files that are `gone` from their logs need no sync, and their space is wanted.
    pub(super) fn forget(&mut self, gone: impl Fn(&Path) -> bool) {
        for half in &mut self.halves {
            half.unsynced.retain(|file| !gone(&file.path));
        }
    }

    /// All files that are not synced.
    pub(super) fn unsynced(&self) -> Vec<Unsynced> {
        self.halves.iter().flat_map(|half| half.unsynced.iter().cloned()).collect()
    }

    /// Everything is synced, and no half begins with a record any more.
    pub(super) fn clear(&mut self) {
        let lap = self.halves[self.current].lap + 1;
        self.halves = Default::default();
        self.halves[self.current].lap = lap;
        (self.used_bytes, self.has_records) = (0, false);
    }
}

impl Half {
    fn note(&mut self, jobs: &[SyncJob]) {
        for job in jobs {
            for file in &job.files {
                // The last ones first: a log writes to the same file again and again.
                let is_known =
                    |known: &Unsynced| Arc::ptr_eq(known.handle.std_file(), file.handle.std_file());
                if !self.unsynced.iter().rev().any(is_known) {
                    self.unsynced.push(Unsynced {
                        path: file.path.clone(),
                        handle: Arc::clone(&file.handle),
                        log: Arc::downgrade(job.log()),
                    });
                }
            }
        }
    }
}
