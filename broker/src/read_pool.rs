//! The bounded pool for reads that wait for the disk, so that they block no executor thread.
//!
//! A job is one read of one partition: short, and served in the order of arrival, so that a client
//! that reads a cold backlog waits behind the others' single reads and not behind their requests.
//! When the queue is full a caller waits for a place, in order too. A job whose caller is gone
//! before it starts is skipped.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread;

use parking_lot::{Condvar, Mutex};
use tokio::sync::{Semaphore, oneshot};

/// Jobs that wait or run; further callers wait before they queue anything.
const JOBS_MAX: usize = 256;

/// The pool went away, or the job panicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the read pool did not answer")]
pub(crate) struct ReadPoolError;

/// Handle to the pool; its threads end when it is dropped.
#[derive(Debug)]
pub(crate) struct ReadPool {
    queue: Arc<Queue>,
    places: Arc<Semaphore>,
}

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Queue {
    state: Mutex<QueueState>,
    not_empty: Condvar,
}

#[derive(Default)]
struct QueueState {
    jobs: VecDeque<Job>,
    closed: bool,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("jobs", &self.state.lock().jobs.len()).finish()
    }
}

impl ReadPool {
    /// Starts `threads` threads.
    ///
    /// # Errors
    /// The operating system refuses a thread.
    pub(crate) fn new(threads: usize) -> io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let pool = Self { queue: queue.clone(), places: Arc::new(Semaphore::new(JOBS_MAX)) };
        for number in 0..threads.max(1) {
            let queue = queue.clone();
            thread::Builder::new()
                .name(format!("cold-read-{number}"))
                .spawn(move || queue.serve())?;
        }
        Ok(pool)
    }

    /// Runs `job` on a thread of the pool. May be dropped: the job is skipped unless it has begun.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ReadPoolError> {
        let place = self.places.clone().acquire_owned().await.map_err(|_closed| ReadPoolError)?;
        let (answer, answered) = oneshot::channel();
        self.queue.push(Box::new(move || {
            if !answer.is_closed() {
                // The caller may have gone while the job ran: nobody wants the answer then.
                answer.send(job()).ok();
            }
            drop(place);
        }));
        answered.await.map_err(|_gone| ReadPoolError)
    }
}

impl Drop for ReadPool {
    fn drop(&mut self) {
        self.queue.state.lock().closed = true;
        self.queue.not_empty.notify_all();
    }
}

impl Queue {
    fn push(&self, job: Job) {
        self.state.lock().jobs.push_back(job);
        self.not_empty.notify_one();
    }

    fn next(&self) -> Option<Job> {
        let mut state = self.state.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            if state.closed {
                return None;
            }
            self.not_empty.wait(&mut state);
        }
    }

    fn serve(&self) {
        while let Some(job) = self.next() {
            // A panic costs the job, whose caller is told by its channel, and not the thread.
            if std::panic::catch_unwind(std::panic::AssertUnwindSafe(job)).is_err() {
                tracing::error!("a read panicked");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn jobs_run_in_the_order_of_arrival_and_a_panic_costs_one() {
        let pool = ReadPool::new(1).unwrap();
        let order = Arc::new(Mutex::new(Vec::new()));
        let job = |number: u32| {
            let order = order.clone();
            pool.run(move || {
                assert_ne!(number, 1, "this job is meant to panic");
                order.lock().push(number);
                number
            })
        };
        let (first, second, third) = tokio::join!(job(0), job(1), job(2));
        assert_eq!((first, second, third), (Ok(0), Err(ReadPoolError), Ok(2)));
        assert_eq!(*order.lock(), [0, 2]);
    }

    #[tokio::test]
    async fn a_job_whose_caller_is_gone_is_skipped() {
        let pool = ReadPool::new(1).unwrap();
        let (hold, held) = std::sync::mpsc::channel::<()>();
        let blocker = pool.run(move || held.recv().is_ok());
        let ran = Arc::new(Mutex::new(false));
        let abandoned = {
            let ran = ran.clone();
            pool.run(move || *ran.lock() = true)
        };
        tokio::pin!(blocker);
        {
            tokio::pin!(abandoned);
            // Both are polled once, in this order, and so queued.
            assert!(futures_poll_once(&mut blocker).await.is_none());
            assert!(futures_poll_once(&mut abandoned).await.is_none());
        }
        hold.send(()).unwrap();
        assert_eq!(blocker.await, Ok(true));
        assert_eq!(pool.run(|| 7).await, Ok(7));
        assert!(!*ran.lock());
    }

    async fn futures_poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        std::future::poll_fn(|context| {
            std::task::Poll::Ready(match std::pin::Pin::new(&mut *future).poll(context) {
                std::task::Poll::Ready(output) => Some(output),
                std::task::Poll::Pending => None,
            })
        })
        .await
    }
}
