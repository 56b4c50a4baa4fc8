//! Many connections that do nothing: how long until the broker has served a first request on each
//! when all come at once, and what each costs it in memory. Then, when asked, round trips on some of
//! them while the others stay open.

use crate::load::frames::Frame;
use crate::load::link::Link;
use crate::load::meter::{Done, Outcome, Phase, Progress, nanoseconds, now, run};
use crate::load::readiness::Readiness;
use crate::load::report::{Report, number};
use crate::load::setting::Setting;
use crate::process::{anonymous_bytes, raise_descriptors_max, resident_bytes};
use anyhow::{Context as _, Result, ensure};
use clap::Args;
use kafka_protocol::messages::{ApiVersionsRequest, MetadataRequest};
use rustix::io::Errno;
use rustix::net::sockopt::socket_error;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};
use serde::Serialize;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

/// Room for the answer to ApiVersions: some hundred bytes; one connection in many thousands.
const INPUT_BYTES: usize = 2 << 10;

/// Files that this program needs beside the connections.
const DESCRIPTORS_BESIDE: usize = 100;

/// Longest that nothing may happen while connections are made.
const SILENCE_MAX: Duration = crate::deadline::PATIENCE;

/// How often an idle run looks whether it is over.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// How many connections.
#[derive(Debug, Clone, Args, Serialize)]
pub struct Connections {
    /// Connections, all asked for at once
    #[arg(long, default_value_t = 10_000)]
    pub count: usize,
    /// How many of them do round trips of Metadata in turn, one at a time
    #[arg(long, default_value_t = 0)]
    pub active: usize,
}

impl Connections {
    /// Runs it.
    ///
    /// # Errors
    /// The broker cannot be reached, or does not serve everyone.
    pub fn run(&self, setting: &Setting) -> Result<Report> {
        ensure!(self.active <= self.count, "more active connections than connections");
        raise_descriptors_max(self.count + DESCRIPTORS_BESIDE);
        let server = setting.limits.server;
        let before = server.map(|pid| (resident_bytes(pid), anonymous_bytes(pid)));
        let drops = Drops::read()?;
        let begun = now();
        let (links, failures) = open_all(setting.broker, self.count)?;
        let seconds = now().duration_since(begun).as_secs_f64();
        let drops = Drops::read()?.since(&drops);
        let after = server.map(|pid| (resident_bytes(pid), anonymous_bytes(pid)));

        let mut report = self.watch(links, setting)?;
        report.figure("seconds_until_all_served", seconds);
        report.figure("connect_failures", number(failures));
        report.figure("listen_overflows", number(drops.overflows));
        report.figure("listen_drops", number(drops.drops));
        report.figure("retransmitted_segments", number(drops.retransmitted));
        if let (Some(before), Some(after)) = (before, after) {
            let count = number(self.count as u64);
            report.figure("server_resident_bytes_before", number(before.0));
            report.figure("server_resident_bytes_after", number(after.0));
            let each = |before, after| (number(after) - number(before)) / count;
            report.figure("resident_bytes_per_connection", each(before.0, after.0));
            report.figure("anonymous_bytes_per_connection", each(before.1, after.1));
        }
        Ok(report)
    }

    /// Measures the broker while all connections are open.
    fn watch(&self, mut links: Vec<Link>, setting: &Setting) -> Result<Report> {
        let active = self.active;
        let frame = Frame::new(12, &MetadataRequest::default().with_topics(Some(Vec::new())))?;
        let worker = move |progress: &Progress<'_>| {
            let mut outcome = Outcome::new();
            let mut turn = 0;
            while progress.phase() != Phase::Over {
                let Some(link) = links.get_mut(turn % active.max(1)).filter(|_| active > 0) else {
                    thread::park_timeout(LOOK_AGAIN);
                    continue;
                };
                let begun = now();
                link.send_all(std::iter::once(&frame))?;
                link.receive()?;
                if progress.phase() == Phase::Measured {
                    outcome.latency.record(nanoseconds(begun, now()))?;
                }
                progress.add(Done { requests: 1, ..Done::default() });
                turn += 1;
            }
            Ok(outcome)
        };
        run(&setting.limits_with_time(), vec![worker])
    }
}

/// Connects that often at once, and waits until a request was served on each. The connections, and
/// how many attempts failed.
fn open_all(broker: SocketAddr, count: usize) -> Result<(Vec<Link>, u64)> {
    let readiness = Readiness::new()?;
    let frame = Frame::new(3, &ApiVersionsRequest::default())?;
    let mut waiting = Vec::new();
    for place in 0..count {
        let kind = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, kind, None)?;
        match connect(&socket, &broker) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => return Err(error).context("connect"),
        }
        let stream = TcpStream::from(socket);
        readiness.add_writable(&stream, place)?;
        waiting.push(Some(stream));
    }
    let mut links: Vec<Option<Link>> = waiting.iter().map(|_| None).collect();
    let (mut open, mut failures) = (count, 0);
    while open > 0 {
        let ready = readiness.wait(SILENCE_MAX)?;
        ensure!(!ready.is_empty(), "{open} connections are not served after {SILENCE_MAX:?}");
        for place in ready {
            if let Some(stream) = waiting[place].take() {
                if socket_error(&stream)?.is_err() {
                    (open, failures) = (open - 1, failures + 1);
                    continue;
                }
                stream.set_nonblocking(false)?;
                let mut link = Link::over(stream, INPUT_BYTES)?;
                readiness.turn_to_readable(&link, place)?;
                link.send_all(std::iter::once(&frame))?;
                links[place] = Some(link);
            } else if let Some(link) = &mut links[place] {
                link.fill()?;
                open -= usize::from(link.try_receive()?.is_some());
            }
        }
    }
    Ok((links.into_iter().flatten().collect(), failures))
}

/// What the kernel says of connections that had to be asked for twice.
#[derive(Debug, Clone, Copy)]
struct Drops {
    overflows: u64,
    drops: u64,
    retransmitted: u64,
}

impl Drops {
    fn read() -> Result<Self> {
        let text = fs::read_to_string("/proc/net/netstat").context("/proc/net/netstat")?;
        let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:"));
        let (names, values) = (lines.next().unwrap_or(""), lines.next().unwrap_or(""));
        let find = |wanted: &str| {
            let mut pairs = names.split_whitespace().zip(values.split_whitespace());
            let value = pairs.find(|(name, _)| *name == wanted).map(|(_, value)| value.parse());
            value.and_then(Result::ok).unwrap_or(0)
        };
        Ok(Self {
            overflows: find("ListenOverflows"),
            drops: find("ListenDrops"),
            retransmitted: find("TCPSynRetrans"),
        })
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            overflows: self.overflows - before.overflows,
            drops: self.drops - before.drops,
            retransmitted: self.retransmitted - before.retransmitted,
        }
    }
}
