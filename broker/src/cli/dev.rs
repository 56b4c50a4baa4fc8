//! `millpond dev`: a cluster of a few nodes on this machine, each a process of its own, so that one of
//! them can be killed.
//!
//! ```text
//! millpond dev ─┬─ millpond --node-id 1 --join …   data in <directory>/1
//!               ├─ millpond --node-id 2 --join …                      /2
//!               └─ …
//! ```
//! Nodes end when this process does, whichever way that happens. One that is killed stays so: what
//! is left is shown to go on. Ports are free ones, and kept with the data if a directory is given.

use std::io::{BufRead, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Instant;

use rustix::process::{Pid, Signal as Kill, kill_process, set_parent_process_death_signal};
use storage::checkpoint;
use storage::device::os::OsDevice;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::exit::Exit;
use super::{either, fail, print};
use crate::clock::{Clock, SystemClock};
use crate::config::Inputs;

/// Nodes that may be asked for.
pub(super) const NODES_MAX: u16 = 9;
/// In the environment of a node that must not outlive its parent.
const CHILD: &str = "MILLPOND_DEV_CHILD";
/// Where a given directory keeps its ports.
const PORTS_FILE: &str = "dev.ports";
/// Options that are passed on to every node; the others are this command's own to give.
const PASSED_ON: &[&str] = &["set", "log", "log-format", "group-metrics-max"];
/// What the nodes tell this process may wait for it.
const EVENTS_MAX: usize = 64;
/// Begins the last line of a node's banner.
const READY: &str = "ready in ";

/// In a node: ends with its parent.
pub(super) fn end_with_parent(variable: &dyn Fn(&str) -> Option<String>) {
    if variable(CHILD).is_some() {
        // Where this is refused, the parent still ends its nodes when it is asked to stop.
        set_parent_process_death_signal(Some(Kill::TERM)).ok();
    }
}

/// Runs `count` nodes until a signal comes or all have ended.
pub(super) fn run(count: u16, inputs: &Inputs, clock: SystemClock) -> Exit {
    let began = clock.monotonic();
    let place = match Place::prepare(inputs, count) {
        Ok(place) => place,
        Err(error) => return fail(Exit::Failed, &error.to_string(), None),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(watch(&place, inputs, clock, began)),
        Err(error) => fail(Exit::Failed, &format!("cannot handle signals: {error}"), None),
    }
}

/// Where a node listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ports {
    kafka: u16,
    http: u16,
    nodes: u16,
}

/// The directory of all nodes.
struct Place {
    path: PathBuf,
    /// Removed at the end.
    temporary: bool,
    ports: Vec<Ports>,
}

impl Place {
    fn prepare(inputs: &Inputs, count: u16) -> anyhow::Result<Self> {
        let mut path = None;
        for (option, texts) in &inputs.flags {
            match option.name {
                "data" => path = texts.first().map(PathBuf::from),
                name if PASSED_ON.contains(&name) => {}
                name => anyhow::bail!("--{name} is not for millpond dev, which chooses it"),
            }
        }
        let temporary = path.is_none();
        let name = format!("millpond-dev-{}", std::process::id());
        let path = path.unwrap_or_else(|| std::env::temp_dir().join(name));
        std::fs::create_dir_all(&path)?;
        let file = path.join(PORTS_FILE);
        let kept = checkpoint::read_whole(&OsDevice, &file)?;
        let mut ports =
            kept.map(|bytes| parse(&String::from_utf8_lossy(&bytes))).unwrap_or_default();
        if ports.len() < usize::from(count) {
            ports.extend(free_ports(usize::from(count) - ports.len())?);
            let text = |ports: &Ports| format!("{} {} {}\n", ports.kafka, ports.http, ports.nodes);
            let text: String = ports.iter().map(text).collect();
            checkpoint::write_atomic(&OsDevice, &file, text.as_bytes())?;
        }
        ports.truncate(usize::from(count));
        Ok(Self { path, temporary, ports })
    }

