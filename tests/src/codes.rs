//! Error codes of the Kafka protocol that the tests expect, by their names there.

/// The request was carried out.
pub const NONE: i16 = 0;
/// The offset is outside of what the partition holds.
pub const OFFSET_OUT_OF_RANGE: i16 = 1;
/// The CRC does not fit.
pub const CORRUPT_MESSAGE: i16 = 2;
/// No such topic or partition here.
pub const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
/// The broker may or may not have done it; it did not know in time.
pub const REQUEST_TIMED_OUT: i16 = 7;
/// Larger than the topic takes.
pub const MESSAGE_TOO_LARGE: i16 = 10;
/// A commit's text is longer than the broker keeps.
pub const OFFSET_METADATA_TOO_LARGE: i16 = 12;
/// The coordinator reads its state.
pub const COORDINATOR_LOAD_IN_PROGRESS: i16 = 14;
/// There is no coordinator now.
pub const COORDINATOR_NOT_AVAILABLE: i16 = 15;
/// This broker does not coordinate that.
pub const NOT_COORDINATOR: i16 = 16;
/// Not a legal topic name.
pub const INVALID_TOPIC: i16 = 17;
/// Larger than a segment.
pub const RECORD_LIST_TOO_LARGE: i16 = 18;
/// Fewer replicas in sync than the topic wants.
pub const NOT_ENOUGH_REPLICAS: i16 = 19;
/// An acks value that does not exist.
pub const INVALID_REQUIRED_ACKS: i16 = 21;
/// The member's generation is over.
pub const ILLEGAL_GENERATION: i16 = 22;
/// The members have no protocol in common, or none of the group's type.
pub const INCONSISTENT_GROUP_PROTOCOL: i16 = 23;
/// Not a group's id.
pub const INVALID_GROUP_ID: i16 = 24;
/// The group has no such member.
pub const UNKNOWN_MEMBER_ID: i16 = 25;
/// Shorter or longer than the broker takes.
pub const INVALID_SESSION_TIMEOUT: i16 = 26;
/// Members must join again.
pub const REBALANCE_IN_PROGRESS: i16 = 27;
/// A timestamp beyond what the topic takes.
pub const INVALID_TIMESTAMP: i16 = 32;
/// This version of the request is not served.
pub const UNSUPPORTED_VERSION: i16 = 35;
/// The topic exists.
pub const TOPIC_ALREADY_EXISTS: i16 = 36;
/// Not a number of partitions.
pub const INVALID_PARTITIONS: i16 = 37;
/// Not a replication factor that can be had.
pub const INVALID_REPLICATION_FACTOR: i16 = 38;
/// Not an assignment that can be had.
pub const INVALID_REPLICA_ASSIGNMENT: i16 = 39;
/// Not a legal setting.
pub const INVALID_CONFIG: i16 = 40;
/// The request makes no sense.
pub const INVALID_REQUEST: i16 = 42;
/// The batch is of an older format than the broker keeps.
pub const UNSUPPORTED_FOR_MESSAGE_FORMAT: i16 = 43;
/// Sequence numbers have a gap.
pub const OUT_OF_ORDER_SEQUENCE_NUMBER: i16 = 45;
/// A newer instance of the producer exists.
pub const INVALID_PRODUCER_EPOCH: i16 = 47;
/// The disk does not take it, now or for good.
pub const KAFKA_STORAGE_ERROR: i16 = 56;
/// The broker has no such directory.
pub const LOG_DIR_NOT_FOUND: i16 = 57;
/// The group has members.
pub const NON_EMPTY_GROUP: i16 = 68;
/// There is no such group.
pub const GROUP_ID_NOT_FOUND: i16 = 69;
/// No such fetch session.
pub const FETCH_SESSION_ID_NOT_FOUND: i16 = 70;
/// The fetch session is at another epoch.
pub const INVALID_FETCH_SESSION_EPOCH: i16 = 71;
/// The broker's settings forbid deleting topics.
pub const TOPIC_DELETION_DISABLED: i16 = 73;
/// The leader epoch is older than the broker's.
pub const FENCED_LEADER_EPOCH: i16 = 74;
/// The leader epoch is newer than the broker's.
pub const UNKNOWN_LEADER_EPOCH: i16 = 75;
/// The codec is not allowed in this version.
pub const UNSUPPORTED_COMPRESSION_TYPE: i16 = 76;
/// Join again with the id that this answer gives.
pub const MEMBER_ID_REQUIRED: i16 = 79;
/// Another member has the static id now.
pub const FENCED_INSTANCE_ID: i16 = 82;
/// The preferred leader leads already.
pub const ELECTION_NOT_NEEDED: i16 = 84;
/// The partition is not on its way to other brokers.
pub const NO_REASSIGNMENT_IN_PROGRESS: i16 = 85;
/// A member of the group is subscribed to the topic.
pub const GROUP_SUBSCRIBED_TO_TOPIC: i16 = 86;
/// A record breaks a rule.
pub const INVALID_RECORD: i16 = 87;
/// Too early: the client must wait.
pub const THROTTLING_QUOTA_EXCEEDED: i16 = 89;
/// A feature cannot have this level.
pub const INVALID_UPDATE_VERSION: i16 = 95;
/// No topic with this id.
pub const UNKNOWN_TOPIC_ID: i16 = 100;
/// No broker with this id.
pub const BROKER_ID_NOT_REGISTERED: i16 = 102;
/// The id belongs to an older topic of this name.
pub const INCONSISTENT_TOPIC_ID: i16 = 103;
/// No transactional producer with this id.
pub const TRANSACTIONAL_ID_NOT_FOUND: i16 = 105;
/// The session was made without topic ids, or with.
pub const FETCH_SESSION_TOPIC_ID_ERROR: i16 = 106;
/// The member must give up everything and join again.
pub const FENCED_MEMBER_EPOCH: i16 = 110;
/// The static id belongs to a member that has not left.
pub const UNRELEASED_INSTANCE_ID: i16 = 111;
/// No such server-side assignor.
pub const UNSUPPORTED_ASSIGNOR: i16 = 112;
/// A commit or fetch at another member epoch than the present one.
pub const STALE_MEMBER_EPOCH: i16 = 113;
/// What the client was asked to push has changed.
pub const UNKNOWN_SUBSCRIPTION_ID: i16 = 117;
/// More metrics than the broker takes.
pub const TELEMETRY_TOO_LARGE: i16 = 118;
/// Not a regular expression of RE2's dialect.
pub const INVALID_REGULAR_EXPRESSION: i16 = 128;
