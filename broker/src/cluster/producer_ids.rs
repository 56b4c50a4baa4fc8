//! Producer ids. The metadata group gives them away in blocks, durably; this task hands them out
//! from memory. After a crash the rest of a block is lost, never given twice.

use std::ops::Range;
use std::sync::Arc;

use protocol::types::ProducerId;
use tokio::sync::{mpsc, oneshot};

use super::command::Command;
use super::controller::Controller;
use super::error::ChangeError;
use super::outcome::{Effect, Outcome};

/// Ids taken at once.
const BLOCK: i64 = 1000;
/// Requests that may wait for a block; beyond it they are refused as busy.
const WAITING_MAX: usize = 1024;

type Reply = oneshot::Sender<Result<ProducerId, ChangeError>>;

/// Handle to the task that owns the current block.
#[derive(Debug)]
pub(super) struct ProducerIds(mpsc::Sender<Reply>);

impl ProducerIds {
    /// Starts the task. It ends when the handle is dropped.
    pub(super) fn start(controller: Arc<Controller>) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        tokio::spawn(run(controller, receiver));
        Self(sender)
    }

    /// An id that nobody has had.
    pub(super) async fn next(&self) -> Result<ProducerId, ChangeError> {
        let (reply, answer) = oneshot::channel();
        self.0.try_send(reply).or(Err(ChangeError::Busy))?;
        answer.await.unwrap_or(Err(ChangeError::Busy))
    }
}

async fn run(controller: Arc<Controller>, mut requests: mpsc::Receiver<Reply>) {
    let mut block: Range<i64> = 0..0;
    while let Some(reply) = requests.recv().await {
        if block.is_empty() {
            match take(&controller).await {
                Ok(new) => block = new,
                Err(error) => {
                    // Nobody waits any more if the client has gone.
                    drop(reply.send(Err(error)));
                    continue;
                }
            }
        }
        let id = block.start;
        block.start += 1;
        drop(reply.send(Ok(ProducerId::new(id))));
    }
}

async fn take(controller: &Controller) -> Result<Range<i64>, ChangeError> {
    match controller.propose(Command::TakeProducerIds { count: BLOCK }).await? {
        Outcome { effect: Effect::ProducerIds { first }, .. } => Ok(first..first + BLOCK),
        // No other effect belongs to this command.
        Outcome { effect: _, .. } => Err(ChangeError::Halted),
    }
}
