//! A broker in this process over a temporary directory, for tests of the data path.
//!
//! Everything below the handlers is real: the metadata group, partitions, replicas, logs, the
//! flusher's fsync. Only the wall clock is the test's own.

use std::net::Ipv4Addr;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages as m;
use kafka_protocol::protocol::{Decodable, StrBytes};
use protocol::batch::builder::{BatchBuilder, NewRecord};
use protocol::batch::{Attributes, Codec};
use protocol::response::Response;
use protocol::topic::{TopicId, TopicName};
use protocol::types::{BrokerId, PartitionId, ProducerEpoch, ProducerId, Sequence, Timestamp};
use raft::groups::GroupsConfig;
use raft::peers::Peers;
use raft::types::GroupId;
use storage::data_dir::{DataDir, DataDirConfig, Identity};
use storage::device::Device;
use storage::device::faulty::FaultyDevice;
use storage::device::os::OsDevice;
use tempfile::TempDir;
use uuid::Uuid;

use crate::broker::Broker;
use crate::clock::Clock;
use crate::cluster::controller::{Layout, TopicSpec};
use crate::cluster::error::ChangeError;
use crate::cluster::image::{BrokerImage, Endpoint};
use crate::cluster::{Cluster, ClusterParts};
use crate::context::{Listener, RequestContext};
use crate::fetch_session::FetchSessions;
use crate::groups::Groups;
use crate::handlers;
use crate::leaders::Leaders;
use crate::leaders::gossip::Gossip;
use crate::log_levels::LogLevels;
use crate::partition::Partition;
use crate::partitions::Partitions;
use crate::read_pool::ReadPool;
use crate::reply::{FramePart, Reply, Work};
use crate::response_memory::{RESPONSE_BYTES_MAX, ResponseMemory};
use crate::settings::{BrokerSettings, Values};
use crate::telemetry::Telemetry;
use crate::test_replica::{TestReplica, TestReplication};

/// Wall-clock time of a test's first instant.
pub(crate) const START: i64 = 1_700_000_000_000;

/// A wall clock that only the test moves.
#[derive(Debug)]
pub(crate) struct TestClock {
    now: AtomicI64,
}

impl TestClock {
    pub(crate) fn advance(&self, by: Duration) {
        self.now.fetch_add(i64::try_from(by.as_millis()).unwrap(), Ordering::Relaxed);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::new(self.now.load(Ordering::Relaxed))
    }

    #[expect(clippy::disallowed_methods, reason = "only differences count")]
    fn monotonic(&self) -> Instant {
        Instant::now()
    }
}

/// The node.
pub(crate) struct TestNode {
    pub(crate) broker: Arc<Broker>,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) data_dir: Arc<DataDir>,
    /// Where the replicas of partitions are found that have more than one.
    pub(crate) replication: Arc<TestReplication>,
    _directory: TempDir,
}

/// A topic of the node: name, partitions, settings.
pub(crate) type Topic<'a> = (&'a str, i32, &'a [(&'a str, &'a str)]);

