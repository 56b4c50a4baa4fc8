//! What the data directory remembers of every log, open or not, and the files that keep it.
//!
//! ```text
//! recovery-point-offset-checkpoint    Kafka's: topic partition recovery_point
//! log-start-offset-checkpoint         Kafka's: topic partition log_start_offset
//! millpond-log-checkpoint             ours:    topic partition topic_id log_end_offset boot_id
//! ```
//! Ours saves reading 10,000 `partition.metadata` at start, and tells for each log by itself how its
//! last user ended: a log may stay closed over several runs of the process, so the directory's own
//! mark does not say it. `log_end_offset` is -1 unless the log was closed cleanly; `boot_id` is that
//! of the machine's run in which the log was last open.
//!
//! **Invariant:** a file never lists a log under a name that a newer log has taken. Deleting a log
//! leaves its lines until the next write, so making a log anew under a stale name writes first.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use protocol::topic::{TopicId, TopicName, TopicPartition};
use protocol::types::{Offset, PartitionId};

use super::uuid_text;
use crate::checkpoint::{self, CheckpointError};
use crate::device::Device;
use crate::environment::{LogCheckpoint, StopKind};

const RECOVERY_POINT_FILE: &str = "recovery-point-offset-checkpoint";
const LOG_START_FILE: &str = "log-start-offset-checkpoint";
const LOG_FILE: &str = "millpond-log-checkpoint";

/// Version of each of the three files.
const VERSION: u32 = 0;

/// All that is remembered, and what of it is on disk.
#[derive(Debug)]
pub(super) struct LogStates {
    directory: PathBuf,
    boot_id: Arc<str>,
    logs: BTreeMap<TopicPartition, LogState>,
    /// Names that were removed since the last write and may still be listed on disk.
    stale: HashSet<TopicPartition>,
    unwritten: Unwritten,
}

/// Which files are behind.
#[derive(Debug, Default)]
struct Unwritten {
    recovery_points: bool,
    log_starts: bool,
    own: bool,
}

impl Unwritten {
    const ALL: Self = Self { recovery_points: true, log_starts: true, own: true };
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct LogState {
    topic_id: TopicId,
    offsets: Option<(Offset, Offset)>,
    /// Where it ended when it was closed cleanly; `None` while it is open and after a crash.
    closed_at: Option<Offset>,
    boot_id: Arc<str>,
}

impl LogStates {
    /// Reads the files in `directory`. `stop` is how the last process ended.
    ///
    /// # Errors
    /// See [`CheckpointError`].
    pub(super) fn read(
        device: &dyn Device,
        directory: &Path,
        boot_id: &str,
        stop: StopKind,
    ) -> Result<Self, CheckpointError> {
        let offsets = |file: &str| {
            let entries = checkpoint::read(device, &directory.join(file), VERSION, parse_offset)?;
            Ok::<BTreeMap<_, _>, CheckpointError>(entries.unwrap_or_default().into_iter().collect())
        };
        let recovery_points = offsets(RECOVERY_POINT_FILE)?;
        let log_starts = offsets(LOG_START_FILE)?;
        let own = checkpoint::read(device, &directory.join(LOG_FILE), VERSION, parse_own)?;
        let mut logs: BTreeMap<_, _> = own.unwrap_or_default().into_iter().collect();
        let mut unwritten = Unwritten::default();
        for (partition, state) in &mut logs {
            let start = log_starts.get(partition).copied().unwrap_or(Offset::ZERO);
            let recovery_point = recovery_points.get(partition);
            state.offsets =
                recovery_point.map(|recovery_point| (start, (*recovery_point).max(start)));
            if stop != StopKind::Clean {
                // It may have been opened after the file was written, which must not be believed by
                // whoever finds a clean stop after this run.
                unwritten.own |= state.closed_at.take().is_some();
            }
        }
        Ok(Self {
            directory: directory.to_owned(),
            boot_id: boot_id.into(),
            logs,
            stale: HashSet::new(),
            unwritten,
        })
    }

    /// Drops what is remembered of logs that have no directory.
    pub(super) fn retain(&mut self, exists: impl Fn(&TopicPartition) -> bool) {
        let gone = self.logs.keys().filter(|partition| !exists(partition)).cloned();
        let gone: Vec<_> = gone.collect();
        gone.iter().for_each(|partition| self.remove(partition));
    }

    /// The id of a log's topic, if it is remembered.
    pub(super) fn topic_id(&self, partition: &TopicPartition) -> Option<TopicId> {
        self.logs.get(partition).map(|state| state.topic_id)
    }

    /// What the last user of a log left.
    pub(super) fn left_by_last_user(
        &self,
        partition: &TopicPartition,
    ) -> (Option<LogCheckpoint>, StopKind) {
        let Some(state) = self.logs.get(partition) else { return (None, StopKind::PowerLost) };
        let checkpoint = state.offsets.map(|(log_start_offset, recovery_point)| LogCheckpoint {
            log_start_offset,
            recovery_point,
            log_end_offset: state.closed_at.unwrap_or(recovery_point),
        });
        let stop = if checkpoint.is_some() && state.closed_at.is_some() {
            StopKind::Clean
        } else if state.boot_id == self.boot_id {
            StopKind::Killed
        } else {
            StopKind::PowerLost
        };
        (checkpoint, stop)
    }

