//! Programs that end: with their work, at their deadline, when the comparison is interrupted, or when
//! the value that started them is dropped, whichever comes first. Nothing here waits without a limit.

use crate::deadline::Deadline;
use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// How often a running program is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Longest that a program may take to stop when asked, before it is killed.
const STOP_MAX: Duration = Duration::from_secs(20);

/// Lines of a program's output that an error quotes, from its end.
const QUOTED_LINES_MAX: usize = 12;

/// Whether somebody asked for the end. Cheap to copy; all copies tell the same.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// One that is set by SIGINT and SIGTERM from now on.
    ///
    /// # Errors
    /// The system does not let us listen to signals.
    pub fn by_signal() -> Result<Self> {
        let interrupt = Self::default();
        let ours = interrupt.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let (mut int, mut term) = {
            use tokio::signal::unix::{SignalKind, signal};
            let _context = runtime.enter();
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
        };
        thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = int.recv() => {}
                    _ = term.recv() => {}
                }
            });
            ours.0.store(true, Ordering::Relaxed);
        });
        Ok(interrupt)
    }

    /// Fails once the end was asked for.
    ///
    /// # Errors
    /// That, and nothing else.
    pub fn check(&self) -> Result<()> {
        ensure!(!self.is_set(), "interrupted");
        Ok(())
    }

    /// Whether the end was asked for.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Waits for about this long, less when interrupted.
    ///
    /// # Errors
    /// The end was asked for.
    pub fn pause(&self, length: Duration) -> Result<()> {
        let deadline = Deadline::after(length);
        while !deadline.passed() {
            self.check()?;
            thread::park_timeout(deadline.left().min(LOOK_AGAIN));
        }
        self.check()
    }
}

/// A command that the system kills when the thread that started it ends, also by SIGKILL.
pub fn tied(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program).stdin(Stdio::null());
    // A Ctrl-C at the terminal is for the comparison, which then ends its programs in order.
    command.process_group(0);
    command
}

/// One running program, whose output goes to files.
#[derive(Debug)]
pub struct Program {
    child: Child,
    what: String,
    stdout: PathBuf,
    stderr: PathBuf,
    interrupt: Interrupt,
}

impl Program {
    /// Starts a command; its output goes to `LOG.out` and `LOG.err`.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(mut command: Command, log: &Path, interrupt: &Interrupt) -> Result<Self> {
        interrupt.check()?;
        let what = words(&command);
        let (stdout, stderr) = (log.with_extension("out"), log.with_extension("err"));
        command.stdout(File::create(&stdout)?).stderr(File::create(&stderr)?);
        let child = command.spawn().with_context(|| format!("cannot start {what}"))?;
        Ok(Self { child, what, stdout, stderr, interrupt: interrupt.clone() })
    }

    /// Id of the process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The words that it was started with.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// The system cannot tell.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Takes the processor from it until [`Program::go_on`].
    pub fn hold(&self) {
        self.signal(Signal::STOP);
    }

    /// Undoes [`Program::hold`].
    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    /// What it has printed to standard output so far.
    pub fn printed(&self) -> String {
        fs::read(&self.stdout).map_or_else(drop_error, |b| String::from_utf8_lossy(&b).into_owned())
    }

    /// The last lines that it has printed, errors last.
    pub fn last_words(&self) -> String {
        let errors = fs::read(&self.stderr).unwrap_or_default();
        let text = self.printed() + &String::from_utf8_lossy(&errors);
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(QUOTED_LINES_MAX)..].join("\n")
    }

    /// Waits until it has ended well; what it printed.
    ///
    /// # Errors
    /// It failed, its time was over, or the comparison was interrupted.
    pub fn finish(mut self, time_max: Duration) -> Result<String> {
        let deadline = Deadline::after(time_max);
        loop {
            if let Some(status) = self.ended()? {
                ensure!(
                    status.success(),
                    "{} ended with {status}: {}",
                    self.what,
                    self.last_words()
                );
                return Ok(self.printed());
            }
            if deadline.passed() {
                bail!("{} took longer than {time_max:?}: {}", self.what, self.last_words());
            }
            self.interrupt.pause(LOOK_AGAIN)?;
        }
    }

    /// Asks it to stop, and kills it when it does not.
    pub fn stop(mut self) {
        self.signal(Signal::TERM);
        let deadline = Deadline::after(STOP_MAX);
        while matches!(self.child.try_wait(), Ok(None)) && !deadline.passed() {
            thread::park_timeout(LOOK_AGAIN);
        }
        // Dropping kills what is left.
    }

    /// Ends it as a crash would.
    pub fn kill(self) {
        drop(self);
    }

    fn signal(&self, signal: Signal) {
        // One that has ended by itself needs no signal.
        let _ended = self.process().map(|pid| kill_process(pid, signal));
    }

    fn process(&self) -> Option<Pid> {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // With what it has started itself: the group is its own.
            let _ended = self.process().map(|pid| kill_process_group(pid, Signal::KILL));
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn drop_error(_gone: std::io::Error) -> String {
    String::new()
}

/// A command as one would type it, without what ties it to us.
fn words(command: &Command) -> String {
    let words: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let own = words.iter().position(|word| word == "--").filter(|_| words[0] == "setpriv");
    words[own.map_or(0, |at| at + 1)..].join(" ")
}

/// Runs a command to its end; what it printed.
///
/// # Errors
/// As [`Program::finish`].
pub fn run(
    command: Command,
    log: &Path,
    time_max: Duration,
    interrupt: &Interrupt,
) -> Result<String> {
    Program::start(command, log, interrupt)?.finish(time_max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    fn shell(script: &str, time_max: Duration) -> Result<String> {
        let dir = TempDir::new().unwrap();
        let mut command = tied("sh");
        command.args(["-c", script]);
        run(command, &dir.path().join("log"), time_max, &Interrupt::default())
    }

    #[test]
    fn a_program_gives_its_output_or_its_last_words() {
        assert_eq!(shell("echo figures", Duration::from_secs(30)).unwrap(), "figures\n");
        let failed = shell("echo why >&2; exit 3", Duration::from_secs(30)).unwrap_err();
        let text = failed.to_string();
        assert!(text.starts_with("sh -c ") && text.contains("why"), "{text}");
    }

    #[test]
    fn a_program_that_does_not_end_is_ended() {
        let late = shell("exec sleep 3600", Duration::from_millis(50)).unwrap_err();
        assert!(late.to_string().contains("took longer"), "{late}");
    }

    #[test]
    fn nothing_starts_after_an_interrupt() {
        let interrupt = Interrupt::default();
        interrupt.0.store(true, Ordering::Relaxed);
        let dir = TempDir::new().unwrap();
        let refused = Program::start(tied("true"), &dir.path().join("log"), &interrupt);
        assert_eq!(refused.unwrap_err().to_string(), "interrupted");
    }
}
