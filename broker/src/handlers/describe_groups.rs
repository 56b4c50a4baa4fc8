//! DescribeGroups (API key 15): who is in classic groups, and what they read (behaviour 48).

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages as m;
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::{DescribeGroupsRequest, DescribeGroupsResponse};
use kafka_protocol::protocol::StrBytes;
use protocol::error_code::ErrorCode;
use protocol::response::Response;

use crate::authorize::{Operation, Resource, authorize, authorized_operations};
use crate::broker::Broker;
use crate::context::RequestContext;
use crate::error_map;
use crate::groups::classic::{ClassicGroup, Phase};
use crate::reply::Work;
use crate::wire_text::{message, text};

/// From here on a group that is not there is an error; before it is shown as dead.
const UNKNOWN_GROUP_SINCE: i16 = 6;
/// From here on members have static ids (KIP-345).
const INSTANCES_SINCE: i16 = 4;

/// Serves one request.
pub(crate) fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: DescribeGroupsRequest,
) -> Work {
    // What is asked twice is answered once: an answer may be much longer than its question.
    let mut asked = HashSet::new();
    let groups =
        request.groups.iter().filter(|group| asked.insert(group.to_string())).map(|group| {
            let described = describe(broker, context, group).unwrap_or_else(|(error, why)| {
                let described = DescribedGroup::default().with_error_code(error.code());
                if context.api_version >= UNKNOWN_GROUP_SINCE {
                    described.with_error_message(why)
                } else {
                    described
                }
            });
            let described = described.with_group_id(m::GroupId(text(group)));
            if request.include_authorized_operations
                && described.error_code == ErrorCode::None.code()
            {
                let operations = authorized_operations(context, Resource::Group(group));
                return described.with_authorized_operations(operations);
            }
            described
        });
    let response = DescribeGroupsResponse::default().with_groups(groups.collect());
    Work::message(Response::DescribeGroups(response))
}

fn describe(
    broker: &Broker,
    context: &RequestContext,
    group: &str,
) -> Result<DescribedGroup, (ErrorCode, Option<StrBytes>)> {
    if !authorize(context, Operation::Describe, Resource::Group(group)) {
        return Err((ErrorCode::GroupAuthorizationFailed, None));
    }
    let version = context.api_version;
    let looked = broker.groups.owner(group).and_then(|owner| {
        let (described, _) =
            owner.look(|shard| Some(described(shard.get(group)?.members.classic()?, version)))?;
        Ok(described)
    });
    match looked {
        Ok(Some(described)) => Ok(described),
        Ok(None) if version >= UNKNOWN_GROUP_SINCE => {
            let why = format!("Group {group} not found.");
            let dead = DescribedGroup::default()
                .with_group_state(StrBytes::from_static_str("Dead"))
                .with_error_code(ErrorCode::GroupIdNotFound.code())
                .with_error_message(message(&why));
            Ok(dead)
        }
        Ok(None) => {
            Ok(DescribedGroup::default().with_group_state(StrBytes::from_static_str("Dead")))
        }
        Err(error) => Err((error_map::unavailable(error), message(&error))),
    }
}

fn described(group: &ClassicGroup, version: i16) -> DescribedGroup {
    let is_stable = group.phase == Phase::Stable;
    // Until a generation is complete nobody can say what its members have.
    let known = |bytes: Bytes| if is_stable { bytes } else { Bytes::new() };
    let protocol = group.protocol.as_deref().filter(|_| is_stable).unwrap_or_default();
    let members = group.members.iter().map(|(member_id, member)| {
        let instance_id = member.instance_id.as_deref().filter(|_| version >= INSTANCES_SINCE);
        DescribedGroupMember::default()
            .with_member_id(text(member_id))
            .with_group_instance_id(instance_id.map(text))
            .with_client_id(text(&member.client_id))
            .with_client_host(text(&member.client_host))
            .with_member_metadata(known(member.subscription(group.protocol.as_deref())))
            .with_member_assignment(known(member.assignment.clone()))
    });
    DescribedGroup::default()
        .with_group_state(StrBytes::from_static_str(group.state_name()))
        .with_protocol_type(text(group.protocol_type.as_deref().unwrap_or_default()))
        .with_protocol_data(text(protocol))
        .with_members(members.collect())
}