    fn command(&self, node: usize, inputs: &Inputs) -> std::io::Result<Command> {
        let address = |port: u16| format!("127.0.0.1:{port}");
        let Ports { kafka, http, nodes } = self.ports[node];
        let all: Vec<_> = self.ports.iter().map(|ports| address(ports.nodes)).collect();
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--data").arg(self.path.join((node + 1).to_string()));
        command.arg("--node-id").arg((node + 1).to_string());
        command.arg("--listen").arg(address(kafka)).arg("--http").arg(address(http));
        command.arg("--inter-node-listener").arg(address(nodes));
        if all.len() > 1 {
            command.arg("--join").arg(all.join(","));
        }
        for (option, texts) in &inputs.flags {
            if PASSED_ON.contains(&option.name) {
                for text in texts {
                    command.arg(format!("--{}", option.name)).arg(text);
                }
            }
        }
        // A terminal's Ctrl-C goes to a whole process group, and a second signal means "at once".
        command.process_group(0).env(CHILD, "1");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(command)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.temporary {
            // What is left in a temporary directory is nobody's loss.
            drop(std::fs::remove_dir_all(&self.path));
        }
    }
}

/// Lines of three ports. Others are taken for none: new ones are chosen.
fn parse(text: &str) -> Vec<Ports> {
    let line = |line: &str| {
        let mut fields = line.split(' ').map(str::parse);
        let mut next = || fields.next()?.ok();
        Some(Ports { kafka: next()?, http: next()?, nodes: next()? })
    };
    text.lines().map_while(line).collect()
}

/// Ports that nobody listens on. Somebody may before the nodes do; then they say so and end.
fn free_ports(count: usize) -> std::io::Result<Vec<Ports>> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    // All are held until all are known, so that none is given twice.
    let held: Vec<_> = (0..count * 3).map(|_| TcpListener::bind(any)).collect::<Result<_, _>>()?;
    let port = |listener: &TcpListener| Ok(listener.local_addr()?.port());
    let ports: Vec<u16> = held.iter().map(port).collect::<std::io::Result<_>>()?;
    let (triples, _) = ports.as_chunks::<3>();
    Ok(triples
        .iter()
        .map(|[kafka, http, nodes]| Ports { kafka: *kafka, http: *http, nodes: *nodes })
        .collect())
}

/// What a node does.
enum Event {
    Ready,
    Ended(usize, std::io::Result<ExitStatus>),
}

async fn watch(place: &Place, inputs: &Inputs, clock: SystemClock, began: Instant) -> Exit {
    let signals =
        signal(SignalKind::terminate()).and_then(|t| Ok((t, signal(SignalKind::interrupt())?)));
    let (mut terminate, mut interrupt) = match signals {
        Ok(signals) => signals,
        Err(error) => return fail(Exit::Failed, &format!("cannot handle signals: {error}"), None),
    };
    let (sender, mut events) = mpsc::channel(EVENTS_MAX);
    let mut nodes = Vec::new();
    for node in 0..place.ports.len() {
        match place.command(node, inputs).and_then(|mut command| command.spawn()) {
            Ok(child) => nodes.push(follow(node, child, &sender)),
            Err(error) => {
                let exit = fail(Exit::Failed, &format!("node {}: {error}", node + 1), None);
                return end(&nodes, &mut events, (&mut terminate, &mut interrupt), exit).await;
            }
        }
    }
    drop(sender);
    let (mut ready, mut ended) = (0, 0);
    let exit = loop {
        let event = tokio::select! {
            event = events.recv() => event,
            () = either(&mut terminate, &mut interrupt) => break Exit::Done,
        };
        match event {
            Some(Event::Ready) => {
                ready += 1;
                if ready == nodes.len() {
                    let after = clock.since(began).as_millis();
                    print(&format!("{}ready in {after} ms\n", banner(place, &nodes)));
                }
            }
            Some(Event::Ended(node, status)) => {
                let how =
                    status.map_or_else(|error| error.to_string(), |status| status.to_string());
                fail(Exit::Failed, &format!("node {} ended: {how}", node + 1), None);
                ended += 1;
                nodes[node].pid = None;
                if ready < nodes.len() || ended == nodes.len() {
                    break Exit::Failed;
                }
            }
            None => break Exit::Failed,
        }
    };
    end(&nodes, &mut events, (&mut terminate, &mut interrupt), exit).await
}

/// A node that was started.
struct Node {
    /// `None` when it has ended.
    pid: Option<Pid>,
}

