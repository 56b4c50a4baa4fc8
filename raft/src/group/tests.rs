//! openraft's own suite over a partition's log.
//!
//! Left out are its two checks that a snapshot holds what was applied: here it says what was evicted.
//! The suite begins logs in their middle and purges beyond their end; [`Filled`] puts empty entries
//! there, as nothing in the product does.

use std::fmt::Debug;
use std::ops::RangeBounds;
use std::path::Path;

use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::{LogState, OptionalSend, RaftLogReader, StorageError};
use protocol::topic::{TopicId, TopicName, TopicPartition};
use protocol::types::{PartitionId, Timestamp};
use storage::config::LogConfig;
use storage::data_dir::{DataDir, DataDirConfig, Identity, LogName};
use storage::device::os::OsDevice;
use storage::log::entries::LogKind;
use tempfile::TempDir;
use uuid::Uuid;

use super::types::{Entry, Payload, Vote};
use super::*;

struct Filled(LogStore);

impl Filled {
    /// Empty entries up to `end`, in the term of what comes behind them.
    async fn fill(&mut self, term: u64, end: u64) {
        let from = self.0.0.bounds().end.get();
        let entry = |index| {
            Entry::new(LogId::new(types::CommittedLeaderId::new(term), index), Payload::Void)
        };
        let entries: Vec<_> = (from..end).map(entry).collect();
        if !entries.is_empty() {
            self.0.append(entries, IOFlushed::noop()).await.unwrap();
        }
    }
}

impl RaftLogReader<PartitionRaft> for Filled {
    async fn try_get_log_entries<R>(&mut self, range: R) -> io::Result<Vec<Entry>>
    where
        R: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        self.0.try_get_log_entries(range).await
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        self.0.read_vote().await
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.0.limited_get_log_entries(start, end).await
    }
}

impl RaftLogStorage<PartitionRaft> for Filled {
    type LogReader = LogStore;

    async fn get_log_state(&mut self) -> io::Result<LogState<PartitionRaft>> {
        self.0.get_log_state().await
    }

    async fn get_log_reader(&mut self) -> LogStore {
        self.0.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        self.0.save_vote(vote).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        self.0.save_committed(committed).await
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        self.0.read_committed().await
    }

    async fn append<I>(&mut self, entries: I, done: IOFlushed<PartitionRaft>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<_> = entries.into_iter().collect();
        let first = entries[0].log_id();
        self.fill(first.committed_leader_id().term, first.index()).await;
        self.0.append(entries, done).await
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        self.0.truncate_after(last).await
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        self.fill(upto.committed_leader_id().term, upto.index() + 1).await;
        self.0.0.barrier().await?;
        // What is purged was applied.
        {
            let mut applied = self.0.0.applied.lock();
            applied.last = applied.last.max(Some(upto));
        }
        self.0.purge(upto).await
    }
}

fn open_log(root: &Path) -> (DataDir, Arc<Log>) {
    let config = DataDirConfig {
        open_files_max: 16,
        tail_cache_bytes_max: 1 << 20,
        page_cache_bytes_max: 64 << 20,
        pending_bytes_max: 1 << 20,
        free_bytes_min: 0,
        producer_expiration: Duration::from_secs(86_400),
    };
    let identity = || Identity {
        cluster_id: "suite".to_owned(),
        broker_id: BrokerId::new(1),
        directory_id: Uuid::from_u128(1),
    };
    let data_dir = DataDir::open(&root.join("data"), config, identity).unwrap();
    let name = LogName {
        partition: TopicPartition::new(TopicName::new("t").unwrap(), PartitionId::new(0)),
        topic_id: TopicId::new(Uuid::from_u128(2)).unwrap(),
    };
    let log = data_dir.open_log(&name, LogConfig::default(), LogKind::Replicated).unwrap();
    (data_dir, log)
}

struct Builder;

type Kept = (TempDir, DataDir);

impl StoreBuilder<PartitionRaft, Filled, StateMachine, Kept> for Builder {
    async fn build(&self) -> Result<(Kept, Filled, StateMachine), StorageError<PartitionRaft>> {
        let root = tempfile::tempdir().unwrap();
        let (data_dir, log) = open_log(root.path());
        let votes = Votes::open(Arc::new(OsDevice), &root.path().join("votes")).unwrap();
        let topic_id = TopicId::new(Uuid::from_u128(2)).unwrap();
        let id = GroupId { topic_id, partition: PartitionId::new(0) };
        let clock: Clock = Arc::new(|| Timestamp::new(1));
        let first = StoredMembership::default();
        let state = GroupState::open(id, ReplicaId::from(0), log, votes, clock, first).unwrap();
        let store = Filled(LogStore(Arc::clone(&state)));
        Ok(((root, data_dir), store, StateMachine(state)))
    }
}

macro_rules! suite {
    ($($check:ident),* $(,)?) => {
        $(
            #[tokio::test]
            async fn $check() {
                let (kept, store, machine) = Builder.build().await.unwrap();
                let outcome =
                    Suite::<PartitionRaft, Filled, StateMachine, Builder, Kept>::$check(store, machine);
                outcome.await.unwrap();
                drop(kept);
            }
        )*
    };
}

suite!(
    last_membership_in_log_initial,
    last_membership_in_log,
    last_membership_in_log_multi_step,
    get_membership_initial,
    get_membership_from_log_and_empty_sm,
    get_membership_from_empty_log_and_sm,
    get_membership_from_log_le_sm_last_applied,
    get_membership_from_log_gt_sm_last_applied_1,
    get_membership_from_log_gt_sm_last_applied_2,
    get_initial_state_without_init,
    get_initial_state_membership_from_empty_log_and_sm,
    get_initial_state_membership_from_sm_inlog_is_smaller,
    get_initial_state_membership_from_log_insm_is_smaller,
    get_initial_state_with_state,
    get_initial_state_last_log_gt_sm,
    get_initial_state_last_log_lt_sm,
    get_initial_state_inverted_log_order,
    get_initial_state_conflict_at_same_index,
    get_initial_state_log_ids,
    get_initial_state_re_apply_committed,
    save_vote,
    get_log_entries,
    limited_get_log_entries,
    leader_bounded_stream,
    entries_stream,
    try_get_log_entry,
    log_reader_reads_new_entries,
    initial_logs,
    get_log_state,
    get_log_id,
    last_id_in_log,
    last_applied_state,
    purge_logs_upto_0,
    purge_logs_upto_5,
    purge_logs_upto_20,
    delete_logs_after_11,
    delete_logs_after_5,
    delete_logs_after_0,
    delete_logs_after_none,
    append_to_log,
    snapshot_meta_optional,
    apply_single,
    apply_multiple,
);
