//! From a decoded request to the handler of its API. Exhaustive, and nothing else: a request that
//! is added to the protocol does not compile before it has a handler.

use std::sync::Arc;

use protocol::request::Request;

use crate::broker::Broker;
use crate::connection::Serve;
use crate::context::RequestContext;
use crate::handlers;
use crate::reply::Work;

/// The broker as connections see it.
pub(crate) struct Dispatcher(pub(crate) Arc<Broker>);

impl Serve for Dispatcher {
    fn handle(&self, context: &RequestContext, request: Request) -> Work {
        dispatch(&self.0, context, request)
    }

    fn in_burst(&self, burst: &mut dyn FnMut()) {
        self.0.partitions.data_dir().gather(burst);
    }
}

/// A `match` over all requests, one line for each.
macro_rules! by_request {
    ($request:expr, $broker:expr, $context:expr, { $($name:ident => $handle:path,)+ }) => {
        match $request {
            $(Request::$name(request) => $handle($broker, $context, request),)+
        }
    };
}

/// Runs the order-sensitive stage of `request` and returns what remains.
pub(crate) fn dispatch(broker: &Arc<Broker>, context: &RequestContext, request: Request) -> Work {
    by_request!(request, broker, context, {
        Produce => handlers::produce::handle,
        Fetch => handlers::fetch::handle,
        ListOffsets => handlers::list_offsets::handle,
        Metadata => handlers::metadata::handle,
        ApiVersions => handlers::api_versions::handle,
        CreateTopics => handlers::create_topics::handle,
        DeleteTopics => handlers::delete_topics::handle,
        CreatePartitions => handlers::create_partitions::handle,
        DeleteRecords => handlers::delete_records::handle,
        InitProducerId => handlers::init_producer_id::handle,
        OffsetForLeaderEpoch => handlers::offset_for_leader_epoch::handle,
        DescribeConfigs => handlers::describe_configs::handle,
        AlterConfigs => handlers::alter_configs::handle,
        IncrementalAlterConfigs => handlers::incremental_alter_configs::handle,
        DescribeCluster => handlers::describe_cluster::handle,
        DescribeTopicPartitions => handlers::describe_topic_partitions::handle,
        DescribeLogDirs => handlers::describe_log_dirs::handle,
        ListConfigResources => handlers::list_config_resources::handle,
        FindCoordinator => handlers::find_coordinator::handle,
        OffsetCommit => handlers::offset_commit::handle,
        OffsetFetch => handlers::offset_fetch::handle,
        JoinGroup => handlers::join_group::handle,
        Heartbeat => handlers::heartbeat::handle,
        LeaveGroup => handlers::leave_group::handle,
        SyncGroup => handlers::sync_group::handle,
        DescribeGroups => handlers::describe_groups::handle,
        ListGroups => handlers::list_groups::handle,
        DeleteGroups => handlers::delete_groups::handle,
        ConsumerGroupHeartbeat => handlers::consumer_group_heartbeat::handle,
        ConsumerGroupDescribe => handlers::consumer_group_describe::handle,
        OffsetDelete => handlers::offset_delete::handle,
        ElectLeaders => handlers::elect_leaders::handle,
        DescribeQuorum => handlers::describe_quorum::handle,
        UpdateFeatures => handlers::update_features::handle,
        DescribeProducers => handlers::describe_producers::handle,
        UnregisterBroker => handlers::unregister_broker::handle,
        AlterReplicaLogDirs => handlers::alter_replica_log_dirs::handle,
        AlterPartitionReassignments => handlers::alter_partition_reassignments::handle,
        ListPartitionReassignments => handlers::list_partition_reassignments::handle,
        DescribeTransactions => handlers::describe_transactions::handle,
        ListTransactions => handlers::list_transactions::handle,
        GetTelemetrySubscriptions => handlers::get_telemetry_subscriptions::handle,
        PushTelemetry => handlers::push_telemetry::handle,
    })
}