    /// Those of the logs in `found` that were not closed cleanly.
    pub(super) fn to_recover(
        &self,
        found: impl IntoIterator<Item = TopicPartition>,
    ) -> Vec<TopicPartition> {
        let is_unclean = |partition: &TopicPartition| {
            let (_, stop) = self.left_by_last_user(partition);
            stop != StopKind::Clean
        };
        found.into_iter().filter(is_unclean).collect()
    }

    /// Whether the files on disk may list an older log of this name, see the header.
    pub(super) fn is_stale(&self, partition: &TopicPartition) -> bool {
        self.stale.contains(partition)
    }

    /// Remembers where an open log stands.
    pub(super) fn set_open(
        &mut self,
        partition: &TopicPartition,
        topic_id: TopicId,
        checkpoint: LogCheckpoint,
    ) {
        self.set(partition, topic_id, checkpoint, None);
    }

    /// Remembers where a log ended that was closed cleanly.
    pub(super) fn set_closed(
        &mut self,
        partition: &TopicPartition,
        topic_id: TopicId,
        checkpoint: LogCheckpoint,
    ) {
        self.set(partition, topic_id, checkpoint, Some(checkpoint.log_end_offset));
    }

    fn set(
        &mut self,
        partition: &TopicPartition,
        topic_id: TopicId,
        checkpoint: LogCheckpoint,
        closed_at: Option<Offset>,
    ) {
        let LogCheckpoint { log_start_offset, recovery_point, .. } = checkpoint;
        let new = LogState {
            topic_id,
            offsets: Some((log_start_offset, recovery_point)),
            closed_at,
            boot_id: Arc::clone(&self.boot_id),
        };
        match self.logs.get_mut(partition) {
            Some(old) if old.topic_id == topic_id => {
                let changed = &mut self.unwritten;
                changed.log_starts |= old.offsets.map(|(start, _)| start) != Some(log_start_offset);
                changed.recovery_points |=
                    old.offsets.map(|(_, point)| point) != Some(recovery_point);
                changed.own |= (old.closed_at, &old.boot_id) != (closed_at, &new.boot_id);
                *old = new;
            }
            Some(_) | None => {
                self.logs.insert(partition.clone(), new);
                self.unwritten = Unwritten::ALL;
            }
        }
    }

    /// Forgets a log that was deleted.
    pub(super) fn remove(&mut self, partition: &TopicPartition) {
        if self.logs.remove(partition).is_some() {
            self.stale.insert(partition.clone());
            self.unwritten = Unwritten::ALL;
        }
    }

    /// Writes the files that are behind.
    ///
    /// # Errors
    /// [`CheckpointError::Io`]. The files may then be of different times, which is harmless: an old
    /// recovery point is low, and an old log start shows deleted records again, as a crash may.
    pub(super) fn write(&mut self, device: &dyn Device) -> Result<(), CheckpointError> {
        let write = |file: &str, lines: Vec<String>| {
            checkpoint::write(device, &self.directory.join(file), VERSION, lines.iter())
        };
        if self.unwritten.recovery_points {
            write(RECOVERY_POINT_FILE, self.offset_lines(|(_, recovery_point)| recovery_point))?;
            self.unwritten.recovery_points = false;
        }
        if self.unwritten.log_starts {
            write(LOG_START_FILE, self.offset_lines(|(log_start_offset, _)| log_start_offset))?;
            self.unwritten.log_starts = false;
        }
        if self.unwritten.own {
            write(LOG_FILE, self.own_lines())?;
            self.unwritten.own = false;
        }
        self.stale.clear();
        Ok(())
    }

    fn offset_lines(&self, pick: fn((Offset, Offset)) -> Offset) -> Vec<String> {
        let lines = self.logs.iter().filter_map(|(partition, state)| {
            let offset = pick(state.offsets?);
            Some(format!("{} {} {offset}", partition.topic, partition.partition))
        });
        lines.collect()
    }

    fn own_lines(&self) -> Vec<String> {
        let lines = self.logs.iter().map(|(TopicPartition { topic, partition }, state)| {
            let topic_id = uuid_text::encode(state.topic_id.get());
            let log_end_offset = state.closed_at.unwrap_or(Offset::NONE);
            format!("{topic} {partition} {topic_id} {log_end_offset} {}", state.boot_id)
        });
        lines.collect()
    }
}

fn parse_partition<'a>(mut fields: impl Iterator<Item = &'a str>) -> Option<TopicPartition> {
    let topic = TopicName::new(fields.next()?).ok()?;
    Some(TopicPartition::new(topic, PartitionId::new(parse_number(fields.next()?)?)))
}

fn parse_number<T: FromStr + PartialOrd + Default>(text: &str) -> Option<T> {
    text.parse().ok().filter(|number| *number >= T::default())
}

fn parse_offset(line: &str) -> Option<(TopicPartition, Offset)> {
    let mut fields = line.split(' ');
    let partition = parse_partition(&mut fields)?;
    let offset = Offset::new(parse_number(fields.next()?)?);
    fields.next().is_none().then_some((partition, offset))
}

fn parse_own(line: &str) -> Option<(TopicPartition, LogState)> {
    let mut fields = line.split(' ');
    let partition = parse_partition(&mut fields)?;
    let topic_id = TopicId::new(uuid_text::decode(fields.next()?)?)?;
    let closed_at = match fields.next()? {
        "-1" => None,
        offset => Some(Offset::new(parse_number(offset)?)),
    };
    let boot_id = fields.next()?.into();
    let state = LogState { topic_id, offsets: None, closed_at, boot_id };
    fields.next().is_none().then_some((partition, state))
}
