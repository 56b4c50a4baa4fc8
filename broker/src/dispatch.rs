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

/// Runs the order-sensitive stage of `request` and returns what remains.
pub(crate) fn dispatch(broker: &Arc<Broker>, context: &RequestContext, request: Request) -> Work {
    match request {
        Request::Produce(request) => handlers::produce::handle(broker, context, request),
        Request::Fetch(request) => handlers::fetch::handle(broker, context, request),
        Request::ListOffsets(request) => handlers::list_offsets::handle(broker, context, request),
        Request::Metadata(request) => handlers::metadata::handle(broker, context, request),
        Request::ApiVersions(request) => handlers::api_versions::handle(broker, context, request),
        Request::CreateTopics(request) => handlers::create_topics::handle(broker, context, request),
        Request::DeleteTopics(request) => handlers::delete_topics::handle(broker, context, request),
        Request::CreatePartitions(request) => {
            handlers::create_partitions::handle(broker, context, request)
        }
        Request::DeleteRecords(request) => {
            handlers::delete_records::handle(broker, context, request)
        }
        Request::InitProducerId(request) => {
            handlers::init_producer_id::handle(broker, context, request)
        }
        Request::OffsetForLeaderEpoch(request) => {
            handlers::offset_for_leader_epoch::handle(broker, context, request)
        }
        Request::DescribeConfigs(request) => {
            handlers::describe_configs::handle(broker, context, request)
        }
        Request::AlterConfigs(request) => handlers::alter_configs::handle(broker, context, request),
        Request::IncrementalAlterConfigs(request) => {
            handlers::incremental_alter_configs::handle(broker, context, request)
        }
        Request::DescribeCluster(request) => {
            handlers::describe_cluster::handle(broker, context, request)
        }
        Request::DescribeTopicPartitions(request) => {
            handlers::describe_topic_partitions::handle(broker, context, request)
        }
        Request::DescribeLogDirs(request) => {
            handlers::describe_log_dirs::handle(broker, context, request)
        }
        Request::ListConfigResources(request) => {
            handlers::list_config_resources::handle(broker, context, request)
        }
        Request::FindCoordinator(request) => {
            handlers::find_coordinator::handle(broker, context, request)
        }
        Request::OffsetCommit(request) => handlers::offset_commit::handle(broker, context, request),
        Request::OffsetFetch(request) => handlers::offset_fetch::handle(broker, context, request),
        Request::JoinGroup(request) => handlers::join_group::handle(broker, context, request),
        Request::Heartbeat(request) => handlers::heartbeat::handle(broker, context, request),
        Request::LeaveGroup(request) => handlers::leave_group::handle(broker, context, request),
        Request::SyncGroup(request) => handlers::sync_group::handle(broker, context, request),
        Request::DescribeGroups(request) => {
            handlers::describe_groups::handle(broker, context, request)
        }
        Request::ListGroups(request) => handlers::list_groups::handle(broker, context, request),
        Request::DeleteGroups(request) => handlers::delete_groups::handle(broker, context, request),
        Request::ConsumerGroupHeartbeat(request) => {
            handlers::consumer_group_heartbeat::handle(broker, context, request)
        }
        Request::ConsumerGroupDescribe(request) => {
            handlers::consumer_group_describe::handle(broker, context, request)
        }
        Request::OffsetDelete(request) => handlers::offset_delete::handle(broker, context, request),
    }
}
