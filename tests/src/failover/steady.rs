//! A librdkafka producer that sends at a steady pace, and how long it stood still.

use crate::deadline::Deadline;
use crate::program::{clients, compat};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

/// Time between two records.
const INTERVAL_MS: &str = "2";
/// Longest that a producer may stand still before the run is given up.
const GAP_MAX: Duration = Duration::from_secs(120);

/// When records were acknowledged, in nanoseconds of the monotonic clock, rising.
#[derive(Debug, Default)]
struct Acks {
    at: Mutex<Vec<u64>>,
    grown: Condvar,
}

impl Acks {
    fn lock(&self) -> MutexGuard<'_, Vec<u64>> {
        self.at.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The producer; ends with this value.
#[derive(Debug)]
pub struct Steady {
    child: Child,
    acks: Arc<Acks>,
}

impl Steady {
    /// Starts it; `settings` are librdkafka's, as `name=value`.
    pub fn start(bootstrap: &str, topic: &str, partition: i32, settings: &[&str]) -> Self {
        let mut program = Command::new(clients().join("python/bin/python"));
        program.arg(compat().join("confluent-kafka/steady.py"));
        program.args([bootstrap, topic, &partition.to_string(), INTERVAL_MS]).args(settings);
        program.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = program.spawn().expect("the client program starts");
        let lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        let acks = Arc::<Acks>::default();
        let told = Arc::clone(&acks);
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let at = line.strip_prefix("acked ").and_then(|text| text.parse().ok());
                told.lock().push(at.unwrap_or_else(|| panic!("what is {line}?")));
                told.grown.notify_all();
            }
        });
        Self { child, acks }
    }

    /// Waits until so many more records are acknowledged.
    pub fn wait_for(&self, more: usize) {
        let deadline = Deadline::after(GAP_MAX);
        let mut at = self.acks.lock();
        let wanted = at.len() + more;
        while at.len() < wanted {
            assert!(!deadline.passed(), "the producer stands still for {GAP_MAX:?}");
            let waited = self.acks.grown.wait_timeout(at, deadline.left());
            at = waited.unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
    }

    /// How many records are acknowledged.
    pub fn count(&self) -> usize {
        self.acks.lock().len()
    }

    /// The longest time between two acknowledgements from number `from` on.
    pub fn longest_gap_since(&self, from: usize) -> Duration {
        let at = self.acks.lock();
        let rest = &at[from.saturating_sub(1)..];
        let gaps = rest.windows(2).map(|pair| pair[1] - pair[0]);
        Duration::from_nanos(gaps.max().unwrap_or(0))
    }
}

impl Drop for Steady {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
