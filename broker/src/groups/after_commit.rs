//! Answers that leave once the log of their groups is committed.

use std::sync::Arc;

use protocol::response::Response;
use protocol::types::Offset;
use tokio::sync::oneshot;

use super::effects::Answer;
use super::owner::{Owner, Told, Unavailable};
use crate::reply::{Reply, Work};

/// Answers when everything below `upto` is committed, or when that will never be known.
pub(crate) fn respond(
    owner: Arc<Owner>,
    upto: Offset,
    response: impl FnOnce(Result<(), Unavailable>) -> Response + Send + 'static,
) -> Work {
    if owner.is_committed(upto) {
        return Work::message(response(Ok(())));
    }
    // May be dropped: what was stored stays, and the client asks again.
    Work::later(async move {
        let committed = owner.committed(upto).await;
        Reply::Message(response(committed))
    })
}

/// Waits for the answer to a request that waits for others. May be dropped.
pub(crate) async fn answer(
    owner: &Owner,
    told: oneshot::Receiver<Told>,
) -> Result<Answer, Unavailable> {
    let Told { answer, upto } = told.await.map_err(|_lost| Unavailable::NotHere)?;
    owner.committed(upto).await?;
    Ok(answer)
}
