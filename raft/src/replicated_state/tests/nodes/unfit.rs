//! Groups in which the disk of a node hangs, is full or has failed.

use storage::device::faulty::{Effect, Fault, Operation};

use super::*;
use crate::fitness::Fitness;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_disk_hangs_is_replaced_and_follows_when_it_answers_again() {
    let mut nodes = three_on_faulty_disks().await;
    propose(nodes[1].group(), "before").await;
    let disk = nodes[0].faulty.clone().unwrap();
    disk.hang(&[Operation::Write, Operation::Sync]);
    nodes[0].running().peers.set_fitness(Fitness::Hanging);
    let is_another = |view: &LeaderView| view.leader.is_some_and(|leader| leader != replica(1));
    let next = nodes[1].led(is_another).await.leader;
    nodes[2].led(|view| view.leader == next).await;
    propose(nodes[1].group(), "during").await;
    disk.release();
    nodes[0].running().peers.set_fitness(Fitness::Recovering);
    nodes[0].led(|view| view.leader == next).await;
    nodes[0].has(&nodes[1].commands()).await;
    stop_all(&mut nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_journal_has_failed_says_so_and_is_replaced() {
    let mut nodes = three_on_faulty_disks().await;
    let fault = Fault { operation: Operation::Sync, nth: 1, effect: Effect::Fail };
    nodes[0].faulty.as_ref().unwrap().inject(fault);
    // Its outcome is unknown, or the others commit it.
    drop(nodes[0].group().propose(Bytes::from_static(b"doubtful")).await);
    let failed = tokio::time::timeout(PATIENCE, nodes[0].group().failed()).await.unwrap();
    assert!(failed.contains("journal"), "{failed}");
    nodes[0].running().peers.set_fitness(Fitness::Failed);
    let is_another = |view: &LeaderView| view.leader.is_some_and(|leader| leader != replica(1));
    nodes[1].led(is_another).await;
    propose(nodes[2].group(), "after").await;
    stop_all(&mut nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_whose_disk_hangs_does_not_become_leader() {
    let mut nodes = three_on_faulty_disks().await;
    let disk = nodes[1].faulty.clone().unwrap();
    disk.hang(&[Operation::Write, Operation::Sync]);
    nodes[1].running().peers.set_fitness(Fitness::Hanging);
    propose(nodes[0].group(), "during").await;
    // A full disk is reason enough to hand over, to the one that is fit.
    let mut fitness = nodes[0].running().peers.fitness();
    let is_known = |all: &Arc<BTreeMap<BrokerId, Fitness>>| {
        all.get(&BrokerId::new(2)) == Some(&Fitness::Hanging)
    };
    tokio::time::timeout(PATIENCE, fitness.wait_for(is_known)).await.unwrap().unwrap();
    nodes[0].running().peers.set_fitness(Fitness::Full);
    nodes[2].led(|view| view.leader == Some(replica(3))).await;
    propose(nodes[0].group(), "after").await;
    disk.release();
    nodes[1].led(|view| view.leader == Some(replica(3))).await;
    stop_all(&mut nodes).await;
}
