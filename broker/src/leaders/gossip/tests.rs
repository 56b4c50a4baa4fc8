//! Two brokers that tell each other, over real sockets.

use std::net::TcpListener;

use protocol::topic::TopicId;
use raft::peers::{PeerAddress, PeerConfig};
use raft::types::ReplicaId;
use uuid::Uuid;

use super::*;
use crate::test_node::TestNode;
use crate::test_replica::Asked;

async fn peers(id: i32) -> Peers {
    let broker_id = BrokerId::new(id);
    let me = ReplicaId { broker_id, directory_id: Uuid::from_u128(id.unsigned_abs().into()) };
    let config = PeerConfig { me, cluster_id: Some("test".to_owned()), secret: None };
    Peers::start(TcpListener::bind(("127.0.0.1", 0)).unwrap(), config).await.unwrap()
}

fn introduce(all: &[&Peers]) {
    let address =
        |peers: &&Peers| PeerAddress { host: "127.0.0.1".to_owned(), port: peers.local_port() };
    let known: BTreeMap<_, _> =
        all.iter().map(|peers| (peers.me().broker_id, address(peers))).collect();
    all.iter().for_each(|peers| peers.set_addresses(known.clone()));
}

/// Another broker, which only listens.
async fn listening(id: i32) -> (Peers, Arc<Leaders>) {
    let (peers, node) = (peers(id).await, TestNode::new(&[]).await);
    let leaders = Arc::new(Leaders::new(BrokerId::new(id), node.broker.partitions.clone()));
    Gossip::start(peers.clone(), leaders.clone(), node.broker.partitions.clone());
    (peers, leaders)
}

/// Waits until `leaders` knows these of broker 1: partition, epoch, is present, in sync.
async fn knows(leaders: &Leaders, topic: TopicId, wanted: &[(i32, i32, bool, &[i32])]) {
    let look = || {
        let told =
            leaders.told_by(BrokerId::new(1)).into_iter().filter(|((of, _), _)| *of == topic);
        let mut told: Vec<_> = told
            .map(|((_, partition), tenure)| {
                let in_sync: Vec<i32> = tenure.in_sync.iter().map(|id| id.get()).collect();
                (partition.get(), tenure.leader_epoch.get(), tenure.is_present, in_sync)
            })
            .collect();
        told.sort();
        told
    };
    let wanted: Vec<_> = wanted
        .iter()
        .map(|(at, epoch, is, in_sync)| (*at, *epoch, *is, in_sync.to_vec()))
        .collect();
    let waiting = async {
        while look() != wanted {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(60), waiting).await;
    assert!(in_time.is_ok(), "{:?} is known, not {wanted:?}", look());
}

#[tokio::test]
async fn a_broker_tells_what_it_leads_what_changes_and_everything_anew() {
    let node = TestNode::among_three().await;
    node.assign("t", &[&[1, 2, 3], &[1, 2, 3]], &[]).await;
    let topic = TopicId::new(node.topic_id("t")).unwrap();
    let (first, second) = (node.replica("t", 0), node.replica("t", 1));
    first.lead(1);
    let own = peers(1).await;
    let broker = &node.broker;
    let gossip = Gossip::start(own.clone(), broker.leaders.clone(), broker.partitions.clone());
    let (news, teller) = (broker.partitions.news().clone(), gossip.clone());
    tokio::spawn(async move {
        loop {
            teller.tell(&news.next().await);
        }
    });
    tokio::spawn(gossip.run(broker.cluster.images()));
    let (other, leaders) = listening(2).await;
    introduce(&[&own, &other]);

    knows(&leaders, topic, &[(0, 1, true, &[1])]).await;
    second.lead(4);
    knows(&leaders, topic, &[(0, 1, true, &[1]), (1, 4, true, &[1])]).await;
    second.set_in_sync(&[1, 3]);
    knows(&leaders, topic, &[(0, 1, true, &[1]), (1, 4, true, &[1, 3])]).await;
    first.lose(None, 1);
    knows(&leaders, topic, &[(0, 1, false, &[]), (1, 4, true, &[1, 3])]).await;

    // Whatever the reason for which it knows something else, it does not last.
    leaders.forget_all_of(BrokerId::new(1));
    knows(&leaders, topic, &[(1, 4, true, &[1, 3])]).await;

    // One that comes later, or again, is told everything.
    other.shutdown().await;
    let (again, leaders) = listening(3).await;
    introduce(&[&own, &again]);
    knows(&leaders, topic, &[(1, 4, true, &[1, 3])]).await;
}

#[tokio::test]
async fn a_broker_that_is_gone_leads_nothing() {
    let node = TestNode::among_three().await;
    let (own, other) = (peers(1).await, peers(2).await);
    let broker = &node.broker;
    let gossip = Gossip::start(own.clone(), broker.leaders.clone(), broker.partitions.clone());
    tokio::spawn(gossip.run(broker.cluster.images()));
    introduce(&[&own, &other]);
    let down = async |wanted: bool| {
        let waiting = async {
            while broker.leaders.is_down(BrokerId::new(2)) != wanted {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), waiting).await.unwrap();
    };
    let mut health = own.health();
    health.wait_for(|all| all.get(&BrokerId::new(2)) == Some(&Health::Up)).await.unwrap();
    down(false).await;
    other.shutdown().await;
    down(true).await;
    let asked = || node.replication.asked.lock().clone();
    let takeover = Asked::BrokerDown(BrokerId::new(2));
    let waiting = async {
        while !asked().contains(&takeover) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.unwrap();
}