/// Passes on what a node says, and tells when it is ready and when it has ended.
fn follow(node: usize, mut child: Child, events: &mpsc::Sender<Event>) -> Node {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (told, ended) = (events.clone(), events.clone());
    thread::spawn(move || {
        let lines = stdout.into_iter().flat_map(|stdout| BufReader::new(stdout).lines());
        for line in lines.map_while(Result::ok) {
            // Nobody listens any more when this process ends.
            if line.starts_with(READY) && told.blocking_send(Event::Ready).is_err() {
                return;
            }
        }
    });
    thread::spawn(move || {
        let lines = stderr.into_iter().flat_map(|stderr| BufReader::new(stderr).lines());
        for line in lines.map_while(Result::ok) {
            drop(writeln!(std::io::stderr(), "[node {}] {line}", node + 1));
        }
    });
    thread::spawn(move || drop(ended.blocking_send(Event::Ended(node, child.wait()))));
    Node { pid }
}

fn banner(place: &Place, nodes: &[Node]) -> String {
    let mut text = format!("millpond {}, {} nodes\n", env!("CARGO_PKG_VERSION"), nodes.len());
    for (at, (ports, node)) in place.ports.iter().zip(nodes).enumerate() {
        let pid = node.pid.map_or(0, Pid::as_raw_pid);
        let Ports { kafka, http, nodes } = ports;
        text.push_str(&format!(
            "  node {}  kafka 127.0.0.1:{kafka}  http http://127.0.0.1:{http}/  \
             nodes 127.0.0.1:{nodes}  pid {pid}\n",
            at + 1
        ));
    }
    let all: Vec<_> =
        place.ports.iter().map(|ports| format!("127.0.0.1:{}", ports.kafka)).collect();
    let fate = if place.temporary { ", removed at the end" } else { "" };
    text.push_str(&format!("  data    {}{fate}\n", shown(&place.path)));
    text.push_str(&format!("  next    kcat -b {} -L\n", all.join(",")));
    text
}

fn shown(path: &Path) -> std::path::Display<'_> {
    path.display()
}

/// Stops the nodes that run and waits for them; a second signal kills them.
async fn end(
    nodes: &[Node],
    events: &mut mpsc::Receiver<Event>,
    (terminate, interrupt): (&mut Signal, &mut Signal),
    exit: Exit,
) -> Exit {
    let send = |running: &[Option<Pid>], kill: Kill| {
        // One that has just ended cannot be told.
        for pid in running.iter().flatten() {
            kill_process(*pid, kill).ok();
        }
    };
    let mut running: Vec<_> = nodes.iter().map(|node| node.pid).collect();
    send(&running, Kill::TERM);
    let mut exit = exit;
    while running.iter().any(Option::is_some) {
        tokio::select! {
            event = events.recv() => match event {
                Some(Event::Ended(node, status)) => {
                    running[node] = None;
                    if !status.is_ok_and(|status| status.success()) && exit == Exit::Done {
                        exit = Exit::NotClean;
                    }
                }
                Some(Event::Ready) => {}
                None => break,
            },
            () = either(terminate, interrupt) => send(&running, Kill::KILL),
        }
    }
    exit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_free_different_and_kept() {
        let ports = free_ports(3).unwrap();
        let mut all: Vec<u16> = ports.iter().flat_map(|p| [p.kafka, p.http, p.nodes]).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 9);
        assert_eq!(parse("1 2 3\n4 5 6\n7 8\n").len(), 2);
        let directory = tempfile::tempdir().unwrap();
        let data = crate::config::OPTIONS.iter().find(|option| option.name == "data").unwrap();
        let texts = vec![directory.path().to_str().unwrap().to_owned()];
        let inputs = Inputs { flags: vec![(data, texts)], ..Inputs::default() };
        let two = Place::prepare(&inputs, 2).unwrap().ports.clone();
        let three = Place::prepare(&inputs, 3).unwrap().ports.clone();
        assert_eq!(three[..2], two);
    }

    #[test]
    fn what_the_command_chooses_itself_is_refused() {
        let option = crate::config::OPTIONS.iter().find(|option| option.name == "listen").unwrap();
        let inputs = Inputs { flags: vec![(option, vec!["x:1".to_owned()])], ..Inputs::default() };
        let error = Place::prepare(&inputs, 1).err().unwrap().to_string();
        assert!(error.contains("--listen"), "{error}");
    }
}
