//! The one question that every handler asks before it acts.

use tracing::trace;

use crate::context::RequestContext;

/// What a client wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Read,
    Write,
    Create,
    Delete,
    Alter,
    Describe,
    ClusterAction,
    DescribeConfigs,
    AlterConfigs,
    IdempotentWrite,
}

/// What it wants to do it to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resource<'a> {
    /// A topic by name.
    Topic(&'a str),
    /// The cluster.
    Cluster,
    /// A consumer group by id.
    Group(&'a str),
    /// A transactional producer by its id.
    TransactionalId(&'a str),
}

/// Whether the client may. Until users and rules exist, everybody may.
pub(crate) fn authorize(
    context: &RequestContext,
    operation: Operation,
    resource: Resource<'_>,
) -> bool {
    let RequestContext { principal, client_id, connection_id, .. } = context;
    trace!(%principal, ?client_id, connection_id, ?operation, ?resource, "allowed");
    true
}

/// What the client may do to `resource`, one bit for each of Kafka's operation numbers (KIP-430).
pub(crate) fn authorized_operations(context: &RequestContext, resource: Resource<'_>) -> i32 {
    use Operation as O;
    let operations: &[Operation] = match resource {
        Resource::Topic(_) => &[
            O::Read,
            O::Write,
            O::Create,
            O::Delete,
            O::Alter,
            O::Describe,
            O::DescribeConfigs,
            O::AlterConfigs,
        ],
        Resource::Cluster => &[
            O::Create,
            O::Alter,
            O::Describe,
            O::ClusterAction,
            O::DescribeConfigs,
            O::AlterConfigs,
            O::IdempotentWrite,
        ],
        Resource::Group(_) => {
            &[O::Read, O::Delete, O::Describe, O::DescribeConfigs, O::AlterConfigs]
        }
        Resource::TransactionalId(_) => &[O::Write, O::Describe],
    };
    let allowed = operations.iter().filter(|operation| authorize(context, **operation, resource));
    allowed.fold(0, |bits, operation| bits | (1 << operation.number()))
}

impl Operation {
    /// Kafka's number.
    const fn number(self) -> u8 {
        match self {
            Self::Read => 3,
            Self::Write => 4,
            Self::Create => 5,
            Self::Delete => 6,
            Self::Alter => 7,
            Self::Describe => 8,
            Self::ClusterAction => 9,
            Self::DescribeConfigs => 10,
            Self::AlterConfigs => 11,
            Self::IdempotentWrite => 12,
        }
    }
}
