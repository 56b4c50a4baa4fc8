//! What brokers tell each other of what they lead, as bytes.
//!
//! ```text
//! request   version u8 │ kind u8 │ …
//!   Changes       kind 1 │ tenures …
//!   Everything    kind 2 │ is_first u8 │ tenures …
//!   Digest        kind 3 │ count u32 │ digest u64
//!   Transfer      kind 4 │ topic id 16 │ partition u32 │ broker u32
//! tenure    topic id 16 │ partition u32 │ leader epoch u32 │ is_present u8 │ n u8 │ n × broker u32
//! answer    0 = taken or done, 1 = tell everything
//! ```
//! Numbers are big-endian; the tenures fill the rest of a message. Frames of the transport have a CRC.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use protocol::topic::TopicId;
use protocol::types::{BrokerId, LeaderEpoch, PartitionId};
use uuid::Uuid;

use super::{Brokers, Key, Tenure};

const VERSION: u8 = 1;
const CHANGES: u8 = 1;
const EVERYTHING: u8 = 2;
const DIGEST: u8 = 3;
const TRANSFER: u8 = 4;
/// Bytes of a tenure without brokers.
const TENURE_BYTES_MIN: usize = 16 + 4 + 4 + 1 + 1;

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Told {
    /// Some tenures are not what they were.
    Changes(Vec<(Key, Tenure)>),
    /// All that the sender leads, in several messages; the first replaces all that it told before.
    Everything { is_first: bool, tenures: Vec<(Key, Tenure)> },
    /// What all that the sender leads amounts to.
    Digest(Digest),
    /// A partition that the receiver leads should be led by another broker.
    Transfer(Key, BrokerId),
}

/// The sum of tenures, in whatever order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Digest {
    count: u32,
    sum: u64,
}

/// What the receiver wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Taken,
    TellEverything,
}

/// Why a message cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum WireError {
    #[error("a message about leaders has version {0}, this broker knows {VERSION}")]
    Version(u8),
    #[error("a message about leaders is of the unknown kind {0}")]
    Kind(u8),
    #[error("a message about leaders ends too early")]
    Short,
    #[error("a message about leaders names no topic")]
    Topic,
}

impl Told {
    pub(super) fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u8(VERSION);
        match self {
            Self::Changes(tenures) => {
                out.put_u8(CHANGES);
                tenures.iter().for_each(|tenure| put_tenure(&mut out, tenure));
            }
            Self::Everything { is_first, tenures } => {
                out.put_u8(EVERYTHING);
                out.put_u8(u8::from(*is_first));
                tenures.iter().for_each(|tenure| put_tenure(&mut out, tenure));
            }
            Self::Digest(Digest { count, sum }) => {
                out.put_u8(DIGEST);
                out.put_u32(*count);
                out.put_u64(*sum);
            }
            Self::Transfer((topic, partition), to) => {
                out.put_u8(TRANSFER);
                out.put_slice(topic.get().as_bytes());
                out.put_i32(partition.get());
                out.put_i32(to.get());
            }
        }
        out.freeze()
    }

    pub(super) fn decode(mut bytes: &[u8]) -> Result<Self, WireError> {
        let version = bytes.try_get_u8().or(Err(WireError::Short))?;
        if version != VERSION {
            return Err(WireError::Version(version));
        }
        match bytes.try_get_u8().or(Err(WireError::Short))? {
            CHANGES => Ok(Self::Changes(tenures(bytes)?)),
            EVERYTHING => {
                let is_first = bytes.try_get_u8().or(Err(WireError::Short))? != 0;
                Ok(Self::Everything { is_first, tenures: tenures(bytes)? })
            }
            DIGEST => {
                let count = bytes.try_get_u32().or(Err(WireError::Short))?;
                let sum = bytes.try_get_u64().or(Err(WireError::Short))?;
                Ok(Self::Digest(Digest { count, sum }))
            }
            TRANSFER => {
                let topic = bytes.try_get_u128().or(Err(WireError::Short))?;
                let topic = TopicId::new(Uuid::from_u128(topic)).ok_or(WireError::Topic)?;
                let partition = bytes.try_get_i32().or(Err(WireError::Short))?;
                let to = bytes.try_get_i32().or(Err(WireError::Short))?;
                Ok(Self::Transfer((topic, PartitionId::new(partition)), BrokerId::new(to)))
            }
            kind => Err(WireError::Kind(kind)),
        }
    }
}

impl Digest {
    /// Of these.
    pub(super) fn of(tenures: &[(Key, Tenure)]) -> Self {
        let mut digest = Self::default();
        let mut bytes = BytesMut::new();
        for tenure in tenures {
            bytes.clear();
            put_tenure(&mut bytes, tenure);
            digest.count = digest.count.wrapping_add(1);
            digest.sum = digest.sum.wrapping_add(fnv(&bytes));
        }
        digest
    }
}

impl Answer {
    pub(super) const fn encode(self) -> Bytes {
        Bytes::from_static(match self {
            Self::Taken => &[0],
            Self::TellEverything => &[1],
        })
    }

    pub(super) fn decode(bytes: &[u8]) -> Self {
        // A newer broker that wants something else is told everything: that is always right.
        if bytes == [0] { Self::Taken } else { Self::TellEverything }
    }
}

