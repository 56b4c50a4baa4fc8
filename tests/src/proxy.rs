//! A network between brokers that a test can cut: each direction between two of them by itself, or
//! slow, while the brokers' processes go on.
//!
//! Every broker is reached by the others through a proxy of its own. Who calls is read from the
//! greeting (`raft/src/peers/hello.rs` draws it): the broker's id stands at a fixed place. A direction
//! that is cut holds bytes back instead of dropping them, which is what a real cut looks like to TCP:
//! nothing is closed, nothing arrives, and when it heals what was sent is sent again.

use crate::deadline::{Deadline, PATIENCE};
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Where the caller's broker id stands in the first frame, and how much of it must be there.
const BROKER_ID_AT: usize = 28;
const GREETING_BYTES: usize = 32;
/// What one read takes.
const CHUNK_BYTES: usize = 64 << 10;

/// A broker's id.
pub type BrokerId = i32;

/// What becomes of bytes on their way from one broker to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Way {
    /// They go on at once.
    #[default]
    Open,
    /// Every piece takes so long, and the ones behind it wait.
    Slow(Duration),
    /// They stay until this changes.
    Cut,
}

#[derive(Debug, Default)]
struct Ways {
    by_direction: Mutex<HashMap<(BrokerId, BrokerId), Way>>,
    changed: Condvar,
}

impl Ways {
    fn lock(&self) -> MutexGuard<'_, HashMap<(BrokerId, BrokerId), Way>> {
        self.by_direction.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until bytes may go on in this direction; how long they still take.
    fn pass(&self, direction: (BrokerId, BrokerId)) -> Duration {
        let mut ways = self.lock();
        loop {
            match ways.get(&direction).copied().unwrap_or_default() {
                Way::Open => return Duration::ZERO,
                Way::Slow(delay) => return delay,
                Way::Cut => {
                    let waited = self.changed.wait(ways);
                    ways = waited.unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }
}

/// The network. Its threads end with the process.
#[derive(Debug, Clone, Default)]
pub struct Network {
    ways: Arc<Ways>,
}

impl Network {
    /// Opens the way to a broker that listens, or will listen, at `target`; where the others call.
    pub fn reach(&self, broker: BrokerId, target: SocketAddr) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let ways = Arc::clone(&self.ways);
        thread::spawn(move || {
            for caller in listener.incoming().map_while(Result::ok) {
                let ways = Arc::clone(&ways);
                thread::spawn(move || drop(relay(caller, (broker, target), &ways)));
            }
        });
        address
    }

    /// Changes what becomes of bytes from one broker to another.
    pub fn set(&self, from: BrokerId, to: BrokerId, way: Way) {
        self.ways.lock().insert((from, to), way);
        self.ways.changed.notify_all();
    }

    /// Opens every way.
    pub fn heal(&self) {
        self.ways.lock().clear();
        self.ways.changed.notify_all();
    }
}

/// Carries one connection until either side ends it.
fn relay(
    mut caller: TcpStream,
    (broker, target): (BrokerId, SocketAddr),
    ways: &Arc<Ways>,
) -> io::Result<()> {
    caller.set_nodelay(true)?;
    caller.set_read_timeout(Some(PATIENCE))?;
    let mut greeting = [0; GREETING_BYTES];
    caller.read_exact(&mut greeting)?;
    caller.set_read_timeout(None)?;
    let id = greeting[BROKER_ID_AT..].first_chunk().expect("four bytes are left");
    let source = BrokerId::from_be_bytes(*id);
    ways.pass((source, broker));
    // A broker that is not there refuses its callers at once, and so does its proxy.
    let mut answerer = TcpStream::connect(target)?;
    answerer.set_nodelay(true)?;
    answerer.write_all(&greeting)?;
    let back = (answerer.try_clone()?, caller.try_clone()?);
    let returning = Arc::clone(ways);
    thread::spawn(move || pump(back, (broker, source), &returning));
    pump((caller, answerer), (source, broker), ways);
    Ok(())
}

fn pump((mut from, mut to): (TcpStream, TcpStream), way: (BrokerId, BrokerId), ways: &Ways) {
    let mut chunk = vec![0; CHUNK_BYTES];
    while let Ok(count) = from.read(&mut chunk) {
        let delay = Deadline::after(ways.pass(way));
        while !delay.passed() {
            thread::park_timeout(delay.left());
        }
        if count == 0 || to.write_all(&chunk[..count]).is_err() {
            break;
        }
    }
    // The other pump sees the end of what it reads, or of what it writes.
    drop(to.shutdown(Shutdown::Both));
    drop(from.shutdown(Shutdown::Both));
}
