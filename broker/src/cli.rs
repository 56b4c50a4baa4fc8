//! The command line: what is asked for, and how the process ends.
//!
//! Standard output carries what was asked for (the banner, a configuration); the log and errors go
//! to standard error. Nothing is printed as ready before it is.

mod arguments;
mod banner;
mod dev;
mod exit;
mod logging;
mod port_holder;
mod remedy;

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

use crate::clock::{Clock, SystemClock};
use crate::config::{Config, Inputs, example, show};
use crate::http::Health;
use crate::lifecycle::{Running, Surroundings};
use crate::metrics::registry::Registry;
use crate::metrics::tables;
use arguments::{Arguments, Task};
use banner::Banner;
use exit::Exit;

/// Threads that may wait for the disk; more jobs queue.
const BLOCKING_THREADS_MAX: usize = 32;
/// How long a broker may take to stop that has failed.
const LAST_STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// What stands before an error on standard error.
const PROGRAM: &str = "millpond";

/// Runs the command line of this process.
#[must_use]
pub fn run() -> ExitCode {
    let clock = SystemClock;
    let began = clock.monotonic();
    let exit = match arguments::parse(std::env::args_os(), &variable) {
        Ok(Arguments { task: Task::Start, inputs }) => start(&inputs, clock, began),
        Ok(Arguments { task: Task::Dev { nodes }, inputs }) => dev::run(nodes, &inputs, clock),
        Ok(Arguments { task: Task::ConfigCheck, inputs }) => with_config(&inputs, check_text),
        Ok(Arguments { task: Task::ConfigShow, inputs }) => with_config(&inputs, show),
        Ok(Arguments { task: Task::ConfigExample, .. }) => print(&example()),
        Err(answer) => {
            // Help and version are answers, too. A closed pipe is nobody's fault.
            drop(answer.print());
            if answer.use_stderr() { Exit::Usage } else { Exit::Done }
        }
    };
    exit.into()
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn with_config(inputs: &Inputs, text: impl FnOnce(&Config) -> String) -> Exit {
    match Config::load(inputs, &variable) {
        Ok(config) => print(&text(&config)),
        Err(error) => fail(Exit::Config, &error.to_string(), None),
    }
}

fn check_text(config: &Config) -> String {
    let ignored = &config.names_without_effect;
    if ignored.is_empty() {
        return "The configuration is valid.\n".to_owned();
    }
    format!("The configuration is valid. These settings have no effect: {}\n", ignored.join(", "))
}

fn print(text: &str) -> Exit {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Exit::Done,
        Err(_) => Exit::Failed,
    }
}

/// Says why the process ends, and what can be done.
fn fail(exit: Exit, error: &str, remedy: Option<&str>) -> Exit {
    let mut stderr = std::io::stderr().lock();
    let remedy = remedy.map(|remedy| format!("\n  {remedy}")).unwrap_or_default();
    // Where standard error is closed there is nobody to tell.
    drop(writeln!(stderr, "{PROGRAM}: {error}{remedy}"));
    exit
}

fn start(inputs: &Inputs, clock: SystemClock, began: Instant) -> Exit {
    dev::end_with_parent(&variable);
    let config = match Config::load(inputs, &variable) {
        Ok(config) => config,
        Err(error) => return fail(Exit::Config, &error.to_string(), None),
    };
    let log_levels = match logging::init(&config.log_filter, config.log_format) {
        Ok(log_levels) => log_levels,
        Err(error) => {
            let remedy = "see --log in --help for the form of a filter";
            let error = format!("log = {:?}: {error}", config.log_filter);
            return fail(Exit::Config, &error, Some(remedy));
        }
    };
    if !config.names_without_effect.is_empty() {
        warn!(settings = config.names_without_effect.join(","), "these settings have no effect");
    }
    let metrics = match install_metrics() {
        Ok(metrics) => metrics,
        Err(error) => return fail(Exit::Failed, &error.to_string(), None),
    };
    match runtime() {
        Ok(runtime) => {
            let surroundings = Surroundings { clock: Arc::new(clock), log_levels };
            runtime.block_on(serve(&config, metrics, surroundings, began))
        }
        Err(error) => fail(Exit::Failed, &format!("cannot start threads: {error}"), None),
    }
}

/// The one place that decides which threads run the broker: one for each core, and a few for what
/// waits for the disk at start, at stop and in the metadata group.
fn runtime() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .thread_name(PROGRAM)
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .enable_all()
        .build()
}

fn install_metrics() -> anyhow::Result<Registry> {
    let registry = Registry::default();
    metrics::set_global_recorder(registry.clone())?;
    tables::register_all();
    Ok(registry)
}

async fn serve(
    config: &Config,
    metrics: Registry,
    surroundings: Surroundings,
    began: Instant,
) -> Exit {
    let clock = Arc::clone(&surroundings.clock);
    let (mut terminate, mut interrupt) =
        match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
            (Ok(terminate), Ok(interrupt)) => (terminate, interrupt),
            (Err(error), _) | (_, Err(error)) => {
                return fail(Exit::Failed, &format!("cannot handle signals: {error}"), None);
            }
        };
    let started = tokio::select! {
        started = Running::start(config, Health::new(metrics), surroundings) => started,
        // Nothing was acknowledged yet, so nothing can be lost.
        () = either(&mut terminate, &mut interrupt) => return Exit::Done,
    };
    let running = match started {
        Ok(running) => running,
        Err(error) => {
            let (exit, remedy) = remedy::of(&error);
            return fail(exit, &error.to_string(), remedy.as_deref());
        }
    };
    print(&Banner::of(&running, &config.settings, clock.since(began)).to_string());
    tokio::select! {
        () = either(&mut terminate, &mut interrupt) => {}
        cause = running.failed() => return end_without_metadata(running, &cause).await,
    }
    info!("stopping: requests in flight are finished, then everything is synced");
    tokio::spawn(async move {
        either(&mut terminate, &mut interrupt).await;
        std::process::exit(i32::from(fail(Exit::NotClean, "stopped at once", None).code()));
    });
    match running.stop().await {
        Ok(()) => {
            info!("stopped");
            Exit::Done
        }
        Err(error) => {
            let remedy = "the next start recovers what was not synced";
            fail(Exit::NotClean, &error.to_string(), Some(remedy))
        }
    }
}

/// Ends a broker whose metadata can never change again: it would serve what was true once. It hands
/// over what it can, but does not wait long for a disk that may not answer.
async fn end_without_metadata(running: Running, cause: &str) -> Exit {
    let error = format!("the metadata group has failed: {cause}");
    let remedy = "see to the disk and start again; what was synced is there";
    let code = fail(Exit::MetadataFailed, &error, Some(remedy)).code();
    if tokio::time::timeout(LAST_STOP_TIMEOUT, running.stop()).await.is_err() {
        warn!("the stop was given up: the disk does not answer");
    }
    // Threads that wait for the disk would hold up any other end.
    std::process::exit(i32::from(code))
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
