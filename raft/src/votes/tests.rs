//! The file of the votes on a disk that loses power, fails a call or fills up.

use std::time::Duration;

use protocol::topic::TopicId;
use protocol::types::{BrokerId, PartitionId};
use storage::device::faulty::{Effect, Fault, FaultyDevice, Operation};
use uuid::Uuid;

use super::*;
use crate::group::types::{CommittedLeaderId, LogId};
use crate::types::ReplicaId;

fn group(partition: i32) -> GroupId {
    let topic_id = TopicId::new(Uuid::from_u128(7)).unwrap();
    GroupId { topic_id, partition: PartitionId::new(partition) }
}

fn vote(term: u64) -> Vote {
    let replica = ReplicaId { broker_id: BrokerId::new(3), directory_id: Uuid::from_u128(8) };
    Vote::new(term, replica)
}

fn progress(index: u64) -> Progress {
    let applied = LogId::new(CommittedLeaderId::new(1), index);
    Progress { applied, memberships: Vec::new() }
}

fn open(device: &Arc<FaultyDevice>, root: &Path) -> Votes {
    let device: Arc<dyn Device> = device.clone();
    Votes::open(device, &root.join("votes")).unwrap()
}

#[tokio::test]
async fn what_was_saved_is_found_and_what_was_forgotten_is_not() {
    let root = tempfile::tempdir().unwrap();
    let device = FaultyDevice::new(root.path()).unwrap();
    let votes = open(&device, root.path());
    votes.save_vote(group(1), vote(4)).await.unwrap();
    votes.save_vote(group(1), vote(5)).await.unwrap();
    votes.save_progress(vec![(group(1), progress(9)), (group(2), progress(3))]).await.unwrap();
    votes.save_vote(group(3), vote(1)).await.unwrap();
    votes.forget(group(3)).await.unwrap();
    votes.close().await;
    assert!(votes.save_vote(group(1), vote(6)).await.is_err());
    for votes in [votes, open(&device, root.path())] {
        let both = Remembered { vote: Some(vote(5)), progress: Some(progress(9)) };
        assert_eq!(votes.remembered(group(1)), both);
        assert_eq!(votes.remembered(group(2)).progress, Some(progress(3)));
        assert_eq!(votes.remembered(group(3)), Remembered::default());
        votes.close().await;
    }
}

#[tokio::test]
async fn no_vote_that_was_told_is_lost_with_the_power() {
    for seed in 0..40_u64 {
        let root = tempfile::tempdir().unwrap();
        let mut device = FaultyDevice::new(root.path()).unwrap();
        let mut told = [0_u64; 5];
        let mut term = 0;
        for life in 0..4_u64 {
            let votes = open(&device, root.path());
            for (partition, told) in (0..).zip(told) {
                let found = votes.remembered(group(partition)).vote;
                let found = found.map_or(0, |vote| vote.leader_id.term);
                assert!(found >= told, "seed {seed}, life {life}: term {found} after {told}");
            }
            // The power goes at some write or sync of what follows.
            let operation = [Operation::Write, Operation::Sync][usize::from(seed % 2 == 0)];
            let nth = 1 + (seed * 5 + life * 3) % 9;
            device.inject(Fault { operation, nth, effect: Effect::PowerOff });
            for _ in 0..10 {
                term += 1;
                let saving = (0..5).map(|partition| votes.save_vote(group(partition), vote(term)));
                let outcomes = futures_util::future::join_all(saving).await;
                for (told, outcome) in told.iter_mut().zip(outcomes) {
                    if outcome.is_ok() {
                        *told = term;
                    }
                }
            }
            votes.close().await;
            device = device.crash(seed).unwrap();
        }
    }
}

#[tokio::test]
async fn many_votes_share_their_syncs_and_the_file_is_rewritten_when_it_has_grown() {
    let root = tempfile::tempdir().unwrap();
    let device = FaultyDevice::new(root.path()).unwrap();
    let votes = open(&device, root.path());
    let before = device.count(Operation::Sync);
    for term in 1..=30 {
        let saving = (0..1000).map(|partition| votes.save_vote(group(partition), vote(term)));
        for outcome in futures_util::future::join_all(saving).await {
            outcome.unwrap();
        }
    }
    let syncs = device.count(Operation::Sync) - before;
    assert!(syncs < 3000, "{syncs} syncs for 30000 votes");
    votes.close().await;
    let bytes = std::fs::metadata(root.path().join("votes")).unwrap().len();
    assert!(bytes < 2 * REWRITE_BYTES_MIN, "{bytes} bytes for 1000 votes");
    let votes = open(&device, root.path());
    assert!((0..1000).all(|partition| votes.remembered(group(partition)).vote == Some(vote(30))));
    votes.close().await;
}

#[tokio::test]
async fn a_failed_sync_is_final() {
    let root = tempfile::tempdir().unwrap();
    let device = FaultyDevice::new(root.path()).unwrap();
    let votes = open(&device, root.path());
    votes.save_vote(group(1), vote(1)).await.unwrap();
    device.inject(Fault { operation: Operation::Sync, nth: 1, effect: Effect::Fail });
    for term in 2..4 {
        let error = votes.save_vote(group(1), vote(term)).await.unwrap_err();
        assert!(error.to_string().contains("sync failed"), "{error}");
    }
    assert_eq!(votes.remembered(group(1)).vote, Some(vote(1)));
    votes.close().await;
}

#[tokio::test]
async fn a_full_disk_is_waited_out() {
    let root = tempfile::tempdir().unwrap();
    let device = FaultyDevice::new(root.path()).unwrap();
    let votes = open(&device, root.path());
    votes.save_vote(group(1), vote(1)).await.unwrap();
    let bytes = std::fs::metadata(root.path().join("votes")).unwrap().len();
    device.set_capacity_bytes(Some(bytes + 10));
    let writes = device.count(Operation::Write);
    let saving = {
        let votes = votes.clone();
        tokio::spawn(async move { votes.save_vote(group(1), vote(2)).await })
    };
    while device.count(Operation::Write) == writes {
        tokio::task::yield_now().await;
    }
    device.set_capacity_bytes(None);
    tokio::time::timeout(Duration::from_secs(60), saving).await.unwrap().unwrap().unwrap();
    votes.close().await;
}