impl TestNode {
    /// A node with these topics, their partitions open.
    pub(crate) async fn new(topics: &[Topic<'_>]) -> Self {
        let directory = TempDir::new().unwrap();
        Self::on_device(Arc::new(OsDevice), directory, topics).await
    }

    /// A node on a disk that fails when it is told to.
    pub(crate) async fn on_faulty_device(topics: &[Topic<'_>]) -> (Self, Arc<FaultyDevice>) {
        let directory = TempDir::new().unwrap();
        let device = FaultyDevice::new(directory.path()).unwrap();
        (Self::on_device(device.clone(), directory, topics).await, device)
    }

    async fn on_device(device: Arc<dyn Device>, directory: TempDir, topics: &[Topic<'_>]) -> Self {
        let node = Self::open(device, directory, 1, None).await;
        create(&node.broker.cluster, topics).await;
        node
    }

    /// A node that shares partitions with others, on a disk that fails when it is told to; its metadata
    /// is its own.
    pub(crate) async fn member(id: i32, peers: Peers) -> (Self, Arc<FaultyDevice>) {
        let directory = TempDir::new().unwrap();
        let device = FaultyDevice::new(directory.path()).unwrap();
        (Self::open(device.clone(), directory, id, Some(peers)).await, device)
    }

    /// The directory of broker `id`.
    pub(crate) fn directory_id(id: i32) -> Uuid {
        Uuid::from_u128(u128::from(id.unsigned_abs()))
    }

    async fn open(
        device: Arc<dyn Device>,
        directory: TempDir,
        id: i32,
        peers: Option<Peers>,
    ) -> Self {
        let broker_id = BrokerId::new(id);
        let data_dir = open_data_dir(device, &directory.path().join("data"), broker_id);
        let settings = Arc::new(BrokerSettings::new(Values::new()).unwrap());
        let partitions = Arc::new(Partitions::new(data_dir.clone(), broker_id));
        let replication = Arc::<TestReplication>::default();
        let leaders = Arc::new(Leaders::new(broker_id, partitions.clone()));
        let gossip = peers.as_ref().map(|peers| {
            Gossip::start(peers.clone(), Arc::clone(&leaders), Arc::clone(&partitions))
        });
        if let Some(peers) = peers {
            partitions.set_replication(start_groups(&data_dir, peers).await);
        } else {
            partitions.set_replication(replication.clone());
        }
        let parts = ClusterParts {
            data_dir: data_dir.clone(),
            partitions: partitions.clone(),
            settings: settings.clone(),
            listeners: &[Self::context(0).listener],
            nodes: None,
        };
        let cluster = Arc::new(Cluster::start(parts).await.unwrap());
        let clock = Arc::new(TestClock { now: AtomicI64::new(START) });
        let groups = Groups::new(
            cluster.clone(),
            partitions.clone(),
            clock.clone(),
            settings.clone(),
            broker_id,
        );
        let broker = Arc::new(Broker {
            broker_id,
            groups,
            settings,
            cluster,
            leaders,
            gossip,
            partitions,
            fetch_sessions: FetchSessions::new(10),
            read_pool: ReadPool::new(1).unwrap(),
            response_memory: ResponseMemory::new(RESPONSE_BYTES_MAX),
            telemetry: Telemetry::new(4096),
            log_levels: LogLevels::new("info", Arc::new(|_: &str| Ok(()))),
            clock: clock.clone(),
        });
        Self { broker, clock, data_dir, replication, _directory: directory }
    }

    /// A node that knows brokers 2 and 3, too, which do not exist.
    pub(crate) async fn among_three() -> Self {
        let node = Self::new(&[]).await;
        for id in [2, 3] {
            let endpoint = Endpoint {
                listener: "PLAINTEXT".to_owned(),
                host: format!("host-{id}"),
                port: 9092,
            };
            let image = BrokerImage { endpoints: vec![endpoint], rack: None, node: None };
            let controller = node.broker.cluster.controller();
            controller.register(BrokerId::new(id), image).await.unwrap();
        }
        node
    }

    /// Makes a topic whose partitions have these replicas.
    pub(crate) async fn assign(
        &self,
        topic: &str,
        partitions: &[&[i32]],
        overrides: &[(&str, &str)],
    ) {
        let ids = |brokers: &&[i32]| brokers.iter().map(|id| BrokerId::new(*id)).collect();
        let overrides = overrides.iter().map(|(key, value)| ((*key).into(), (*value).into()));
        let spec = TopicSpec {
            name: TopicName::new(topic).unwrap(),
            layout: Layout::Assigned(partitions.iter().map(ids).collect()),
            overrides: overrides.collect(),
        };
        create_all(&self.broker.cluster, vec![Ok(spec)]).await;
    }

    /// The replica of a partition that has several.
    pub(crate) fn replica(&self, topic: &str, partition: i32) -> Arc<TestReplica> {
        let topic_id = TopicId::new(self.topic_id(topic)).unwrap();
        self.replication.replica(GroupId { topic_id, partition: PartitionId::new(partition) })
    }

    /// The id of a topic; one that nothing has for a topic that does not exist.
    pub(crate) fn topic_id(&self, topic: &str) -> Uuid {
        let image = self.broker.cluster.image();
        image.topics.get(topic).map_or(Uuid::from_u128(99), |topic| topic.id.get())
    }

    /// The same request with topics by id, as from version 13 on.
    pub(crate) fn by_id(&self, mut request: m::FetchRequest) -> m::FetchRequest {
        for topic in &mut request.topics {
            topic.topic_id = self.topic_id(&topic.topic);
            topic.topic = m::TopicName::default();
        }
        request
    }

    /// A partition.
    pub(crate) fn partition(&self, topic: &str, partition: i32) -> Arc<Partition> {
        let id = TopicId::new(self.topic_id(topic)).unwrap();
        self.broker.partitions.get(id, PartitionId::new(partition)).unwrap()
    }

    /// The circumstances of a request in this version.
    pub(crate) fn context(api_version: i16) -> RequestContext {
        RequestContext {
            listener: Arc::new(Listener {
                name: "PLAINTEXT".to_owned(),
                advertised_host: "localhost".to_owned(),
                advertised_port: 9092,
            }),
            principal: "User:ANONYMOUS".into(),
            client_id: None,
            client_address: Ipv4Addr::LOCALHOST.into(),
            connection_id: 1,
            api_version,
            correlation_id: 42,
            client_port: 4711,
            software: Arc::default(),
        }
    }

    /// Sends a produce request and returns the whole reply.
    pub(crate) async fn produce_request(
        &self,
        api_version: i16,
        request: m::ProduceRequest,
    ) -> Reply {
        finish(handlers::produce::handle(&self.broker, &Self::context(api_version), request)).await
    }

    /// Produces one batch with acks=-1 and returns the partition's response.
    pub(crate) async fn produce(
        &self,
        topic: &str,
        partition: i32,
        batch: Bytes,
    ) -> m::produce_response::PartitionProduceResponse {
        let request = produce_request(-1, &[(topic, partition, Some(batch))]);
        let Reply::Message(Response::Produce(response)) = self.produce_request(9, request).await
        else {
            panic!("no produce response")
        };
        response.responses[0].partition_responses[0].clone()
    }

    /// Sends a fetch and decodes the response with a codec that is not ours.
    pub(crate) async fn fetch(
        &self,
        api_version: i16,
        request: m::FetchRequest,
    ) -> m::FetchResponse {
        let work = handlers::fetch::handle(&self.broker, &Self::context(api_version), request);
        decode_fetch(api_version, finish(work).await)
    }
}

async fn start_groups(data_dir: &DataDir, peers: Peers) -> Arc<raft::groups::Groups> {
    let config = GroupsConfig {
        me: peers.me(),
        peers,
        device: data_dir.device().clone(),
        directory: data_dir.path().clone(),
        clock: Arc::new(|| Timestamp::new(START)),
    };
    Arc::new(raft::groups::Groups::start(config).await.unwrap())
}

fn open_data_dir(device: Arc<dyn Device>, path: &Path, broker_id: BrokerId) -> Arc<DataDir> {
    let config = DataDirConfig {
        open_files_max: 64,
        tail_cache_bytes_max: 1 << 20,
        page_cache_bytes_max: 64 << 20,
        pending_bytes_max: 64 << 20,
        free_bytes_min: 0,
        producer_expiration: Duration::from_secs(3600),
    };
    let identity = || Identity {
        cluster_id: "test".to_owned(),
        broker_id,
        directory_id: TestNode::directory_id(broker_id.get()),
    };
    Arc::new(DataDir::open_with_device(device, path, config, identity).unwrap())
}

/// Runs a request's second stage.
pub(crate) async fn finish(work: Work) -> Reply {
    match work {
        Work::Done(reply) => reply,
        Work::Commit(mut uncommitted) => {
            let deadline = uncommitted.deadline();
            let finished = std::future::poll_fn(|cx| uncommitted.poll_finished(cx));
            tokio::time::timeout_at(deadline, finished).await.ok();
            Reply::Message(uncommitted.into_response())
        }
        Work::Later(completion) => completion.await,
    }
}

/// That the version of a request can carry the message of its reply.
pub(crate) fn assert_encodes(reply: &Reply, api_version: i16) {
    let Reply::Message(response) = reply else { panic!("no message: {reply:?}") };
    let encoded = response.encode(42, api_version);
    assert!(encoded.is_ok(), "version {api_version}: {encoded:?}");
}

/// Joins a frame's parts and decodes it.
pub(crate) fn decode_fetch(api_version: i16, reply: Reply) -> m::FetchResponse {
    let Reply::Frame(parts) = reply else { panic!("no frame: {reply:?}") };
    let mut bytes = BytesMut::new();
    for part in parts {
        match part {
            FramePart::Bytes(part) => bytes.extend_from_slice(&part),
            FramePart::File(slice) => {
                let mut part = vec![0; slice.len];
                slice.file.read_exact_at(&mut part, slice.position).unwrap();
                bytes.extend_from_slice(&part);
            }
        }
    }
    let mut frame = bytes.freeze();
    assert_eq!(usize::try_from(frame.get_i32()).unwrap(), frame.len(), "length prefix");
    let header_version = if api_version >= 12 { 1 } else { 0 };
    let header = m::ResponseHeader::decode(&mut frame, header_version).unwrap();
    assert_eq!(header.correlation_id, 42);
    let response = m::FetchResponse::decode(&mut frame, api_version).unwrap();
    assert!(frame.is_empty(), "bytes left over");
    response
}

/// A batch of records with these values, one millisecond apart from [`START`] on.
pub(crate) fn batch(values: &[&str]) -> Bytes {
    build(BatchBuilder::new(Attributes::new(Codec::None)), values)
}

/// The same from an idempotent producer.
pub(crate) fn batch_of_producer(producer: i64, sequence: i32, values: &[&str]) -> Bytes {
    let builder = BatchBuilder::new(Attributes::new(Codec::None)).with_producer(
        ProducerId::new(producer),
        ProducerEpoch::new(0),
        Sequence::new(sequence),
    );
    build(builder, values)
}

fn build(mut builder: BatchBuilder, values: &[&str]) -> Bytes {
    for (value, at) in values.iter().zip(START..) {
        builder = builder.with_record(&NewRecord::of_value(Timestamp::new(at), value.as_bytes()));
    }
    builder.build().unwrap().into()
}

/// A produce request with a topic for each entry.
pub(crate) fn produce_request(
    acks: i16,
    partitions: &[(&str, i32, Option<Bytes>)],
) -> m::ProduceRequest {
    use m::produce_request::{PartitionProduceData, TopicProduceData};
    let topics = partitions.iter().map(|(topic, partition, records)| {
        let data =
            PartitionProduceData::default().with_index(*partition).with_records(records.clone());
        TopicProduceData::default().with_name(name(topic)).with_partition_data(vec![data])
    });
    m::ProduceRequest::default()
        .with_acks(acks)
        .with_timeout_ms(30_000)
        .with_topic_data(topics.collect())
}

/// What a fetch wants: topic, partition, offset.
pub(crate) type Want<'a> = (&'a str, i32, i64);

/// A fetch by name without a session that answers at once.
pub(crate) fn fetch_request(wanted: &[Want<'_>]) -> m::FetchRequest {
    use m::fetch_request::{FetchPartition, FetchTopic};
    let topics = wanted.iter().map(|(topic, partition, offset)| {
        let partition = FetchPartition::default()
            .with_partition(*partition)
            .with_fetch_offset(*offset)
            .with_partition_max_bytes(1 << 20);
        FetchTopic::default().with_topic(name(topic)).with_partitions(vec![partition])
    });
    m::FetchRequest::default()
        .with_max_bytes(1 << 20)
        .with_session_epoch(-1)
        .with_topics(topics.collect())
}

/// A name for the wire.
pub(crate) fn name(topic: &str) -> m::TopicName {
    m::TopicName(StrBytes::from_string(topic.to_owned()))
}

async fn create(cluster: &Cluster, topics: &[Topic<'_>]) {
    let specs = topics.iter().map(|(topic, partitions, overrides)| {
        let overrides = overrides.iter().map(|(key, value)| ((*key).into(), (*value).into()));
        Ok(TopicSpec {
            name: TopicName::new(topic).unwrap(),
            layout: Layout::Counts { partitions: Some(*partitions), replicas: None },
            overrides: overrides.collect(),
        })
    });
    create_all(cluster, specs.collect()).await;
}

async fn create_all(cluster: &Cluster, specs: Vec<Result<TopicSpec, ChangeError>>) {
    let controller = cluster.controller();
    let changed = controller.create_topics(controller.plan_topics(specs)).await;
    for topic in &changed.items {
        assert!(topic.is_ok(), "{topic:?}");
    }
    cluster.reconciled(changed.index).await.unwrap();
}
