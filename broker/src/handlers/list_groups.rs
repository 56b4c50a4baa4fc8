//! ListGroups (API key 16): the groups that this broker coordinates, by state and type if asked
//! (KIP-518, KIP-848).

use std::sync::Arc;

use kafka_protocol::messages as m;
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{ListGroupsRequest, ListGroupsResponse};
use kafka_protocol::protocol::StrBytes;
use protocol::response::Response;

use crate::authorize::{Operation, Resource, authorize};
use crate::broker::Broker;
use crate::context::RequestContext;
use crate::error_map;
use crate::groups::owner::Unavailable;
use crate::groups::shard::Group;
use crate::reply::Work;
use crate::wire_text::text;

/// From here on states are told.
const STATES_SINCE: i16 = 4;
/// From here on types are told.
const TYPES_SINCE: i16 = 5;

/// Serves one request.
pub(crate) fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: ListGroupsRequest,
) -> Work {
    let wanted = Wanted { context, request: &request };
    let mut response = ListGroupsResponse::default();
    for owner in broker.groups.owners() {
        match owner.look(|shard| {
            shard.iter().filter_map(|(name, group)| wanted.listed(name, group)).collect::<Vec<_>>()
        }) {
            Ok((groups, _)) => response.groups.extend(groups),
            // What is elsewhere or lost is not ours to list.
            Err(Unavailable::NotHere) => {}
            Err(error @ (Unavailable::Loading | Unavailable::Blocked)) => {
                let code = error_map::unavailable(error).code();
                let response = ListGroupsResponse::default().with_error_code(code);
                return Work::message(Response::ListGroups(response));
            }
        }
    }
    Work::message(Response::ListGroups(response))
}

struct Wanted<'a> {
    context: &'a RequestContext,
    request: &'a ListGroupsRequest,
}

impl Wanted<'_> {
    fn listed(&self, name: &str, group: &Group) -> Option<ListedGroup> {
        let members = &group.members;
        let (state, group_type) = (members.state_name(), members.type_name());
        let is_wanted = is_among(&self.request.states_filter, state)
            && is_among(&self.request.types_filter, group_type)
            && (authorize(self.context, Operation::Describe, Resource::Cluster)
                || authorize(self.context, Operation::Describe, Resource::Group(name)));
        if !is_wanted {
            return None;
        }
        let mut listed = ListedGroup::default()
            .with_group_id(m::GroupId(text(name)))
            .with_protocol_type(text(members.protocol_type()));
        if self.context.api_version >= STATES_SINCE {
            listed = listed.with_group_state(StrBytes::from_static_str(state));
        }
        if self.context.api_version >= TYPES_SINCE {
            listed = listed.with_group_type(StrBytes::from_static_str(group_type));
        }
        Some(listed)
    }
}

/// Whether `word` passes a filter, which takes everything if it is empty. Case does not count.
fn is_among(filter: &[StrBytes], word: &str) -> bool {
    filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(word))
}
