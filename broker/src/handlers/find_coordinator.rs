//! FindCoordinator (API key 10): who looks after a group. One node looks after all of them.
//!
//! The first question creates the topic that holds the groups' state, and is answered when that is
//! there. Transactions are not served yet: their coordinator is "not available", which clients take as
//! a reason to ask again later.

use std::sync::Arc;

use kafka_protocol::messages as m;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{FindCoordinatorRequest, FindCoordinatorResponse};
use kafka_protocol::protocol::StrBytes;
use protocol::error_code::ErrorCode;
use protocol::response::Response;

use crate::authorize::{Operation, Resource, authorize};
use crate::broker::Broker;
use crate::context::RequestContext;
use crate::error_map;
use crate::groups::owner::Unavailable;
use crate::reply::{Reply, Work};
use crate::wire_text::{message, text};

/// From here on a request asks for several coordinators.
const BATCHES_SINCE: i16 = 4;
/// Group, transaction, share group (KIP-932).
const KEY_TYPES: std::ops::RangeInclusive<i8> = 0..=2;
const GROUP: i8 = 0;
const NOT_SERVED: &str = "This broker does not serve transactions and share groups yet.";

/// Why there is no coordinator for a key.
type Refusal = (ErrorCode, String);

/// Serves one request.
pub(crate) fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: FindCoordinatorRequest,
) -> Work {
    let (broker, context) = (broker.clone(), context.clone());
    Work::later(async move {
        // May be dropped: the topic is then created or not, and the client asks again.
        let ready = if request.key_type == GROUP {
            broker.groups.create_topic().await.map_err(|error| {
                tracing::warn!(%error, "the topic of the groups' state cannot be created");
                (error_map::change(&error), error.to_string())
            })
        } else {
            Ok(())
        };
        let answer = Answer { broker: &broker, context: &context, ready };
        Reply::Message(Response::FindCoordinator(answer.to(&request)))
    })
}

struct Answer<'a> {
    broker: &'a Broker,
    context: &'a RequestContext,
    /// Whether the topic of the groups' state is there.
    ready: Result<(), Refusal>,
}

impl Answer<'_> {
    fn to(&self, request: &FindCoordinatorRequest) -> FindCoordinatorResponse {
        if self.context.api_version >= BATCHES_SINCE {
            let keys = request.coordinator_keys.iter();
            let coordinators = keys.map(|key| self.coordinator(request.key_type, key)).collect();
            // The fields of older versions must stay at their defaults to be left out.
            return FindCoordinatorResponse::default()
                .with_error_message(None)
                .with_coordinators(coordinators);
        }
        let found = self.coordinator(request.key_type, &request.key);
        FindCoordinatorResponse::default()
            .with_error_code(found.error_code)
            .with_error_message(found.error_message)
            .with_node_id(found.node_id)
            .with_host(found.host)
            .with_port(found.port)
    }

    fn coordinator(&self, key_type: i8, key: &str) -> Coordinator {
        let coordinator = Coordinator::default().with_key(text(key));
        match self.check(key_type, key) {
            Ok(()) => coordinator
                .with_node_id(m::BrokerId(self.broker.broker_id.get()))
                .with_host(text(&self.context.listener.advertised_host))
                .with_port(i32::from(self.context.listener.advertised_port))
                .with_error_message(None),
            Err((error, why)) => coordinator
                .with_node_id(m::BrokerId(-1))
                .with_host(StrBytes::from_static_str(""))
                .with_port(-1)
                .with_error_code(error.code())
                .with_error_message(message(&why)),
        }
    }

    fn check(&self, key_type: i8, key: &str) -> Result<(), Refusal> {
        if !KEY_TYPES.contains(&key_type) {
            let why = "There is no coordinator of this type.";
            return Err((ErrorCode::InvalidRequest, why.to_owned()));
        }
        if key_type != GROUP {
            return Err((ErrorCode::CoordinatorNotAvailable, NOT_SERVED.to_owned()));
        }
        if !authorize(self.context, Operation::Describe, Resource::Group(key)) {
            let why = "Not authorized to see this group.";
            return Err((ErrorCode::GroupAuthorizationFailed, why.to_owned()));
        }
        self.ready.clone()?;
        match self.broker.groups.owner(key) {
            Ok(_) => Ok(()),
            // Elsewhere there is nobody either.
            Err(why @ (Unavailable::NotHere | Unavailable::Loading | Unavailable::Blocked)) => {
                Err((ErrorCode::CoordinatorNotAvailable, why.to_string()))
            }
        }
    }
}
