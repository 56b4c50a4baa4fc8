//! The one table of APIs that this broker serves: the guard, the codec, ApiVersions and the
//! dispatcher read it. It must hold no API that the dispatcher cannot answer.

use crate::guard::requests::{self, admin};
use crate::guard::shape::Struct;

/// One served API.
#[derive(Debug, Clone, Copy)]
pub struct ApiSpec {
    /// Kafka's number.
    pub key: i16,
    /// Kafka's name.
    pub name: &'static str,
    /// Lowest version advertised, inclusive.
    pub version_min: i16,
    /// Lowest version decoded, inclusive. Above `version_min` for Produce only: clients that look
    /// for the old versions to learn what the broker can compress must see them, although a request
    /// in one of them is refused (behaviour 3).
    pub version_decoded_min: i16,
    /// Highest version served, inclusive.
    pub version_max: i16,
    /// First version with compact lengths, tagged fields and the header that goes with them (KIP-482).
    pub flexible_from: i16,
    /// Largest frame accepted, in bytes; `None` leaves it to `socket.request.max.bytes`.
    pub frame_bytes_max: Option<usize>,
    /// What a request holds, for the guard.
    pub(crate) shape: &'static Struct,
}

impl ApiSpec {
    /// Whether a request in `version` can be decoded.
    #[must_use]
    pub const fn decodes(&self, version: i16) -> bool {
        self.version_decoded_min <= version && version <= self.version_max
    }

    /// Whether `version` has compact lengths and tagged fields.
    #[must_use]
    pub const fn is_flexible(&self, version: i16) -> bool {
        version >= self.flexible_from
    }

    /// Whether responses in `version` have a header with tagged fields. Never for ApiVersions: a
    /// client that does not know our versions yet must be able to read it (behaviour 2).
    #[must_use]
    pub const fn has_flexible_response_header(&self, version: i16) -> bool {
        self.key != API_VERSIONS && self.is_flexible(version)
    }
}

/// The key of ApiVersions, the one API that is answered in versions we do not know.
pub const API_VERSIONS: i16 = 18;

const MIB: usize = 1 << 20;
/// For APIs that have no version with compact lengths.
const NEVER: i16 = i16::MAX;

/// A row of the table. Frames hold names and numbers, so `mib` is far above what a client sends.
const fn api(
    key: i16,
    name: &'static str,
    versions: (i16, i16),
    flexible_from: i16,
    mib: usize,
    shape: &'static Struct,
) -> ApiSpec {
    ApiSpec {
        key,
        name,
        version_min: versions.0,
        version_decoded_min: versions.0,
        version_max: versions.1,
        flexible_from,
        frame_bytes_max: Some(mib * MIB),
        shape,
    }
}

