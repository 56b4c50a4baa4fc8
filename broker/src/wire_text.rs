//! Texts and numbers of ours in the codec's types. Copies: a response never pins a request's frame.

use std::fmt::Display;
use std::sync::Arc;

use kafka_protocol::messages as m;
use kafka_protocol::protocol::StrBytes;
use protocol::types::BrokerId;

/// A text.
pub(crate) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// A text of a request that outlives it: a slice would pin the request's frame.
pub(crate) fn shared(text: &str) -> Arc<str> {
    Arc::from(text)
}

/// An error's sentence may repeat what a client sent; the wire has room for 32,767 bytes.
const MESSAGE_CHARS_MAX: usize = 1000;

/// The message that explains an error to people.
#[expect(clippy::unnecessary_wraps, reason = "the fields that take it are optional")]
pub(crate) fn message(error: &impl Display) -> Option<StrBytes> {
    let sentence = error.to_string();
    let end = sentence.char_indices().nth(MESSAGE_CHARS_MAX).map_or(sentence.len(), |(at, _)| at);
    Some(text(&sentence[..end]))
}

/// A broker; `None` is Kafka's -1.
pub(crate) fn broker(broker: Option<BrokerId>) -> m::BrokerId {
    m::BrokerId(broker.map_or(-1, BrokerId::get))
}

/// Several brokers.
pub(crate) fn brokers(brokers: &[BrokerId]) -> Vec<m::BrokerId> {
    brokers.iter().map(|id| broker(Some(*id))).collect()
}
