//! OffsetCommit (API key 8): how far a group has read (behaviours 45 and 47).
//!
//! Each partition is judged by itself, the caller once for all. What is accepted goes into the log as
//! one batch, and is answered when that is committed.

use std::collections::HashMap;
use std::sync::Arc;

use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::{OffsetCommitRequest, OffsetCommitResponse};
use protocol::error_code::ErrorCode;
use protocol::group_record::{CommittedOffset, GroupRecord, OffsetKey};
use protocol::response::Response;

use crate::authorize::{Operation, Resource, authorize};
use crate::broker::Broker;
use crate::cluster::image::{Image, TopicImage};
use crate::context::RequestContext;
use crate::error_map;
use crate::groups::after_commit;
use crate::groups::effects::GroupError;
use crate::groups::members::Committer;
use crate::groups::owner::PlanRefusal;
use crate::reply::Work;
use crate::resolve::{self, TopicRef};
use crate::wire_text::shared;

/// From here on a group that is not there is told apart from a generation that is over.
const UNKNOWN_GROUP_SINCE: i16 = 9;
/// From here on topics are named by their ids.
const TOPIC_IDS_SINCE: i16 = 10;
/// Bytes of a record's numbers and lengths, at most.
const RECORD_NUMBERS_BYTES: usize = 96;

/// Serves one request.
pub(crate) fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: OffsetCommitRequest,
) -> Work {
    let mut verdicts = Verdicts::new(&request);
    if !authorize(context, Operation::Read, Resource::Group(&request.group_id)) {
        return verdicts.refuse_all(ErrorCode::GroupAuthorizationFailed);
    }
    let owner = match broker.groups.owner(&request.group_id) {
        Ok(owner) => owner,
        Err(error) => return verdicts.refuse_all(error_map::unavailable(error)),
    };
    let records = records(broker, context, &request, owner.times().wall_ms, &mut verdicts);
    let bytes: usize = records.iter().map(stored_bytes).sum();
    if bytes > owner.batch_bytes_max() {
        return verdicts.refuse_all(ErrorCode::InvalidCommitOffsetSize);
    }
    let OffsetCommitRequest { group_id, member_id, generation_id_or_member_epoch, .. } = &request;
    let committer = Committer {
        member_id,
        instance_id: request.group_instance_id.as_deref(),
        generation: *generation_id_or_member_epoch,
        version: context.api_version,
    };
    let stored = owner.store(|shard, at| {
        shard.check_commit(group_id, committer, &records, at)?;
        Ok(((), records))
    });
    match stored {
        Ok(((), upto)) => after_commit::respond(owner, upto, move |committed| match committed {
            Ok(()) => Response::OffsetCommit(verdicts.response),
            Err(error) => verdicts.refused(error_map::unavailable(error)),
        }),
        Err(refusal) => verdicts.refuse_all(code(&refusal, context.api_version)),
    }
}

fn code(refusal: &PlanRefusal, version: i16) -> ErrorCode {
    match refusal {
        PlanRefusal::Unavailable(error) => error_map::unavailable(*error),
        // Of a group that is not there no generation is the present one.
        PlanRefusal::Group(GroupError::UnknownGroup) if version < UNKNOWN_GROUP_SINCE => {
            ErrorCode::IllegalGeneration
        }
        PlanRefusal::Group(error) => error_map::group(*error),
        PlanRefusal::TooLarge => ErrorCode::InvalidCommitOffsetSize,
    }
}

