//! Fetch responses in our own framing: fields written here, records appended by reference.

use bytes::Bytes;
use uuid::Uuid;

/// Records that stand by reference in a response.
pub trait RecordsByReference {
    /// Their size in bytes.
    fn records_bytes(&self) -> usize;
}

/// One run of a response frame.
#[derive(Debug)]
pub enum Part<R> {
    /// Encoded fields.
    Bytes(Bytes),
    /// Records, to be written as they are.
    Records(R),
}

/// A whole response.
#[derive(Debug)]
pub struct FetchReply<R> {
    /// Milliseconds for which the client should stay quiet.
    pub throttle_ms: i32,
    /// Error of the whole request (v7+).
    pub error_code: i16,
    /// Fetch session, 0 for none (v7+).
    pub session_id: i32,
    /// By topic, in the order of the request.
    pub topics: Vec<FetchTopicReply<R>>,
    /// Where leaders named in `current_leader` listen (v16+): (broker id, host, port, rack).
    pub node_endpoints: Vec<(i32, String, i32, Option<String>)>,
}

/// One topic of a response.
#[derive(Debug)]
pub struct FetchTopicReply<R> {
    /// Name, written below v13.
    pub name: String,
    /// Id, written from v13.
    pub id: Uuid,
    /// Partitions.
    pub partitions: Vec<FetchPartitionReply<R>>,
}

/// One partition of a response.
#[derive(Debug)]
pub struct FetchPartitionReply<R> {
    /// Which.
    pub partition: i32,
    /// Its error, 0 for none.
    pub error_code: i16,
    /// -1 where unknown.
    pub high_watermark: i64,
    /// -1 where unknown.
    pub last_stable_offset: i64,
    /// -1 where unknown (v5+).
    pub log_start_offset: i64,
    /// (epoch, end offset) where the client's history leaves ours (v12+).
    pub diverging_epoch: Option<(i32, i64)>,
    /// (leader id, leader epoch) for a client that asked the wrong broker (v12+).
    pub current_leader: Option<(i32, i32)>,
    /// (producer id, first offset) of aborted transactions; `None` for read_uncommitted.
    pub aborted_transactions: Option<Vec<(i64, i64)>>,
    /// Broker to read from, -1 for this one (v11+).
    pub preferred_read_replica: i32,
    /// The records; `None` is written as empty.
    pub records: Option<R>,
}

/// Encodes a whole frame, length prefix included, as parts in the order of the wire. Adjacent fields
/// share one [`Part::Bytes`].
#[must_use]
pub fn encode<R: RecordsByReference>(
    _correlation_id: i32,
    _api_version: i16,
    _reply: FetchReply<R>,
) -> Vec<Part<R>> {
    todo!()
}
