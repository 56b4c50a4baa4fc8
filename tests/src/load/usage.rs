//! What a run costs, by the operating system's accounts: processor time of the broker, of this
//! program and of the whole machine, and the broker's memory.

use crate::deadline::monotonic_now;
use crate::load::report::number;
use crate::process::{resident_bytes, resident_peak_bytes};
use anyhow::{Context as _, Result};
use rustix::param::clock_ticks_per_second;
use rustix::time::{ClockId, clock_gettime};
use std::fs;
use std::time::Instant;

/// The accounts at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Snapshot {
    at: Instant,
    server_cpu_seconds: Option<f64>,
    client_cpu_seconds: f64,
    machine: Machine,
}

/// What was spent between two moments.
#[derive(Debug, Clone, Copy)]
pub struct Spent {
    /// Time by the clock.
    pub seconds: f64,
    /// Of the broker's process, if it is known.
    pub server_cpu_seconds: Option<f64>,
    /// Of this process.
    pub client_cpu_seconds: f64,
    /// Of all processors together.
    pub machine_busy_seconds: f64,
    /// What the host of this virtual machine gave to others while something here wanted to run, by all
    /// processor time that there was; 0 to 1.
    pub stolen_share: f64,
}

/// Processor time of all processors together, in seconds.
#[derive(Debug, Clone, Copy)]
struct Machine {
    busy: f64,
    stolen: f64,
    all: f64,
}

/// The broker's memory.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// Now.
    pub resident_bytes: u64,
    /// The most since it started.
    pub peak_resident_bytes: u64,
}

impl Snapshot {
    /// Reads the accounts; the broker's where its process is known.
    ///
    /// # Errors
    /// There is no such process, or this is no Linux.
    pub fn take(server: Option<u32>) -> Result<Self> {
        Ok(Self {
            at: monotonic_now(),
            server_cpu_seconds: server.map(process_cpu_seconds).transpose()?,
            client_cpu_seconds: own_cpu_seconds(),
            machine: Machine::take()?,
        })
    }

    /// What was spent from here to a later moment.
    pub fn until(&self, end: &Self) -> Spent {
        let server = end.server_cpu_seconds.zip(self.server_cpu_seconds);
        Spent {
            seconds: (end.at - self.at).as_secs_f64(),
            server_cpu_seconds: server.map(|(end, begin)| end - begin),
            client_cpu_seconds: end.client_cpu_seconds - self.client_cpu_seconds,
            machine_busy_seconds: end.machine.busy - self.machine.busy,
            stolen_share: (end.machine.stolen - self.machine.stolen)
                / (end.machine.all - self.machine.all).max(f64::MIN_POSITIVE),
        }
    }
}

impl Memory {
    /// The memory of a process that runs.
    pub fn of(pid: u32) -> Self {
        Self { resident_bytes: resident_bytes(pid), peak_resident_bytes: resident_peak_bytes(pid) }
    }
}

/// User and system time of a process so far, in seconds.
///
/// # Errors
/// There is no such process, or this is no Linux.
pub fn process_cpu_seconds(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).with_context(|| path.clone())?;
    // The name in brackets may hold anything; user time is the 12th field after it, system time the
    // 13th.
    let after_name = stat.rsplit_once(')').with_context(|| path.clone())?.1;
    let times = after_name.split_whitespace().skip(11).take(2);
    let ticks: u64 = times.map(|field| field.parse().unwrap_or(0)).sum();
    Ok(ticks_in_seconds(ticks))
}

fn own_cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let whole = u64::try_from(time.tv_sec).expect("time passes forward");
    let rest = u64::try_from(time.tv_nsec).expect("time passes forward");
    number(whole) + number(rest) / 1e9
}

impl Machine {
    fn take() -> Result<Self> {
        let stat = fs::read_to_string("/proc/stat").context("/proc/stat")?;
        let all = stat.lines().next().context("/proc/stat is empty")?;
        let ticks: Vec<u64> =
            all.split_whitespace().skip(1).map(|field| field.parse().unwrap_or(0)).collect();
        let seconds = |places: &[usize]| {
            ticks_in_seconds(places.iter().filter_map(|place| ticks.get(*place)).sum())
        };
        Ok(Self {
            // User, nice, system, both kinds of interrupts: everything but idle, waiting for a disk,
            // and what other guests of the host took. Guests of ours are in user time already.
            busy: seconds(&[0, 1, 2, 5, 6]),
            stolen: seconds(&[7]),
            all: seconds(&[0, 1, 2, 3, 4, 5, 6, 7]),
        })
    }
}

fn ticks_in_seconds(ticks: u64) -> f64 {
    number(ticks) / number(clock_ticks_per_second())
}