/// The records of what can be accepted, copied out of the frame. What cannot is noted in `verdicts`.
fn records(
    broker: &Broker,
    context: &RequestContext,
    request: &OffsetCommitRequest,
    now_ms: i64,
    verdicts: &mut Verdicts,
) -> Vec<GroupRecord> {
    let image = broker.cluster.image();
    let metadata_bytes_max = broker.groups.settings().commit_metadata_bytes_max;
    let group = shared(&request.group_id);
    let expires_at = u64::try_from(request.retention_time_ms)
        .ok()
        .map(|retention| now_ms.saturating_add_unsigned(retention));
    let mut records = Vec::new();
    // A partition that stands there twice counts with its last commit; each costs one record.
    let mut places: HashMap<(Arc<str>, i32), usize> = HashMap::new();
    for (topic, verdicts) in request.topics.iter().zip(&mut verdicts.response.topics) {
        let known = find(&image, context, topic);
        let name = known.map_or_else(|_none| shared(""), |known| shared(known.name.as_str()));
        for (partition, verdict) in topic.partitions.iter().zip(&mut verdicts.partitions) {
            match check(known, partition, metadata_bytes_max) {
                Ok(()) => {
                    let index = partition.partition_index;
                    let value = committed(partition, now_ms, expires_at);
                    let key = OffsetKey {
                        group: Arc::clone(&group),
                        topic: Arc::clone(&name),
                        partition: index,
                    };
                    let record = GroupRecord::Offset(key, Some(value));
                    let place = *places.entry((Arc::clone(&name), index)).or_insert(records.len());
                    match records.get_mut(place) {
                        Some(earlier) => *earlier = record,
                        None => records.push(record),
                    }
                }
                Err(error) => verdict.error_code = error.code(),
            }
        }
    }
    records
}

fn find<'a>(
    image: &'a Image,
    context: &RequestContext,
    topic: &OffsetCommitRequestTopic,
) -> Result<&'a TopicImage, ErrorCode> {
    let by_id = context.api_version >= TOPIC_IDS_SINCE;
    let name = if by_id {
        resolve::topic(image, TopicRef::Id(topic.topic_id))?.name.as_str()
    } else {
        &topic.name
    };
    if !authorize(context, Operation::Read, Resource::Topic(name)) {
        return Err(ErrorCode::TopicAuthorizationFailed);
    }
    resolve::topic(image, TopicRef::Name(name)).map(|topic| &**topic)
}

fn check(
    topic: Result<&TopicImage, ErrorCode>,
    partition: &OffsetCommitRequestPartition,
    metadata_bytes_max: usize,
) -> Result<(), ErrorCode> {
    let partitions = topic?.partitions.len();
    if usize::try_from(partition.partition_index).map_or(true, |index| index >= partitions) {
        return Err(ErrorCode::UnknownTopicOrPartition);
    }
    let metadata = partition.committed_metadata.as_deref().unwrap_or_default();
    if is_longer(metadata, metadata_bytes_max) {
        return Err(ErrorCode::OffsetMetadataTooLarge);
    }
    Ok(())
}

/// Kafka's limit is said to be of bytes, and counts what Java calls the length of a text: units of
/// UTF-16, of which there are never more than bytes of UTF-8.
fn is_longer(text: &str, units_max: usize) -> bool {
    text.len() > units_max && text.encode_utf16().count() > units_max
}

fn committed(
    partition: &OffsetCommitRequestPartition,
    committed_at: i64,
    expires_at: Option<i64>,
) -> CommittedOffset {
    CommittedOffset {
        offset: partition.committed_offset,
        leader_epoch: partition.committed_leader_epoch,
        metadata: shared(partition.committed_metadata.as_deref().unwrap_or_default()),
        committed_at,
        expires_at,
        // Programs that read the log themselves cannot read a commit with it; and what is committed
        // goes with its topic anyway.
        topic_id: None,
    }
}

fn stored_bytes(record: &GroupRecord) -> usize {
    let GroupRecord::Offset(key, Some(value)) = record else { return 0 };
    RECORD_NUMBERS_BYTES + key.group.len() + key.topic.len() + value.metadata.len()
}

/// The response as it grows: no error where nothing was noted.
struct Verdicts {
    response: OffsetCommitResponse,
}

impl Verdicts {
    fn new(request: &OffsetCommitRequest) -> Self {
        let topics = request.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|partition| {
                OffsetCommitResponsePartition::default()
                    .with_partition_index(partition.partition_index)
            });
            OffsetCommitResponseTopic::default()
                .with_name(resolve::wire_name(&topic.name))
                .with_topic_id(topic.topic_id)
                .with_partitions(partitions.collect())
        });
        Self { response: OffsetCommitResponse::default().with_topics(topics.collect()) }
    }

    /// The same answer for all that has no error of its own.
    fn refused(mut self, error: ErrorCode) -> Response {
        let partitions = self.response.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
        for partition in partitions.filter(|it| it.error_code == ErrorCode::None.code()) {
            partition.error_code = error.code();
        }
        Response::OffsetCommit(self.response)
    }

    fn refuse_all(self, error: ErrorCode) -> Work {
        Work::message(self.refused(error))
    }
}
