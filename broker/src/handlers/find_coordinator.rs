//! FindCoordinator (API key 10): who looks after a group: the leader of the partition that holds its
//! state.
//!
//! The first question creates the topic that holds the groups' state, and is answered when that is
//! there. Transactions are not served yet: their coordinator is "not available", which clients take as
//! a reason to ask again later.

use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages as m;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{FindCoordinatorRequest, FindCoordinatorResponse};
use kafka_protocol::protocol::StrBytes;
use protocol::error_code::ErrorCode;
use protocol::response::Response;
use protocol::types::BrokerId;

use crate::authorize::{Operation, Resource, authorize};
use crate::broker::Broker;
use crate::context::RequestContext;
use crate::error_map;
use crate::groups::coordinator::OFFSETS_TOPIC;
use crate::groups::owner::Unavailable;
use crate::reply::{Reply, Work};
use crate::resolve;
use crate::wire_text::{message, text};

/// From here on a request asks for several coordinators.
const BATCHES_SINCE: i16 = 4;
/// Group, transaction, share group (KIP-932).
const KEY_TYPES: std::ops::RangeInclusive<i8> = 0..=2;
const GROUP: i8 = 0;
/// How long the answer waits for the leaders of a new topic.
const LEADERS_WITHIN: Duration = Duration::from_secs(3);
const NO_LEADER: &str = "The coordinator is not known at the moment.";
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
        let ready = if request.key_type == GROUP { make_ready(&broker).await } else { Ok(()) };
        let answer = Answer { broker: &broker, context: &context, ready };
        Reply::Message(Response::FindCoordinator(answer.to(&request)))
    })
}

/// Sees to it that the topic of the groups' state is there. When it is new, its leaders are waited for
/// a little.
async fn make_ready(broker: &Broker) -> Result<(), Refusal> {
    match broker.groups.create_topic().await {
        Ok(was_there) => {
            if !was_there {
                let led = broker.leaders.all_led(&broker.cluster, &[OFFSETS_TOPIC]);
                tokio::time::timeout(LEADERS_WITHIN, led).await.ok();
            }
            Ok(())
        }
        Err(error) => {
            tracing::warn!(%error, "the topic of the groups' state cannot be created");
            Err((error_map::change(&error), error.to_string()))
        }
    }
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
        match self.check(key_type, key).and_then(|()| self.find(key)) {
            Ok((node, (host, port))) => coordinator
                .with_node_id(m::BrokerId(node.get()))
                .with_host(text(&host))
                .with_port(port)
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
        self.ready.clone()
    }

    /// The leader of the partition that holds the group's state, and where clients of this listener
    /// find it.
    fn find(&self, group: &str) -> Result<(BrokerId, (String, i32)), Refusal> {
        let image = self.broker.cluster.image();
        let place = self.broker.groups.place_of(&image, group);
        let leader = place
            .and_then(|(topic, partition)| self.broker.leaders.standing(topic, &partition).leader);
        let nobody = || (ErrorCode::CoordinatorNotAvailable, NO_LEADER.to_owned());
        let leader = leader.ok_or_else(nobody)?;
        if leader == self.broker.broker_id
            && let Err(Unavailable::NotHere) = self.broker.groups.owner(group)
        {
            // Given up, or not open yet.
            return Err(nobody());
        }
        let endpoint = resolve::endpoint(&image, leader, &self.context.listener);
        let endpoint = endpoint.ok_or_else(|| {
            let why = "The coordinator does not have the listener of this connection.";
            (ErrorCode::CoordinatorNotAvailable, why.to_owned())
        })?;
        Ok((leader, endpoint))
    }
}
