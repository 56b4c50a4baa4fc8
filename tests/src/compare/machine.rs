//! Where and with what a comparison ran, as the head of its report says it.

use crate::compare::namespace::congestion_control;
use crate::compare::program::{Interrupt, run, tied};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;
use std::time::Duration;

const ASK_MAX: Duration = Duration::from_secs(30);

/// The machine, the versions and the settings of a comparison.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Commit that was built, with a word if the work tree differs from it.
    pub commit: String,
    /// When, in UTC.
    pub date: String,
    /// Name and number of processors.
    pub processors: String,
    /// Main memory.
    pub memory: String,
    /// Version of the kernel.
    pub kernel: String,
    /// Kind of file system and device of the brokers' directories.
    pub file_system: String,
    /// Congestion control of the brokers' connections, and whose network it was.
    pub network: String,
    /// Version of Java.
    pub java: String,
    /// How loads were run, if not with the defaults.
    pub options: String,
}

impl Machine {
    /// Looks at this one.
    pub fn look(dir: &Path, isolated: bool, options: String, interrupt: &Interrupt) -> Self {
        let ask = |words: &[&str]| first_line(words, dir, interrupt);
        let source = env!("CARGO_MANIFEST_DIR");
        let own = if isolated { "in a namespace of its own" } else { "the machine's own" };
        Self {
            commit: ask(&["git", "-C", source, "describe", "--always", "--dirty", "--abbrev=12"]),
            date: ask(&["date", "--utc", "+%Y-%m-%d %H:%M UTC"]),
            processors: processors(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default()),
            memory: memory(&fs::read_to_string("/proc/meminfo").unwrap_or_default()),
            kernel: ask(&["uname", "-sr"]),
            file_system: ask(&["findmnt", "-no", "FSTYPE,SOURCE", "-T", &dir.to_string_lossy()]),
            network: format!("loopback, {}, {own}", congestion_control()),
            java: ask(&["java", "--version"]),
            options,
        }
    }
}

/// The first line that a command prints; "unknown" when there is none.
fn first_line(words: &[&str], dir: &Path, interrupt: &Interrupt) -> String {
    let mut command = tied(words[0]);
    command.args(&words[1..]);
    let printed = run(command, &dir.join("ask"), ASK_MAX, interrupt).unwrap_or_default();
    let line = printed.lines().next().unwrap_or("unknown");
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn processors(cpuinfo: &str) -> String {
    let mut names =
        cpuinfo.lines().filter_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let name = names.next().map_or("unknown", |(_, name)| name);
    format!("{} × {name}", names.count() + 1)
}

fn memory(meminfo: &str) -> String {
    let total =
        meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next());
    let kib: u64 = total.and_then(|kib| kib.parse().ok()).unwrap_or_default();
    format!("{} GiB", kib.div_ceil(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_of_processors_and_memory() {
        let cpuinfo = "processor\t: 0\nmodel name\t: Xeon\n\nprocessor\t: 1\nmodel name\t: Xeon\n";
        assert_eq!(processors(cpuinfo), "2 × Xeon");
        assert_eq!(memory("MemTotal:       24626416 kB\nMemFree: 3 kB\n"), "24 GiB");
    }
}
