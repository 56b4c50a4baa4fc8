//! One look at the partitions of a fetch: who has what, within the limits of KIP-74.
//!
//! Partitions are looked at in their order; the first that has records gets at least one whole
//! batch, then the limits hold. What needs the disk goes to the read pool, and only so much of it
//! for one fetch, so that a reader of a cold backlog takes turns with the others.

use std::sync::Arc;

use protocol::error_code::ErrorCode;
use protocol::types::Offset;
use raft::replica::ReplicaPointers;
use smallvec::SmallVec;
use storage::read::{ReadRequest, ReadSource, Records};

use super::Fetch;
use super::subject::HandedOut;
use crate::authorize::{Operation, Resource, authorize};
use crate::cluster::image::Image;
use crate::error_map;
use crate::fetch_session::session::{Candidate, Finding, TopicKey};
use crate::partition::Partition;
use crate::partition::epochs::EpochEnd;
use crate::partition::read::{Found, ReadBudget, ReadRefusal};
use crate::partition::waiters::Version;
use crate::partition::watch::{Slot, Watch};
use crate::resolve::{self, TopicRef};

/// Bytes that one fetch reads from the disk; it is answered with less than it asked for.
const COLD_BYTES_MAX: usize = 8 << 20;

/// What was found in each partition. Most fetches are about one.
pub(super) type Looks = SmallVec<[Look; 1]>;

/// What one look found.
pub(super) struct Pass {
    pub(super) handed_out: HandedOut,
    /// One for each candidate, in the same order.
    pub(super) looks: Looks,
    /// Sum over all records.
    pub(super) bytes: usize,
    /// Whether something must be told at once, whatever the bytes.
    pub(super) is_urgent: bool,
}

/// What was found in one partition.
pub(super) struct Look(pub(super) Result<Seen, Refused>);

/// A partition that could be read.
pub(super) struct Seen {
    pub(super) partition: Arc<Partition>,
    pub(super) pointers: ReplicaPointers,
    pub(super) diverging: Option<EpochEnd>,
    pub(super) records: Records,
    /// Whether the client stands at the end.
    at_end: bool,
    version: Version,
}

/// Why a partition could not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refused(pub(super) ErrorCode);

impl From<ErrorCode> for Refused {
    fn from(error: ErrorCode) -> Self {
        Self(error)
    }
}

impl From<ReadRefusal> for Refused {
    fn from(refusal: ReadRefusal) -> Self {
        Self(match refusal {
            ReadRefusal::LeaderEpoch(refusal) => error_map::leader_epoch(refusal),
            ReadRefusal::OutOfRange => ErrorCode::OffsetOutOfRange,
            ReadRefusal::Log(error) => error_map::read(&error),
        })
    }
}

impl Look {
    /// As the session sees it.
    pub(super) fn finding(&self) -> Finding {
        match &self.0 {
            Ok(seen) if seen.diverging.is_none() => Finding::Seen {
                high_watermark: seen.pointers.high_watermark,
                log_start_offset: seen.pointers.log_start_offset,
                has_records: seen.records.bytes > 0,
                at_end: seen.at_end,
            },
            Ok(_) | Err(_) => Finding::Trouble,
        }
    }

    /// Registers for the next change; `false` if there has been one since the look.
    pub(super) fn register(&self, watch: &Arc<Watch>, slot: Slot) -> bool {
        self.0.as_ref().is_ok_and(|seen| seen.partition.waiters().watch(watch, slot, seen.version))
    }
}

/// What is left of the request's limits.
struct Remaining {
    bytes: usize,
    cold_bytes: usize,
    nothing_yet: bool,
}

