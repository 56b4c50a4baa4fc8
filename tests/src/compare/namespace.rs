//! A network of its own for each broker and its load, with `reno`: the congestion control `bbr`, a
//! usual default, distorts the loopback by up to three times.
//!
//! The namespace lives as long as a thread or a process is in it, so nothing has to be removed.

use anyhow::{Context as _, Result, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::fd::AsFd as _;
use std::process::{Command, Stdio};

const CONGESTION: &str = "/proc/sys/net/ipv4/tcp_congestion_control";

/// Makes a network namespace, says so, and stays until its input ends.
const MAKE: &str = "ip link set lo up && echo reno > /proc/sys/net/ipv4/tcp_congestion_control \
                    && echo made && read end";

/// Moves the calling thread, and what it starts from now on, to a new network namespace.
///
/// # Errors
/// The machine does not allow it, usually for want of root.
pub fn enter_new() -> Result<()> {
    let mut command = Command::new("unshare");
    command.args(["--net", "sh", "-c", MAKE]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut holder = command.spawn().context("cannot run unshare")?;
    let mut said = String::new();
    let stdout = holder.stdout.take().expect("stdout is piped");
    BufReader::new(stdout).read_line(&mut said)?;
    let entered = ensure_made(&said).and_then(|()| {
        let namespace = File::open(format!("/proc/{}/ns/net", holder.id()))?;
        let kind = Some(LinkNameSpaceType::Network);
        Ok(move_into_link_name_space(namespace.as_fd(), kind)?)
    });
    drop(holder.stdin.take());
    holder.wait()?;
    entered
}

fn ensure_made(said: &str) -> Result<()> {
    ensure!(said.trim() == "made", "no network namespace could be made");
    Ok(())
}

/// The congestion control that connections made here use.
pub fn congestion_control() -> String {
    fs::read_to_string(CONGESTION).map_or_else(|_| "unknown".into(), |text| text.trim().into())
}
