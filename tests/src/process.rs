//! What the operating system tells about a process that runs: memory and open files.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs;

/// Memory that belongs to the process alone, in bytes: its heap and stacks, not the files that it
/// maps and not what the kernel holds for it.
pub fn anonymous_bytes(pid: u32) -> u64 {
    status_bytes(pid, "RssAnon:")
}

/// All memory of the process that is resident, mapped files included, in bytes.
pub fn resident_bytes(pid: u32) -> u64 {
    status_bytes(pid, "VmRSS:")
}

/// The most memory that was ever resident, in bytes.
pub fn resident_peak_bytes(pid: u32) -> u64 {
    status_bytes(pid, "VmHWM:")
}

/// How many files and sockets the process has open.
pub fn descriptor_count(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).expect("the process runs and is ours").count()
}

/// Lets this process, the test, open at least so many files.
pub fn raise_descriptors_max(descriptors: usize) {
    let wanted = u64::try_from(descriptors).expect("a small number");
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_some_and(|current| current < wanted) {
        let raised = Rlimit { current: maximum, maximum };
        setrlimit(Resource::Nofile, raised).expect("the limit up to its maximum is ours to set");
    }
    let enough = maximum.is_none_or(|maximum| maximum >= wanted);
    assert!(enough, "this test opens {descriptors} files; `ulimit -Hn` says {maximum:?}");
}

fn status_bytes(pid: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kilobytes =
        line.and_then(|line| line.split_whitespace().next()).and_then(|n| n.parse().ok());
    let kilobytes: u64 = kilobytes.unwrap_or_else(|| panic!("{field} in {status}"));
    kilobytes * 1024
}
