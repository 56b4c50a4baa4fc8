//! Many connections that do nothing: how long until the broker has served a first request on each
//! when many come at once, and what each costs it in memory. Then, when asked, round trips on some of
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
use std::iter::once;
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
    /// Connections to open
    #[arg(long, default_value_t = 10_000)]
    pub count: usize,
    /// How many of them may be under way at a time; all of them, as after a restart, is a storm
    #[arg(long, default_value_t = 100)]
    pub at_once: usize,
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
        let (links, failures) = self.open_all(setting.broker)?;
        let seconds = now().duration_since(begun).as_secs_f64();
        let drops = Drops::read()?.since(&drops);
        let after = server.map(|pid| (resident_bytes(pid), anonymous_bytes(pid)));

        let mut report = self.watch(links, setting)?;
        report.figure("seconds_until_all_served", seconds);
        report.figure("connect_failures", number(failures));
        report.figure("listen_overflows", number(drops.overflows));
        report.figure("listen_drops", number(drops.drops));
        report.figure("connect_retransmits", number(drops.retransmitted));
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

    /// Connects, and waits until a request was served on each. The connections, and how many attempts
    /// failed.
    fn open_all(&self, broker: SocketAddr) -> Result<(Vec<Link>, u64)> {
        let mut arrivals = Arrivals::new(broker)?;
        while arrivals.settled < self.count {
            let begun = arrivals.connecting.len();
            let room = (arrivals.settled + self.at_once.max(1)).min(self.count) - begun;
            for _ in 0..room {
                arrivals.begin()?;
            }
            let ready = arrivals.readiness.wait(SILENCE_MAX)?;
            let settled = arrivals.settled;
            ensure!(!ready.is_empty(), "{settled} served, then nothing for {SILENCE_MAX:?}");
            for place in ready {
                arrivals.advance(place)?;
            }
        }
        Ok((arrivals.connected.into_iter().flatten().collect(), arrivals.failures))
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
                link.send_all(once(&frame))?;
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

/// Connections on their way to be served.
struct Arrivals {
    broker: SocketAddr,
    readiness: Readiness,
    hello: Frame,
    connecting: Vec<Option<TcpStream>>,
    connected: Vec<Option<Link>>,
    settled: usize,
    failures: u64,
}

impl Arrivals {
    fn new(broker: SocketAddr) -> Result<Self> {
        Ok(Self {
            broker,
            readiness: Readiness::new()?,
            hello: Frame::new(3, &ApiVersionsRequest::default())?,
            connecting: Vec::new(),
            connected: Vec::new(),
            settled: 0,
            failures: 0,
        })
    }

    /// Begins one more.
    fn begin(&mut self) -> Result<()> {
        let kind = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, kind, None)?;
        match connect(&socket, &self.broker) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => return Err(error).context("connect"),
        }
        let stream = TcpStream::from(socket);
        self.readiness.add_writable(&stream, self.connecting.len())?;
        self.connecting.push(Some(stream));
        self.connected.push(None);
        Ok(())
    }

    /// Goes on with one of which the system said that it is ready.
    fn advance(&mut self, place: usize) -> Result<()> {
        if let Some(stream) = self.connecting[place].take() {
            if socket_error(&stream)?.is_err() {
                self.settled += 1;
                self.failures += 1;
                return Ok(());
            }
            stream.set_nonblocking(false)?;
            let mut link = Link::over(stream, INPUT_BYTES)?;
            self.readiness.turn_to_readable(&link, place)?;
            link.send_all(once(&self.hello))?;
            self.connected[place] = Some(link);
        } else if let Some(link) = &mut self.connected[place] {
            link.fill()?;
            self.settled += usize::from(link.try_receive()?.is_some());
        }
        Ok(())
    }
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
