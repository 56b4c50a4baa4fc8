//! What the groups of this node answer others.

use std::sync::{Arc, Weak};

use bytes::Bytes;

use super::{Inner, takeover};
use crate::group::decode_request;
use crate::peers::{Caller, Message, Service};
use crate::replica::SeamFuture;

/// What a service of the groups answers.
#[derive(Clone, Copy)]
pub(super) enum Answer {
    Partitions,
    Takeover,
}

pub(super) struct Answers {
    pub(super) inner: Weak<Inner>,
    pub(super) answer: Answer,
}

impl Service for Answers {
    fn call(
        self: Arc<Self>,
        from: Caller,
        request: Bytes,
    ) -> SeamFuture<'static, Result<Message, String>> {
        Box::pin(async move {
            let inner = self.inner.upgrade().ok_or("the groups of this node are closed")?;
            match self.answer {
                Answer::Partitions => inner.answer(&from, request).await,
                Answer::Takeover => takeover::answer(inner, request).await,
            }
        })
    }
}

impl Inner {
    async fn answer(&self, from: &Caller, request: Bytes) -> Result<Message, String> {
        let (to, request) = decode_request(self.me.broker_id, request)?;
        if to.replica != self.me {
            return Err(format!("this is {}, and not {}", self.me, to.replica));
        }
        let group = self.group(to.group);
        let group = group.ok_or_else(|| format!("{} is not open here", to.group))?;
        group.answer(from, request).await
    }
}