impl Fetch {
    /// Looks at every candidate once. Dropping it gives the candidates back.
    pub(super) async fn look(&self, handed_out: HandedOut) -> Pass {
        let image = self.broker.cluster.image();
        let mut remaining = Remaining {
            bytes: self.terms.bytes_max,
            cold_bytes: COLD_BYTES_MAX,
            nothing_yet: true,
        };
        let mut looks = Looks::with_capacity(handed_out.candidates().len());
        let (mut bytes, mut is_urgent) = (0, false);
        for candidate in handed_out.candidates() {
            let look = self.look_at(&image, candidate, &mut remaining).await;
            match &look {
                Ok(seen) => {
                    bytes += seen.records.bytes;
                    is_urgent |= seen.diverging.is_some();
                }
                Err(_) => is_urgent = true,
            }
            looks.push(Look(look));
        }
        Pass { handed_out, looks, bytes, is_urgent }
    }

    async fn look_at(
        &self,
        image: &Image,
        candidate: &Candidate,
        remaining: &mut Remaining,
    ) -> Result<Seen, Refused> {
        let topic = resolve::topic(image, topic_ref(&candidate.topic))?;
        if !authorize(&self.context, Operation::Read, Resource::Topic(topic.name.as_str())) {
            return Err(ErrorCode::TopicAuthorizationFailed.into());
        }
        let (_, partition) =
            resolve::partition(&self.broker.partitions, topic, candidate.partition)?;
        self.read(partition, candidate, remaining).await
    }

    async fn read(
        &self,
        partition: Arc<Partition>,
        candidate: &Candidate,
        remaining: &mut Remaining,
    ) -> Result<Seen, Refused> {
        let budget = |source| ReadBudget {
            bytes_max: candidate.wanted.bytes_max.min(remaining.bytes),
            at_least_one: remaining.nothing_yet,
            source,
        };
        let (from, isolation) = (candidate.wanted.from, self.terms.isolation);
        let mut view = partition.read(from, isolation, budget(ReadSource::Any))?;
        if let Found::Records(records) = view.found {
            view.found = match self.broker.response_memory.hold(records) {
                Some(held) => Found::Records(held),
                None => partition.read(from, isolation, budget(ReadSource::File))?.found,
            };
        }
        let at_end = matches!(view.found, Found::AtEnd);
        let (diverging, records) = match view.found {
            Found::AtEnd | Found::NoBudget => (None, Records::default()),
            Found::Records(records) => (None, records),
            Found::OnDisk(request) => (None, self.read_cold(&partition, request, remaining).await?),
            Found::Diverging(end) => (Some(end), Records::default()),
        };
        if records.bytes > 0 {
            remaining.bytes = remaining.bytes.saturating_sub(records.bytes);
            remaining.nothing_yet = false;
        }
        let (pointers, version) = (view.pointers, view.version);
        Ok(Seen { partition, pointers, diverging, records, at_end, version })
    }

    async fn read_cold(
        &self,
        partition: &Arc<Partition>,
        request: ReadRequest,
        remaining: &mut Remaining,
    ) -> Result<Records, Refused> {
        let bytes_max = request.bytes_max.min(remaining.cold_bytes);
        if bytes_max == 0 && !request.at_least_one {
            return Ok(Records::default());
        }
        let request = ReadRequest { bytes_max, source: ReadSource::File, ..request };
        let reader = partition.clone();
        let read = move || reader.replica.log().read_blocking(request);
        let records = match self.broker.read_pool.run(read).await {
            Ok(records) => records.map_err(ReadRefusal::Log)?,
            Err(_) => return Err(ErrorCode::KafkaStorageError.into()),
        };
        remaining.cold_bytes = remaining.cold_bytes.saturating_sub(records.bytes);
        Ok(records)
    }
}

/// A topic of a session, as it is found in an image.
pub(super) fn topic_ref(key: &TopicKey) -> TopicRef<'_> {
    match key {
        TopicKey::Name(name) => TopicRef::Name(name),
        TopicKey::Id(id) => TopicRef::Id(*id),
    }
}

/// What stands in a response where a pointer is unknown.
pub(super) const UNKNOWN: Offset = Offset::NONE;
