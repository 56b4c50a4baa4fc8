//! Who is named as leader, by what this broker and others know.

use std::collections::BTreeSet;

use super::*;
use crate::test_node::TestNode;

fn brokers(ids: &[i32]) -> Brokers {
    ids.iter().map(|id| BrokerId::new(*id)).collect()
}

fn tenure(leader_epoch: i32, is_present: bool, in_sync: &[i32]) -> Tenure {
    let leader_epoch = LeaderEpoch::new(leader_epoch);
    Tenure { leader_epoch, is_present, in_sync: brokers(in_sync) }
}

struct Bed {
    node: TestNode,
}

impl Bed {
    async fn new(replicas: &[i32]) -> Self {
        let node = TestNode::among_three().await;
        node.assign("t", &[replicas], &[]).await;
        Self { node }
    }

    fn key(&self) -> Key {
        (TopicId::new(self.node.topic_id("t")).unwrap(), PartitionId::new(0))
    }

    fn learn(&self, by: i32, tenure: Tenure) {
        self.node.broker.leaders.learn(BrokerId::new(by), [(self.key(), tenure)]);
    }

    fn down(&self, ids: &[i32]) {
        let down = ids.iter().map(|id| BrokerId::new(*id)).collect::<BTreeSet<_>>();
        self.node.broker.leaders.set_down(down);
    }

    /// Leader, epoch, in-sync and offline replicas.
    fn standing(&self) -> (Option<i32>, i32, Vec<i32>, Vec<i32>) {
        let image = self.node.broker.cluster.image();
        let topic = &image.topics["t"];
        let standing = self.node.broker.leaders.standing(topic.id, &topic.partitions[0]);
        let ids = |brokers: &Brokers| brokers.iter().map(|id| id.get()).collect();
        let leader = standing.leader.map(BrokerId::get);
        let epoch = standing.leader_epoch.get();
        (leader, epoch, ids(&standing.in_sync), ids(&standing.offline))
    }
}

#[tokio::test]
async fn what_others_tell_counts_by_its_epoch() {
    let bed = Bed::new(&[2, 3]).await;
    assert_eq!(bed.standing(), (None, -1, vec![], vec![]));
    bed.learn(3, tenure(4, true, &[3, 2]));
    assert_eq!(bed.standing(), (Some(3), 4, vec![2, 3], vec![]));
    bed.learn(2, tenure(3, true, &[2]));
    assert_eq!(bed.standing().0, Some(3), "an older epoch");
    bed.learn(2, tenure(4, false, &[]));
    assert_eq!(bed.standing().0, Some(3), "that epoch is another broker's");
    bed.learn(3, tenure(4, true, &[3]));
    assert_eq!(bed.standing().2, [3], "fewer are in sync");
    bed.learn(3, tenure(4, false, &[3]));
    assert_eq!(bed.standing(), (None, 4, vec![3], vec![]), "it has told that it leads no longer");
    bed.learn(2, tenure(6, true, &[2]));
    assert_eq!(bed.standing(), (Some(2), 6, vec![2], vec![]));
}

#[tokio::test]
async fn a_broker_that_is_down_leads_nothing() {
    let bed = Bed::new(&[2, 3]).await;
    bed.learn(2, tenure(1, true, &[2, 3]));
    bed.down(&[2]);
    assert_eq!(bed.standing(), (None, 1, vec![3], vec![2]));
    bed.down(&[]);
    assert_eq!(bed.standing(), (Some(2), 1, vec![2, 3], vec![]));
}

#[tokio::test]
async fn a_broker_that_starts_anew_tells_everything_anew() {
    let bed = Bed::new(&[2]).await;
    bed.learn(2, tenure(7, true, &[2]));
    assert_eq!(bed.node.broker.leaders.told_by(BrokerId::new(2)).len(), 1);
    // Its disk was lost, and the partition with it: epochs begin anew.
    bed.node.broker.leaders.forget_all_of(BrokerId::new(2));
    assert_eq!(bed.standing(), (Some(2), -1, vec![2], vec![]), "nobody else can lead it");
    bed.learn(2, tenure(0, true, &[2]));
    assert_eq!(bed.standing(), (Some(2), 0, vec![2], vec![]));
    bed.learn(2, tenure(0, false, &[]));
    assert_eq!(bed.standing().0, None, "its log has failed");
    bed.down(&[2]);
    assert_eq!(bed.standing(), (None, 0, vec![], vec![2]));
}

#[tokio::test]
async fn a_replica_here_is_asked_first() {
    let bed = Bed::new(&[1, 2, 3]).await;
    let replica = bed.node.replica("t", 0);
    assert_eq!(bed.standing(), (None, 0, vec![], vec![]));
    bed.learn(2, tenure(1, true, &[2, 1]));
    assert_eq!(bed.standing(), (Some(2), 1, vec![1, 2], vec![]));
    replica.lead(2);
    replica.set_in_sync(&[1, 3]);
    assert_eq!(bed.standing(), (Some(1), 2, vec![1, 3], vec![]));
    bed.learn(3, tenure(3, true, &[3, 2]));
    assert_eq!(bed.standing().0, Some(3), "this broker has yet to hear that it is deposed");
    replica.lose(Some(3), 3);
    assert_eq!(bed.standing().0, Some(3), "it has voted for that one");
    assert_eq!(bed.standing().1, 3);
    bed.down(&[3]);
    assert_eq!(bed.standing().0, None);
    bed.learn(2, tenure(4, true, &[1, 2]));
    assert_eq!(bed.standing(), (Some(2), 4, vec![1, 2], vec![3]));
}

#[tokio::test]
async fn changes_of_leadership_are_told() {
    let bed = Bed::new(&[1, 2]).await;
    let news = bed.node.broker.partitions.news().clone();
    assert_eq!(news.next().await, BTreeSet::from([bed.key()]), "when it was opened");
    let replica = bed.node.replica("t", 0);
    replica.lead(1);
    replica.lose(None, 1);
    assert_eq!(news.next().await, BTreeSet::from([bed.key()]));
    replica.end();
    assert_eq!(news.next().await, BTreeSet::from([bed.key()]));
}
