//! How Apache Kafka is started for a measurement: one node, its own defaults, and the JVM options of
//! its own start script.

use crate::compare::broker::{Launcher, Settings, free_address};
use crate::compare::program::{Interrupt, run, tied};
use crate::node::profile_dir;
use crate::program::compat;
use anyhow::{Context as _, Result, ensure};
use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Version that `tests/compat/java/pom.xml` brings.
pub const VERSION: &str = "4.3.1";

/// What the head of a report says of it.
pub const SETTINGS: &str = "defaults: a record is acknowledged from the page cache; heap of 1 GB; \
     `log.segment.delete.delay.ms=1000`, so that deleted topics leave the disk between loads; \
     `broker.session.timeout.ms=3600000`, so that it survives being held while Millpond is measured; warmed \
     up by a minute of 1 MB batches, half a minute of 16 KiB batches and each load once before it is measured; \"flush\": topic \
     config `flush.messages=1`";

/// Options of `kafka-server-start.sh` and `kafka-run-class.sh`.
const JVM: &[&str] = &[
    "-Xmx1G",
    "-Xms1G",
    "-server",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
    "-XX:MaxInlineLevel=15",
    "-Djava.awt.headless=true",
];

const SESSION_TIMEOUT: &str = "broker.session.timeout.ms";

/// Any id in the form that Kafka wants.
const CLUSTER_ID: &str = "bWlsbHBvbmQtY29tcGFyZQ";

const INSTALL_MAX: Duration = Duration::from_secs(1200);
const FORMAT_MAX: Duration = Duration::from_secs(60);

/// Brings Kafka's jars and the other clients, if they are not there.
///
/// # Errors
/// They cannot be had.
pub fn install(log: &Path, interrupt: &Interrupt) -> Result<()> {
    if libs().is_dir() {
        return Ok(());
    }
    let mut command = tied(compat().join("install"));
    let target = profile_dir().parent().context("a profile's folder is in target")?.to_path_buf();
    command.env("CARGO_TARGET_DIR", target);
    run(command, log, INSTALL_MAX, interrupt)?;
    ensure!(libs().is_dir(), "{} brought no jars", compat().join("install").display());
    Ok(())
}

fn libs() -> PathBuf {
    let target = profile_dir().parent().map(Path::to_path_buf).unwrap_or_default();
    target.join("clients/java/libs")
}

/// A Java program that runs with Kafka's jars.
///
/// # Errors
/// The directory's name is no class path.
pub fn java(options: &[&str], class: &str) -> Result<Command> {
    let mut command = tied("java");
    let logging = compat().join("java/log4j2.properties");
    command.arg(format!("-Dlog4j2.configurationFile={}", logging.display())).args(options);
    let jars = libs().join("*");
    command.args(["-cp", jars.to_str().context("a class path in UTF-8")?]).arg(class);
    Ok(command)
}

/// Writes the settings of a node into its directory and formats its storage.
///
/// # Errors
/// Kafka refuses.
pub fn format(dir: &Path, address: SocketAddr, launcher: &Launcher, more: &Settings) -> Result<()> {
    let controller = free_address()?;
    let mut text = String::new();
    let settings = [
        ("process.roles", "broker,controller".to_owned()),
        ("node.id", "1".to_owned()),
        ("controller.quorum.bootstrap.servers", controller.to_string()),
        ("listeners", format!("PLAINTEXT://{address},CONTROLLER://{controller}")),
        ("advertised.listeners", format!("PLAINTEXT://{address},CONTROLLER://{controller}")),
        ("controller.listener.names", "CONTROLLER".to_owned()),
        ("inter.broker.listener.name", "PLAINTEXT".to_owned()),
        ("listener.security.protocol.map", "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT".to_owned()),
        ("log.dirs", dir.join("data").display().to_string()),
        ("offsets.topic.replication.factor", "1".to_owned()),
        ("transaction.state.log.replication.factor", "1".to_owned()),
        ("transaction.state.log.min.isr", "1".to_owned()),
        ("log.segment.delete.delay.ms", "1000".to_owned()),
        (SESSION_TIMEOUT, "3600000".to_owned()),
    ];
    let more = more.iter().map(|(key, value)| (*key, (*value).to_owned()));
    for (key, value) in settings.into_iter().chain(more) {
        writeln!(text, "{key}={value}")?;
    }
    let file = properties(dir);
    File::create(&file)?.write_all(text.as_bytes())?;
    let mut command = java(&[], "kafka.tools.StorageTool")?;
    command.args(["format", "--standalone", "-t", CLUSTER_ID, "-c"]).arg(&file);
    run(command, &dir.join("format"), FORMAT_MAX, &launcher.interrupt)?;
    Ok(())
}

/// Gives a node that was killed its default session timeout back: until its old session has ended, no
/// broker of the same id may start.
///
/// # Errors
/// The node has no settings.
pub fn end_sessions_soon(dir: &Path) -> Result<()> {
    let text = std::fs::read_to_string(properties(dir))?;
    let kept = text.lines().filter(|line| !line.starts_with(SESSION_TIMEOUT));
    let kept: String = kept.flat_map(|line| [line, "\n"]).collect();
    Ok(File::create(properties(dir))?.write_all(kept.as_bytes())?)
}

fn properties(dir: &Path) -> PathBuf {
    dir.join("node.properties")
}

/// The command that runs the node of this directory.
///
/// # Errors
/// As [`java`].
pub fn command(dir: &Path) -> Result<Command> {
    let mut command = java(JVM, "kafka.Kafka")?;
    command.arg(properties(dir));
    Ok(command)
}
