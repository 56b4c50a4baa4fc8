//! What the machine allows, and how the broker shares it out: descriptors and disk space.

use std::path::Path;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use storage::data_dir::DataDirConfig;
use tracing::debug;

use crate::settings::BrokerSettings;

/// Of the descriptors, this part is for segment and index files…
const FILES_SHARE: usize = 3;
/// …but not more than this many: they are opened again when they are needed.
const FILES_MAX: usize = 8192;
/// Descriptors that neither files nor Kafka clients may take: listeners, HTTP, the data directory.
const DESCRIPTORS_RESERVED: usize = 256;
/// Where there is no limit to ask for, or none to be read.
const DESCRIPTORS_ASSUMED: usize = 1024;
/// Recent batches kept in memory for readers at the tail.
const TAIL_CACHE_BYTES_MAX: usize = 64 << 20;
/// Of the memory, this part may be pages of segment files. Consumers that are not further behind than
/// that read from memory; the rest of the machine keeps its own.
const PAGE_CACHE_SHARE: u64 = 8;
/// Bytes that may wait for the disk. More than a disk takes in a few commits only adds latency.
const PENDING_BYTES_MAX: usize = 128 << 20;
/// Writes are refused below this much free space…
const FREE_BYTES_MIN: u64 = 512 << 20;
/// …or below this part of a small disk.
const FREE_SHARE_MIN: u64 = 20;

/// How the descriptors are shared out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Descriptors {
    /// Segment and index files open at once.
    pub(crate) files_max: usize,
    /// Connections of Kafka clients.
    pub(crate) connections_max: usize,
}

impl Descriptors {
    /// Raises the limit of this process to what it may have, and shares it out.
    pub(crate) fn of_this_process() -> Self {
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        let raised = Rlimit { current: maximum, maximum };
        let limit = match setrlimit(Resource::Nofile, raised) {
            Ok(()) => maximum,
            Err(error) => {
                debug!(%error, "cannot raise the limit of open files");
                current
            }
        };
        Self::share(limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX)))
    }

    fn share(limit: usize) -> Self {
        let limit = if limit == 0 { DESCRIPTORS_ASSUMED } else { limit };
        let files_max = (limit / FILES_SHARE).min(FILES_MAX);
        let taken = files_max + DESCRIPTORS_RESERVED.min(limit / FILES_SHARE);
        Self { files_max, connections_max: limit.saturating_sub(taken) }
    }
}

/// The limits of the data directory at `path`, which need not exist yet.
pub(crate) fn data_dir_config(
    path: &Path,
    settings: &BrokerSettings,
    descriptors: Descriptors,
) -> DataDirConfig {
    DataDirConfig {
        open_files_max: descriptors.files_max,
        tail_cache_bytes_max: TAIL_CACHE_BYTES_MAX,
        page_cache_bytes_max: memory_bytes() / PAGE_CACHE_SHARE,
        pending_bytes_max: PENDING_BYTES_MAX,
        free_bytes_min: free_bytes_min(disk_bytes(path)),
        producer_expiration: settings.producer_id_expiration,
    }
}

/// The machine's memory, or less where this process may not have all of it (cgroups, version 2).
fn memory_bytes() -> u64 {
    let own_group = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own_group = own_group.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or("");
    let groups = Path::new("/sys/fs/cgroup").join(own_group);
    // A group without a limit says "max".
    let limit_of = |group: &Path| {
        let limit = std::fs::read_to_string(group.join("memory.max")).ok()?;
        limit.trim().parse::<u64>().ok()
    };
    let limit = groups.ancestors().filter_map(limit_of).min().unwrap_or(u64::MAX);
    let machine = rustix::system::sysinfo();
    limit.min(machine.totalram.saturating_mul(u64::from(machine.mem_unit)))
}

fn free_bytes_min(disk_bytes: Option<u64>) -> u64 {
    disk_bytes.map_or(FREE_BYTES_MIN, |bytes| FREE_BYTES_MIN.min(bytes / FREE_SHARE_MIN))
}

/// The size of the disk that `path` is on, or will be on.
fn disk_bytes(path: &Path) -> Option<u64> {
    let existing = path.ancestors().find(|path| path.exists()).unwrap_or_else(|| Path::new("."));
    let disk = rustix::fs::statvfs(existing).ok()?;
    Some(disk.f_blocks.saturating_mul(disk.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_never_given_away_twice() {
        for limit in [1, 256, 1024, 4096, 20_000, 1 << 20] {
            let Descriptors { files_max, connections_max } = Descriptors::share(limit);
            assert!(files_max + connections_max <= limit, "{limit}");
            assert!(limit < 1024 || connections_max >= limit / 3, "{limit}");
        }
    }

    #[test]
    fn a_small_disk_is_not_refused_for_its_size() {
        assert_eq!(free_bytes_min(Some(64 << 20)), (64 << 20) / 20);
        assert_eq!(free_bytes_min(Some(1 << 40)), FREE_BYTES_MIN);
        assert!(disk_bytes(Path::new("/proc/self/does-not-exist")).is_some());
    }
}
