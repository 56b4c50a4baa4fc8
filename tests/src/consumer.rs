//! A real client's consumer in a group: a program of `tests/compat/*/group*`, what it has told so
//! far, and waits for what it tells.
//!
//! Nothing is known of a consumer but its output. It ends by leaving the group when asked to, or is
//! killed with the value that started it.

use crate::deadline::Deadline;
use crate::program::Running;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

/// Longest that a client may take for a rebalance, or to notice that its broker is back.
const WAIT_MAX: Duration = Duration::from_secs(90);

/// One record that a consumer got.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Got {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its value.
    pub value: String,
}

/// What a consumer has told so far.
#[derive(Debug, Default)]
pub struct Told {
    /// The partitions that it was assigned last.
    pub assigned: BTreeSet<i32>,
    /// The records that it got, in its order.
    pub got: Vec<Got>,
    /// The offset that it committed last for each partition, and was told that it is.
    pub committed: BTreeMap<i32, i64>,
    /// How often it was assigned anything.
    pub assignments: usize,
    lines: String,
    left: bool,
    open_streams: usize,
}

impl Told {
    /// The records of one partition, in the order in which they came.
    pub fn offsets(&self, partition: i32) -> Vec<i64> {
        let of_partition = self.got.iter().filter(|got| got.partition == partition);
        of_partition.map(|got| got.offset).collect()
    }

    fn line(&mut self, line: &str) {
        self.lines.push_str(line);
        self.lines.push('\n');
        let mut words = line.splitn(4, ' ');
        match words.next() {
            Some("assigned") => {
                self.assigned = line.split(' ').filter_map(|word| word.parse().ok()).collect();
                self.assignments += usize::from(!self.assigned.is_empty());
            }
            Some("got") => {
                let (partition, offset) = (number(words.next(), line), number(words.next(), line));
                let partition = i32::try_from(partition).expect("a partition's number");
                let value = words.next().unwrap_or_default().to_owned();
                self.got.push(Got { partition, offset, value });
            }
            Some("committed") => {
                let (partition, offset) = (number(words.next(), line), number(words.next(), line));
                let partition = i32::try_from(partition).expect("a partition's number");
                self.committed.insert(partition, offset);
            }
            Some("left") => self.left = true,
            _ => {}
        }
    }
}

fn number(word: Option<&str>, line: &str) -> i64 {
    word.and_then(|word| word.parse().ok()).unwrap_or_else(|| panic!("not understood: {line}"))
}

#[derive(Debug, Default)]
struct Shared {
    told: Mutex<Told>,
    grown: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// A consumer that runs.
#[derive(Debug)]
pub struct Consumer {
    program: Running,
    shared: Arc<Shared>,
}

impl Consumer {
    /// Starts the program; its arguments are complete.
    pub fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut program = Running::spawn(&mut command);
        let shared = Arc::<Shared>::default();
        shared.lock().open_streams = 2;
        let child = program.child();
        follow(&shared, child.stdout.take().expect("stdout is piped"));
        follow(&shared, child.stderr.take().expect("stderr is piped"));
        Self { program, shared }
    }

    /// Waits until what it has told satisfies this.
    pub fn wait(&self, what: &str, mut holds: impl FnMut(&Told) -> bool) {
        let deadline = Deadline::after(WAIT_MAX);
        let mut told = self.shared.lock();
        while !holds(&told) {
            let left = deadline.left();
            assert!(
                !left.is_zero() && told.open_streams > 0,
                "not within {WAIT_MAX:?}, or it ended: {what}; told so far:\n{}",
                told.lines
            );
            let (next, _) = self.shared.grown.wait_timeout(told, left).expect("not poisoned");
            told = next;
        }
    }

    /// Looks at what it has told so far.
    pub fn look<T>(&self, look: impl FnOnce(&Told) -> T) -> T {
        look(&self.shared.lock())
    }

    /// Lets it leave the group, and waits until it has; all that it told.
    pub fn leave(mut self) -> Told {
        drop(self.program.child().stdin.take());
        self.wait("it leaves", |told| told.left);
        std::mem::take(&mut *self.shared.lock())
    }
}

/// Collects the lines of one stream; the other keeps its own order.
fn follow(shared: &Arc<Shared>, stream: impl Read + Send + 'static) {
    let shared = Arc::clone(shared);
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            shared.lock().line(&line);
            shared.grown.notify_all();
        }
        let mut told = shared.lock();
        // Whoever took what was told left nothing to count down.
        told.open_streams = told.open_streams.saturating_sub(1);
        drop(told);
        shared.grown.notify_all();
    });
}