/// Every served API, by rising key.
pub const SERVED: &[ApiSpec] = &[
    ApiSpec {
        key: 0,
        name: "Produce",
        version_min: 0,
        version_decoded_min: 3,
        version_max: 13,
        flexible_from: 9,
        frame_bytes_max: None,
        shape: &requests::PRODUCE,
    },
    api(1, "Fetch", (4, 18), 12, 8, &requests::FETCH),
    api(2, "ListOffsets", (1, 11), 6, 8, &requests::LIST_OFFSETS),
    api(3, "Metadata", (0, 13), 9, 4, &requests::METADATA),
    api(8, "OffsetCommit", (2, 10), 8, 4, &requests::OFFSET_COMMIT),
    api(9, "OffsetFetch", (1, 10), 6, 4, &requests::OFFSET_FETCH),
    api(10, "FindCoordinator", (0, 6), 3, 1, &requests::FIND_COORDINATOR),
    api(11, "JoinGroup", (0, 9), 6, 8, &requests::JOIN_GROUP),
    api(12, "Heartbeat", (0, 4), 4, 1, &requests::HEARTBEAT),
    api(13, "LeaveGroup", (0, 5), 4, 1, &requests::LEAVE_GROUP),
    api(14, "SyncGroup", (0, 5), 4, 8, &requests::SYNC_GROUP),
    api(15, "DescribeGroups", (0, 6), 5, 4, &requests::DESCRIBE_GROUPS),
    api(16, "ListGroups", (0, 5), 3, 1, &requests::LIST_GROUPS),
    api(API_VERSIONS, "ApiVersions", (0, 4), 3, 1, &requests::API_VERSIONS),
    api(19, "CreateTopics", (2, 7), 5, 4, &requests::CREATE_TOPICS),
    api(20, "DeleteTopics", (1, 6), 4, 4, &requests::DELETE_TOPICS),
    api(21, "DeleteRecords", (0, 2), 2, 4, &requests::DELETE_RECORDS),
    api(22, "InitProducerId", (0, 5), 2, 1, &requests::INIT_PRODUCER_ID),
    api(23, "OffsetForLeaderEpoch", (2, 4), 4, 8, &requests::OFFSET_FOR_LEADER_EPOCH),
    api(32, "DescribeConfigs", (1, 4), 4, 4, &requests::DESCRIBE_CONFIGS),
    api(33, "AlterConfigs", (0, 2), 2, 4, &requests::ALTER_CONFIGS),
    api(34, "AlterReplicaLogDirs", (1, 2), 2, 4, &admin::ALTER_REPLICA_LOG_DIRS),
    api(35, "DescribeLogDirs", (1, 5), 2, 4, &requests::DESCRIBE_LOG_DIRS),
    api(37, "CreatePartitions", (0, 3), 2, 4, &requests::CREATE_PARTITIONS),
    api(42, "DeleteGroups", (0, 2), 2, 4, &requests::DELETE_GROUPS),
    api(43, "ElectLeaders", (0, 2), 2, 4, &admin::ELECT_LEADERS),
    api(44, "IncrementalAlterConfigs", (0, 1), 1, 4, &requests::INCREMENTAL_ALTER_CONFIGS),
    api(45, "AlterPartitionReassignments", (0, 1), 0, 4, &admin::ALTER_PARTITION_REASSIGNMENTS),
    api(46, "ListPartitionReassignments", (0, 0), 0, 4, &admin::LIST_PARTITION_REASSIGNMENTS),
    api(47, "OffsetDelete", (0, 0), NEVER, 4, &requests::OFFSET_DELETE),
    api(55, "DescribeQuorum", (0, 2), 0, 1, &admin::DESCRIBE_QUORUM),
    api(57, "UpdateFeatures", (0, 2), 0, 1, &admin::UPDATE_FEATURES),
    api(60, "DescribeCluster", (0, 2), 0, 1, &requests::DESCRIBE_CLUSTER),
    api(61, "DescribeProducers", (0, 0), 0, 4, &admin::DESCRIBE_PRODUCERS),
    api(64, "UnregisterBroker", (0, 0), 0, 1, &admin::UNREGISTER_BROKER),
    api(65, "DescribeTransactions", (0, 0), 0, 4, &admin::DESCRIBE_TRANSACTIONS),
    api(66, "ListTransactions", (0, 2), 0, 1, &admin::LIST_TRANSACTIONS),
    api(68, "ConsumerGroupHeartbeat", (0, 1), 0, 4, &requests::CONSUMER_GROUP_HEARTBEAT),
    api(69, "ConsumerGroupDescribe", (0, 1), 0, 4, &requests::CONSUMER_GROUP_DESCRIBE),
    api(71, "GetTelemetrySubscriptions", (0, 0), 0, 1, &admin::GET_TELEMETRY_SUBSCRIPTIONS),
    // Metrics of a client, which the handler bounds by `telemetry.max.bytes`.
    api(72, "PushTelemetry", (0, 0), 0, 16, &admin::PUSH_TELEMETRY),
    api(74, "ListConfigResources", (0, 1), 0, 1, &requests::LIST_CONFIG_RESOURCES),
    api(75, "DescribeTopicPartitions", (0, 0), 0, 4, &requests::DESCRIBE_TOPIC_PARTITIONS),
];

/// The row of `key`; `None` if the API is not served.
#[must_use]
pub fn spec(key: i16) -> Option<&'static ApiSpec> {
    SERVED.iter().find(|api| api.key == key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::newer;
    use kafka_protocol::messages::ApiKey;

    #[test]
    fn table_is_sorted_and_within_the_codecs_versions() {
        assert!(SERVED.is_sorted_by(|a, b| a.key < b.key));
        for api in SERVED {
            let codec = ApiKey::try_from(api.key).expect("the codec knows every served API");
            let versions = codec.valid_versions();
            assert!(versions.min <= api.version_decoded_min, "{}", api.name);
            for version in versions.max + 1..=api.version_max {
                let is_ours = newer::is_unknown_to_codec(api.key, version)
                    || newer::codec_version(api.key, version) <= versions.max;
                assert!(is_ours, "{} {version}", api.name);
            }
        }
    }

    #[test]
    fn header_versions_agree_with_the_codec() {
        for api in SERVED {
            let codec = ApiKey::try_from(api.key).unwrap();
            for version in api.version_decoded_min..=api.version_max {
                let request = if api.is_flexible(version) { 2 } else { 1 };
                let response = i16::from(api.has_flexible_response_header(version));
                assert_eq!(
                    codec.request_header_version(version),
                    request,
                    "{} {version}",
                    api.name
                );
                assert_eq!(codec.response_header_version(version), response, "{}", api.name);
            }
        }
    }

    #[test]
    fn unserved_keys_have_no_row() {
        assert!(spec(4).is_none());
        assert!(spec(-1).is_none());
        assert_eq!(spec(API_VERSIONS).map(|api| api.name), Some("ApiVersions"));
    }
}
