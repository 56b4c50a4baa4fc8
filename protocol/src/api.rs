//! The one table of APIs that this broker serves; ApiVersions and the dispatcher read it.

/// One served API.
#[derive(Debug, Clone, Copy)]
pub struct ApiSpec {
    /// Kafka's number.
    pub key: i16,
    /// Kafka's name.
    pub name: &'static str,
    /// Lowest version advertised, inclusive.
    pub version_min: i16,
    /// Highest version served, inclusive.
    pub version_max: i16,
    /// Largest frame accepted, in bytes; `None` leaves it to `socket.request.max.bytes`.
    pub frame_bytes_max: Option<usize>,
}

/// Every served API, by rising key.
pub const SERVED: &[ApiSpec] = &[
    ApiSpec { key: 0, name: "Produce", version_min: 0, version_max: 13, frame_bytes_max: None },
    ApiSpec {
        key: 1,
        name: "Fetch",
        version_min: 4,
        version_max: 18,
        frame_bytes_max: Some(1 << 20),
    },
    ApiSpec {
        key: 2,
        name: "ListOffsets",
        version_min: 1,
        version_max: 10,
        frame_bytes_max: Some(1 << 20),
    },
    ApiSpec {
        key: 3,
        name: "Metadata",
        version_min: 0,
        version_max: 13,
        frame_bytes_max: Some(1 << 20),
    },
    ApiSpec {
        key: 10,
        name: "FindCoordinator",
        version_min: 0,
        version_max: 6,
        frame_bytes_max: Some(1 << 20),
    },
    ApiSpec {
        key: 18,
        name: "ApiVersions",
        version_min: 0,
        version_max: 4,
        frame_bytes_max: Some(1 << 20),
    },
    ApiSpec {
        key: 19,
        name: "CreateTopics",
        version_min: 2,
        version_max: 7,
        frame_bytes_max: Some(1 << 20),
    },
    ApiSpec {
        key: 20,
        name: "DeleteTopics",
        version_min: 1,
        version_max: 6,
        frame_bytes_max: Some(1 << 20),
    },
    ApiSpec {
        key: 21,
        name: "DeleteRecords",
        version_min: 0,
        version_max: 2,
        frame_bytes_max: Some(1 << 20),
    },
    ApiSpec {
        key: 22,
        name: "InitProducerId",
        version_min: 0,
        version_max: 5,
        frame_bytes_max: Some(1 << 20),
    },
    ApiSpec {
        key: 23,
        name: "OffsetForLeaderEpoch",
        version_min: 2,
        version_max: 4,
        frame_bytes_max: Some(1 << 20),
    },
    ApiSpec {
        key: 32,
        name: "DescribeConfigs",
        version_min: 1,
        version_max: 4,
        frame_bytes_max: Some(1 << 20),
    },
    ApiSpec {
        key: 33,
        name: "AlterConfigs",
        version_min: 0,
        version_max: 2,
        frame_bytes_max: Some(1 << 20),
    },
    ApiSpec {
        key: 35,
        name: "DescribeLogDirs",
        version_min: 1,
        version_max: 4,
        frame_bytes_max: Some(1 << 20),
    },
    ApiSpec {
        key: 37,
        name: "CreatePartitions",
        version_min: 0,
        version_max: 3,
        frame_bytes_max: Some(1 << 20),
    },
    ApiSpec {
        key: 44,
        name: "IncrementalAlterConfigs",
        version_min: 0,
        version_max: 1,
        frame_bytes_max: Some(1 << 20),
    },
    ApiSpec {
        key: 60,
        name: "DescribeCluster",
        version_min: 0,
        version_max: 2,
        frame_bytes_max: Some(1 << 20),
    },
    ApiSpec {
        key: 74,
        name: "ListConfigResources",
        version_min: 0,
        version_max: 1,
        frame_bytes_max: Some(1 << 20),
    },
    ApiSpec {
        key: 75,
        name: "DescribeTopicPartitions",
        version_min: 0,
        version_max: 0,
        frame_bytes_max: Some(1 << 20),
    },
];