/// FNV-1a: the same on every broker, whatever it was built with.
fn fnv(bytes: &[u8]) -> u64 {
    let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, mix)
}

fn put_tenure(out: &mut BytesMut, ((topic, partition), tenure): &(Key, Tenure)) {
    out.put_slice(topic.get().as_bytes());
    out.put_i32(partition.get());
    out.put_i32(tenure.leader_epoch.get());
    out.put_u8(u8::from(tenure.is_present));
    // No partition has so many replicas; those beyond are not told.
    let count = u8::try_from(tenure.in_sync.len()).unwrap_or(u8::MAX);
    out.put_u8(count);
    for broker in tenure.in_sync.iter().take(usize::from(count)) {
        out.put_i32(broker.get());
    }
}

fn tenures(mut bytes: &[u8]) -> Result<Vec<(Key, Tenure)>, WireError> {
    let mut tenures = Vec::with_capacity(bytes.len() / TENURE_BYTES_MIN);
    while !bytes.is_empty() {
        let (head, rest) = bytes.split_at_checked(TENURE_BYTES_MIN).ok_or(WireError::Short)?;
        let mut head = head;
        let topic = Uuid::from_u128(head.get_u128());
        let key = (TopicId::new(topic).ok_or(WireError::Topic)?, PartitionId::new(head.get_i32()));
        let leader_epoch = LeaderEpoch::new(head.get_i32());
        let is_present = head.get_u8() != 0;
        let count = usize::from(head.get_u8());
        let (mut brokers, rest) = rest.split_at_checked(4 * count).ok_or(WireError::Short)?;
        let in_sync: Brokers = (0..count).map(|_| BrokerId::new(brokers.get_i32())).collect();
        tenures.push((key, Tenure { leader_epoch, is_present, in_sync }));
        bytes = rest;
    }
    Ok(tenures)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenure(partition: i32, epoch: i32, in_sync: &[i32]) -> (Key, Tenure) {
        let topic = TopicId::new(Uuid::from_u128(0x0102_0304)).unwrap();
        let in_sync = in_sync.iter().map(|id| BrokerId::new(*id)).collect();
        let leader_epoch = LeaderEpoch::new(epoch);
        let tenure = Tenure { leader_epoch, is_present: !epoch.is_negative(), in_sync };
        ((topic, PartitionId::new(partition)), tenure)
    }

    #[test]
    fn messages_come_back_as_they_were_and_cut_ones_are_refused() {
        let tenures = vec![tenure(0, 3, &[1, 2, 3]), tenure(7, -1, &[]), tenure(8, 0, &[9])];
        let messages = [
            Told::Changes(tenures.clone()),
            Told::Changes(Vec::new()),
            Told::Everything { is_first: true, tenures: tenures.clone() },
            Told::Everything { is_first: false, tenures: Vec::new() },
            Told::Digest(Digest::of(&tenures)),
            Told::Transfer(tenures[1].0, BrokerId::new(3)),
        ];
        for message in messages {
            let bytes = message.encode();
            assert_eq!(Told::decode(&bytes), Ok(message.clone()));
            for end in 0..bytes.len() {
                // Some cuts leave a message of fewer tenures, which is one, too.
                assert_ne!(
                    Told::decode(&bytes[..end]),
                    Ok(message.clone()),
                    "{message:?} at {end}"
                );
            }
        }
        assert_eq!(Told::decode(&[2, 1]), Err(WireError::Version(2)));
        assert_eq!(Told::decode(&[1, 5]), Err(WireError::Kind(5)));
        let mut no_topic = Told::Changes(vec![tenure(0, 0, &[])]).encode().to_vec();
        no_topic[2..18].fill(0);
        assert_eq!(Told::decode(&no_topic), Err(WireError::Topic));
        let mut too_many = Told::Changes(vec![tenure(0, 0, &[])]).encode().to_vec();
        *too_many.last_mut().unwrap() = 255;
        assert_eq!(Told::decode(&too_many), Err(WireError::Short));
    }

    #[test]
    fn a_digest_knows_what_but_not_in_which_order() {
        let (one, other) = (tenure(0, 3, &[1, 2]), tenure(1, 3, &[1]));
        let digest = |tenures: &[&(Key, Tenure)]| {
            Digest::of(&tenures.iter().map(|it| (*it).clone()).collect::<Vec<_>>())
        };
        assert_eq!(digest(&[&one, &other]), digest(&[&other, &one]));
        let changed = [tenure(0, 4, &[1, 2]), tenure(0, 3, &[1]), tenure(2, 3, &[1, 2])];
        for changed in &changed {
            assert_ne!(digest(&[&one, &other]), digest(&[changed, &other]));
        }
        assert_ne!(digest(&[&one]), digest(&[&one, &other]));
    }

    #[test]
    fn whoever_does_not_say_that_it_has_taken_it_is_told_everything() {
        for answer in [Answer::Taken, Answer::TellEverything] {
            assert_eq!(Answer::decode(&answer.encode()), answer);
        }
        assert_eq!(Answer::decode(&[]), Answer::TellEverything);
        assert_eq!(Answer::decode(&[0, 0]), Answer::TellEverything);
    }
}
