//! The directory of a comparison: made below the one that is asked for, one folder for each broker,
//! and gone when the value is dropped. Keeps the disk out of the way of the next load.

use crate::compare::program::Interrupt;
use anyhow::{Context as _, Result, ensure};
use rustix::fs::{StatVfs, statvfs, sync};
use std::cell::Cell;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process;
use std::time::Duration;

/// Begins the name of each directory made here; a process id follows.
const PREFIX: &str = "compare-";

/// Free space without which nothing starts: what is on the disk at once at most, and as much again.
const FREE_BYTES_MIN: u64 = 40_000_000_000;

/// How often, and how many times, a broker's directory is looked at until deleted topics are gone.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
const LOOKS_MAX: u32 = 150;

/// A place for brokers' directories.
#[derive(Debug)]
pub struct Area {
    root: PathBuf,
    made: Cell<u32>,
}

impl Area {
    /// Makes the place, after removing what killed comparisons have left there.
    ///
    /// # Errors
    /// The directory cannot be written, or has too little space.
    pub fn below(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        remove_leftovers(dir)?;
        let root = dir.canonicalize()?.join(format!("{PREFIX}{}", process::id()));
        fs::create_dir(&root)?;
        let free = free_bytes(&statvfs(&root)?);
        let area = Self { root, made: Cell::new(0) };
        ensure!(free >= FREE_BYTES_MIN, "{} has only {} GB free", dir.display(), free >> 30);
        Ok(area)
    }

    /// The place itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A new folder in it.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn fresh(&self) -> Result<PathBuf> {
        self.made.set(self.made.get() + 1);
        let dir = self.root.join(self.made.get().to_string());
        fs::create_dir(&dir)?;
        Ok(dir)
    }

    /// Removes a broker's folder, and waits until the disk has nothing left to do.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn discard(&self, dir: &Path) -> Result<()> {
        fs::remove_dir_all(dir).with_context(|| format!("cannot remove {}", dir.display()))?;
        sync();
        Ok(())
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.root));
    }
}

fn free_bytes(system: &StatVfs) -> u64 {
    system.f_bavail.saturating_mul(system.f_frsize)
}

fn remove_leftovers(dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(pid) = name.strip_prefix(PREFIX).and_then(|pid| pid.parse::<u32>().ok()) else {
            continue;
        };
        if !Path::new(&format!("/proc/{pid}")).exists() {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// Waits until a broker has removed the files of deleted topics, then until the disk is quiet.
///
/// # Errors
/// The comparison was interrupted. Files that stay are no failure: the next load only runs beside
/// their removal.
pub fn settle(broker_dir: &Path, interrupt: &Interrupt) -> Result<()> {
    for _ in 0..LOOKS_MAX {
        if !holds_deleted(&broker_dir.join("data")) {
            break;
        }
        interrupt.pause(LOOK_AGAIN)?;
    }
    sync();
    Ok(())
}

/// Whether a folder of Kafka's is on its way out: they are renamed to `TOPIC-N.ID-delete` first.
fn holds_deleted(data: &Path) -> bool {
    let entries = fs::read_dir(data).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| entry.file_name().to_string_lossy().ends_with("-delete"))
}

/// Writes everything to the disk and empties the page cache.
///
/// # Errors
/// We are not root.
pub fn drop_caches() -> Result<()> {
    sync();
    let mut file = OpenOptions::new().write(true).open("/proc/sys/vm/drop_caches")?;
    file.write_all(b"1\n").context("the page cache cannot be emptied")
}
