//! What the file of the votes is made of, as bytes. The framing is that of `frames`.
//!
//! ```text
//! all fields big-endian; log id, vote and membership as in `replicated_state::codec`
//! group         ├ 16 bytes topic id ┼ i32 partition ┤
//! 2 vote        ├ group ┼ vote ┤
//! 3 progress    ├ group ┼ log id ┼ u16 memberships ┼ (optional log id ┼ membership)… ┤
//! 4 forgotten   ├ group ┤
//! ```

use bytes::{Buf, BufMut, Bytes};

use super::{Groups, Remembered};
use crate::frames::{Format, Frame, put_frame};
use crate::group::codec::{get_group, get_stored_membership, put_group, put_stored_membership};
use crate::group::types::{LogId, StoredMembership, Vote};
use crate::replicated_state::codec::{CodecError, get_log_id, get_vote, put_log_id, put_vote};
use crate::types::GroupId;

pub(super) const FORMAT: Format =
    Format { magic: *b"MPRVOTES", version: 1, what: "the file of the votes" };

const VOTE: u8 = 2;
const PROGRESS: u8 = 3;
const FORGOTTEN: u8 = 4;

/// How far a group had come when that was noted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Everything up to this entry is committed and applied.
    pub(crate) applied: LogId,
    /// The memberships that hold behind what the log has purged, rising: all of them are applied.
    pub(crate) memberships: Vec<StoredMembership>,
}

/// One change of what is remembered.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Record {
    Vote { group: GroupId, vote: Vote },
    Progress { group: GroupId, progress: Progress },
    Forgotten { group: GroupId },
}

impl Record {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Vote { group, vote } => put_frame(out, VOTE, |out| {
                put_group(out, *group);
                put_vote(out, vote);
            }),
            Self::Progress { group, progress } => put_frame(out, PROGRESS, |out| {
                put_group(out, *group);
                put_log_id(out, &progress.applied);
                let count = u16::try_from(progress.memberships.len());
                out.put_u16(count.expect("a group keeps a few memberships"));
                progress.memberships.iter().for_each(|one| put_stored_membership(out, one));
            }),
            Self::Forgotten { group } => {
                put_frame(out, FORGOTTEN, |out| put_group(out, *group));
            }
        }
    }

    pub(super) fn decode(frame: Frame) -> Result<Self, CodecError> {
        let mut body: Bytes = frame.body;
        let group = get_group(&mut body)?;
        Ok(match frame.kind {
            VOTE => Self::Vote { group, vote: get_vote(&mut body)? },
            PROGRESS => {
                let applied = get_log_id(&mut body)?;
                let count = body.try_get_u16()?;
                let memberships = (0..count).map(|_| get_stored_membership(&mut body));
                let memberships = memberships.collect::<Result<_, _>>()?;
                Self::Progress { group, progress: Progress { applied, memberships } }
            }
            FORGOTTEN => Self::Forgotten { group },
            tag => return Err(CodecError::Tag { what: "a record of the votes", tag }),
        })
    }

    pub(super) fn apply(self, groups: &mut Groups) {
        match self {
            Self::Vote { group, vote } => groups.entry(group).or_default().vote = Some(vote),
            Self::Progress { group, progress } => {
                groups.entry(group).or_default().progress = Some(progress);
            }
            Self::Forgotten { group } => {
                groups.remove(&group);
            }
        }
    }
}

/// The records that make what is remembered of one group.
pub(super) fn all_of(group: GroupId, remembered: &Remembered) -> impl Iterator<Item = Record> {
    let vote = remembered.vote.map(|vote| Record::Vote { group, vote });
    let progress = remembered.progress.clone();
    let progress = progress.map(|progress| Record::Progress { group, progress });
    vote.into_iter().chain(progress)
}
