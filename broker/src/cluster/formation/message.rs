//! What nodes ask each other to form a cluster, as bytes.
//!
//! ```text
//! u8 version (1) │ u8 kind │ fields, as `codec.rs` writes them
//! ask     0 who are you    nothing
//!         1 register       broker, as a command registers a node
//! answer  0 waiting        option (list of (broker, 16 bytes directory id)): whom it has heard
//!         1 bound          cluster id: it belongs there, and cannot take others in yet
//!         2 member         cluster id, list of (broker, host, u16 port): where the nodes are
//!         3 registered     u64 index of the metadata that has it
//!         4 refused        sentence: it will never be taken in as it is
//!         5 later          sentence: it may ask again
//! ```

use std::collections::BTreeSet;

use bytes::Bytes;
use protocol::types::{BrokerId, LogIndex};
use raft::types::ReplicaId;

use super::super::codec::{DecodeError, Reader, Writer};
use super::super::command::{newer, read_broker, read_node, write_broker, write_node};
use super::super::image::BrokerImage;
use super::super::nodes::Nodes;
use crate::config::HostPort;

const VERSION: u8 = 1;

/// What a node asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ask {
    /// Whom it has reached.
    Who,
    /// To be known to the cluster.
    Register {
        /// Itself.
        broker: BrokerId,
        /// Where it is; with its node.
        image: BrokerImage,
    },
}

/// What it is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// By a node of no cluster: everybody whom it heard, if all whom it was told to ask answered.
    Waiting(Option<BTreeSet<ReplicaId>>),
    /// By a node that is about to be a member.
    Bound(String),
    /// By a member.
    Member {
        /// Of this cluster.
        cluster_id: String,
        /// Where its nodes are.
        nodes: Nodes,
    },
    /// It is known as of this index.
    Registered(LogIndex),
    /// It cannot be.
    Refused(String),
    /// It cannot be now.
    Later(String),
}

impl Ask {
    pub(super) fn encode(&self) -> Bytes {
        let mut to = Writer::default();
        to.u8(VERSION);
        match self {
            Self::Who => to.u8(0),
            Self::Register { broker, image } => {
                to.u8(1);
                to.broker(*broker);
                write_broker(&mut to, image);
                to.option(image.node.as_ref(), write_node);
            }
        }
        to.finish()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut from = begin(bytes)?;
        let ask = match from.u8()? {
            0 => Self::Who,
            1 => {
                let (broker, image) = (from.broker()?, read_broker(&mut from)?);
                let node = from.option(read_node)?;
                Self::Register { broker, image: BrokerImage { node, ..image } }
            }
            kind => return Err(newer("question", kind, 1)),
        };
        from.finish()?;
        Ok(ask)
    }
}

impl Answer {
    pub(super) fn encode(&self) -> Bytes {
        let mut to = Writer::default();
        to.u8(VERSION);
        match self {
            Self::Waiting(names) => {
                to.u8(0);
                to.option(names.as_ref(), |to, names| {
                    to.list(names, |to, replica| {
                        to.broker(replica.broker_id);
                        to.uuid(replica.directory_id);
                    });
                });
            }
            Self::Bound(cluster_id) => {
                to.u8(1);
                to.text(cluster_id);
            }
            Self::Member { cluster_id, nodes } => {
                to.u8(2);
                to.text(cluster_id);
                to.list(nodes, |to, (id, address)| {
                    to.broker(*id);
                    to.text(&address.host);
                    to.u16(address.port);
                });
            }
            Self::Registered(index) => {
                to.u8(3);
                to.u64(index.get());
            }
            Self::Refused(why) => {
                to.u8(4);
                to.text(why);
            }
            Self::Later(why) => {
                to.u8(5);
                to.text(why);
            }
        }
        to.finish()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut from = begin(bytes)?;
        let answer = match from.u8()? {
            0 => Self::Waiting(from.option(|from| {
                let names = from.list(|from| {
                    Ok(ReplicaId { broker_id: from.broker()?, directory_id: from.uuid()? })
                })?;
                Ok(names.into_iter().collect())
            })?),
            1 => Self::Bound(from.text()?.to_owned()),
            2 => Self::Member {
                cluster_id: from.text()?.to_owned(),
                nodes: Nodes::from_iter(from.list(|from| {
                    let id = from.broker()?;
                    Ok((id, HostPort { host: from.text()?.to_owned(), port: from.u16()? }))
                })?),
            },
            3 => Self::Registered(LogIndex::new(from.u64()?)),
            4 => Self::Refused(from.text()?.to_owned()),
            5 => Self::Later(from.text()?.to_owned()),
            kind => return Err(newer("answer", kind, 5)),
        };
        from.finish()?;
        Ok(answer)
    }
}

fn begin(bytes: &[u8]) -> Result<Reader<'_>, DecodeError> {
    let mut from = Reader::new(bytes);
    match from.u8()? {
        VERSION => Ok(from),
        version => Err(newer("version of a node's message", version, VERSION)),
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::super::super::image::{Endpoint, NodeImage};
    use super::*;

    #[test]
    fn messages_survive_their_bytes_and_no_prefix_of_them_is_taken_for_one() {
        let endpoint = Endpoint { listener: "L".into(), host: "h".into(), port: 1 };
        let node = NodeImage { directory_id: Uuid::from_u128(2), host: "n".into(), port: 3 };
        let image =
            BrokerImage { endpoints: vec![endpoint], rack: Some("r".into()), node: Some(node) };
        let asks = [Ask::Who, Ask::Register { broker: BrokerId::new(4), image }];
        for ask in asks {
            let bytes = ask.encode();
            assert_eq!(Ask::decode(&bytes).unwrap(), ask);
            assert!((0..bytes.len()).all(|end| Ask::decode(&bytes[..end]).is_err()));
        }
        let replica = |id| ReplicaId { broker_id: BrokerId::new(id), directory_id: Uuid::nil() };
        let address = HostPort { host: "::1".into(), port: 65_535 };
        let answers = [
            Answer::Waiting(None),
            Answer::Waiting(Some([replica(1), replica(2)].into())),
            Answer::Bound("c".into()),
            Answer::Member { cluster_id: "c".into(), nodes: [(BrokerId::new(1), address)].into() },
            Answer::Registered(LogIndex::new(7)),
            Answer::Refused("never".into()),
            Answer::Later("soon".into()),
        ];
        for answer in answers {
            let bytes = answer.encode();
            assert_eq!(Answer::decode(&bytes).unwrap(), answer);
            assert!((0..bytes.len()).all(|end| Answer::decode(&bytes[..end]).is_err()));
        }
        assert!(matches!(Ask::decode(&[VERSION + 1, 0]), Err(DecodeError::Newer { .. })));
    }
}
