//! Hands the leadership of partitions to replicas that should have it: when an operator asks for it, and
//! by itself to preferred replicas that have been back for a while.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use protocol::types::BrokerId;
use tokio::time::Instant;

use super::Key;
use crate::broker::Broker;

/// How often it is looked for leaderships that belong elsewhere.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long a preferred replica must have been there, fit, and in sync, before it leads again: one that
/// comes and goes must not take its partitions' leaders along.
const SETTLED_AFTER: Duration = Duration::from_secs(10);
/// How long a leadership stays that could not be handed over.
const RETRY_AFTER: Duration = Duration::from_secs(30);
/// Leaderships that are handed over at once.
const AT_ONCE: usize = 16;

/// Has `leader` hand the leadership of a partition to `to`. The sentence of an error says why it stays.
pub(crate) async fn transfer(
    broker: &Broker,
    key: Key,
    leader: BrokerId,
    to: BrokerId,
) -> Result<(), String> {
    if leader == broker.broker_id {
        return broker.partitions.transfer(key, to).await;
    }
    let gossip = broker.gossip.as_ref().ok_or("the leader cannot be reached")?;
    gossip.ask_to_transfer(leader, key, to).await
}

/// Hands what is led here and preferred elsewhere back, until it is dropped, which is safe at every
/// await.
pub(crate) async fn hand_back(broker: Arc<Broker>) {
    let mut due = BTreeMap::new();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let now = Instant::now();
        let misplaced = misplaced(&broker);
        due.retain(|key, _| misplaced.contains_key(key));
        for key in misplaced.keys() {
            due.entry(*key).or_insert(now + SETTLED_AFTER);
        }
        let ready = misplaced.into_iter().filter(|(key, _)| due.get(key) <= Some(&now));
        let handing = ready.map(|(key, to)| {
            let partitions = Arc::clone(&broker.partitions);
            async move { (key, to, partitions.transfer(key, to).await) }
        });
        let mut handing = stream::iter(handing.collect::<Vec<_>>()).buffer_unordered(AT_ONCE);
        while let Some(((topic_id, partition), to, handed)) = handing.next().await {
            match handed {
                Ok(()) => tracing::debug!(%topic_id, %partition, broker = %to,
                    "a preferred replica leads again"),
                Err(reason) => {
                    due.insert((topic_id, partition), Instant::now() + RETRY_AFTER);
                    tracing::debug!(%topic_id, %partition, broker = %to, %reason,
                        "a preferred replica does not lead again yet");
                }
            }
        }
    }
}

/// Partitions that are led here and could be led by the replica that is preferred.
fn misplaced(broker: &Broker) -> BTreeMap<Key, BrokerId> {
    let image = broker.cluster.image();
    let mut misplaced = BTreeMap::new();
    for topic in image.topics.values() {
        for partition in topic.partitions.iter() {
            if partition.replicas.len() == 1 || partition.moving.is_some() {
                continue;
            }
            let preferred = partition.preferred_leader().filter(|it| *it != broker.broker_id);
            let Some(preferred) = preferred else { continue };
            let Ok(local) = broker.partitions.get(topic.id, partition.partition) else { continue };
            if local.waiters().leads_in().is_some()
                && !broker.leaders.is_down(preferred)
                && broker.gossip.as_ref().is_none_or(|gossip| gossip.is_fit(preferred))
                && local.replica.in_sync().contains(&preferred)
            {
                misplaced.insert((topic.id, partition.partition), preferred);
            }
        }
    }
    misplaced
}

#[cfg(test)]
mod tests {
    use protocol::topic::TopicId;
    use protocol::types::PartitionId;
    use raft::types::GroupId;

    use super::*;
    use crate::test_node::TestNode;
    use crate::test_replica::Asked;

    #[tokio::test]
    async fn a_preferred_replica_leads_again_once_it_has_settled() {
        let node = TestNode::among_three().await;
        node.assign("t", &[&[2, 1, 3], &[1, 2, 3], &[2, 1, 3]], &[]).await;
        for partition in 0..3 {
            node.replica("t", partition).lead(1);
        }
        node.replica("t", 0).set_in_sync(&[1, 2]);
        node.replica("t", 1).set_in_sync(&[1, 2]);
        tokio::time::pause();
        let began = Instant::now();
        tokio::spawn(hand_back(node.broker.clone()));
        let transfers = || {
            let asked = node.replication.asked.lock();
            let transfers = asked.iter().filter(|it| matches!(it, Asked::Transfer(..)));
            transfers.cloned().collect::<Vec<_>>()
        };
        while transfers().is_empty() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(began.elapsed() >= SETTLED_AFTER);
        let topic_id = TopicId::new(node.topic_id("t")).unwrap();
        let group = GroupId { topic_id, partition: PartitionId::new(0) };
        // Partition 1 prefers this broker, and of partition 2 the preferred replica lags.
        assert_eq!(transfers()[0], Asked::Transfer(group, BrokerId::new(2)));
        assert!(transfers().iter().all(|it| *it == transfers()[0]), "{:?}", transfers());
    }
}
