//! Nodes that meet over loopback.

use std::net::TcpListener;
use std::sync::Arc;

use protocol::types::BrokerId;
use raft::peers::PeerConfig;
use tokio::task::JoinSet;

use super::*;
use crate::cluster::image::{BrokerImage, NodeImage};

struct Node {
    peers: Peers,
    reception: Arc<Reception>,
    address: HostPort,
}

async fn node(id: i32) -> Node {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let me = ReplicaId { broker_id: BrokerId::new(id), directory_id: Uuid::new_v4() };
    let config = PeerConfig { me, cluster_id: None, secret: None };
    let peers = Peers::start(listener, config).await.unwrap();
    let reception = Reception::new();
    peers.serve(ServiceId::FORMATION, Arc::clone(&reception) as _);
    let address = HostPort { host: "127.0.0.1".to_owned(), port: peers.local_port() };
    Node { peers, reception, address }
}

fn join(nodes: &[Node]) -> Vec<HostPort> {
    nodes.iter().map(|node| node.address.clone()).collect()
}

#[tokio::test]
async fn of_nodes_that_seek_at_once_the_lowest_founds_and_the_others_wait() {
    let mut nodes = Vec::new();
    for id in [3, 1, 2] {
        nodes.push(node(id).await);
    }
    let founder = nodes[1].peers.me();
    let mut seeking = JoinSet::new();
    for node in &nodes {
        let (peers, reception) = (node.peers.clone(), Arc::clone(&node.reception));
        let join = join(&nodes);
        seeking.spawn(async move {
            let sought = seek(&peers, &reception, &join).await.unwrap();
            reception.bind(sought.clone());
            (peers.me(), sought)
        });
    }
    let (who, cluster_id) = seeking.join_next().await.unwrap().unwrap();
    assert_eq!((who, &cluster_id), (founder, &founded_id(founder.directory_id)));
    // What the others hear from now on makes them wait for a cluster of this id.
    let answers = ask_all(&nodes[0].peers, &join(&nodes)).await;
    let bound = Heard::Bound { replica: founder, cluster_id };
    assert!(answers.iter().any(|(_, heard)| *heard == bound), "{answers:?}");
    let verdict = rule::judge(nodes[0].peers.me(), &answers);
    assert!(matches!(verdict, Verdict::Wait(_)), "{verdict:?}");
    assert!(seeking.try_join_next().is_none(), "nobody else has decided");
}

#[tokio::test]
async fn data_of_another_cluster_is_refused_and_silence_is_not() {
    let (one, other) = (node(1).await, node(2).await);
    let nobody = {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = closed.local_addr().unwrap().port();
        HostPort { host: "127.0.0.1".to_owned(), port }
    };
    let join = [nobody, other.address.clone()];
    check(&one.peers, &join, "ours").await.unwrap();
    other.reception.bind("theirs".to_owned());
    let error = check(&one.peers, &join, "ours").await.unwrap_err().to_string();
    assert!(error.contains("ours") && error.contains("theirs"), "{error}");
    check(&one.peers, &join, "theirs").await.unwrap();
}

#[tokio::test]
async fn who_is_no_member_registers_nobody_and_garbage_is_refused() {
    let (one, other) = (node(1).await, node(2).await);
    let me = one.peers.me();
    let place = NodeImage { directory_id: me.directory_id, host: "h".to_owned(), port: 1 };
    let image = BrokerImage { endpoints: Vec::new(), rack: None, node: Some(place) };
    let addresses = BTreeSet::from([other.address.clone()]);
    let answer = register(&one.peers, &addresses, &image).await.unwrap();
    assert!(answer.is_err_and(|why| why.contains("not a member")));
    let to = PeerAddress { host: other.address.host.clone(), port: other.address.port };
    for garbage in [&b""[..], &[9, 9], &[1, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]] {
        let request = vec![garbage.to_vec().into()];
        let called =
            one.peers.call_address(&to, ServiceId::FORMATION, request, ANSWER_TIMEOUT).await;
        assert!(called.is_err(), "{garbage:?}");
    }
}
