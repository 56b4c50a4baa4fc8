//! Groups of several nodes in one process, which reach each other over real sockets on loopback.

mod unfit;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, TcpListener};

use openraft::async_runtime::WatchReceiver;
use storage::device::faulty::FaultyDevice;
use tempfile::TempDir;
use tokio::time::Instant;

use super::*;
use crate::peers::{PeerAddress, PeerConfig, Peers};
use crate::replicated_state::{ChangeMembersError, LeaderView, Members};

/// More than any of these tests takes: only a hang runs into it.
const PATIENCE: Duration = Duration::from_secs(60);

fn replica(broker: i32) -> ReplicaId {
    let directory_id = Uuid::from_u128(u128::try_from(broker).unwrap());
    ReplicaId { broker_id: BrokerId::new(broker), directory_id }
}

fn replicas<const N: usize>(brokers: [i32; N]) -> BTreeSet<ReplicaId> {
    brokers.map(replica).into()
}

/// One node, with its directory and its port also while it does not run.
struct Node {
    broker: i32,
    directory: TempDir,
    port: u16,
    /// A disk that fails when it is told to, instead of the real one.
    faulty: Option<Arc<FaultyDevice>>,
    running: Option<Running>,
}

struct Running {
    peers: Peers,
    group: ReplicatedState,
    commands: Commands,
}

impl Node {
    fn new(broker: i32) -> (Self, TcpListener) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let directory = tempfile::tempdir().unwrap();
        (Self { broker, directory, port, faulty: None, running: None }, listener)
    }

    async fn start(&mut self, listener: TcpListener, role: Role) {
        let me = replica(self.broker);
        let config = PeerConfig { me, cluster_id: Some("mill".to_owned()), secret: None };
        let peers = Peers::start(listener, config).await.unwrap();
        let commands = Commands::default();
        let parts = Parts {
            device: match &self.faulty {
                Some(faulty) => faulty.clone(),
                None => Arc::new(OsDevice),
            },
            directory: self.directory.path().join(DIRECTORY),
            replica: me,
            peers: Some(peers.clone()),
            role,
        };
        let machine = Box::new(commands.clone());
        let group = ReplicatedState::start_on(parts, machine).await.unwrap();
        self.running = Some(Running { peers, group, commands });
    }

    async fn restart(&mut self, role: Role) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        self.start(listener, role).await;
    }

    /// As a killed process: its sockets close, and it hands nothing over.
    async fn kill(&mut self) {
        let Running { peers, group, .. } = self.running.take().unwrap();
        peers.shutdown().await;
        group.shutdown().await;
    }

    async fn stop(&mut self) {
        let Running { peers, group, .. } = self.running.take().unwrap();
        group.shutdown().await;
        peers.shutdown().await;
    }

    fn running(&self) -> &Running {
        self.running.as_ref().unwrap()
    }

    fn group(&self) -> &ReplicatedState {
        &self.running().group
    }

    fn commands(&self) -> Vec<Bytes> {
        self.running().commands.all()
    }

    /// Waits until this node sees a leader for which `is` holds.
    async fn led(&self, is: impl FnMut(&LeaderView) -> bool) -> LeaderView {
        let mut leader = self.group().leader();
        let led = tokio::time::timeout(PATIENCE, leader.wait_for(is)).await;
        *led.unwrap_or_else(|_| panic!("broker {}: {:?}", self.broker, self.group())).unwrap()
    }

    async fn has(&self, commands: &[Bytes]) {
        let begin = Instant::now();
        while self.commands() != commands {
            let found = self.commands().len();
            assert!(begin.elapsed() < PATIENCE, "{found} of {} commands", commands.len());
            tokio::task::yield_now().await;
        }
    }
}

fn addresses(nodes: &[Node]) -> BTreeMap<BrokerId, PeerAddress> {
    let address = |node: &Node| {
        (
            BrokerId::new(node.broker),
            PeerAddress { host: Ipv4Addr::LOCALHOST.to_string(), port: node.port },
        )
    };
    nodes.iter().map(address).collect()
}

/// Tells every running node where all of them listen.
fn introduce(nodes: &[Node]) {
    let all = addresses(nodes);
    for running in nodes.iter().filter_map(|node| node.running.as_ref()) {
        running.peers.set_addresses(all.clone());
    }
}

/// Broker 1 has founded a group, and the others have joined and not been made members.
async fn strangers(count: i32) -> Vec<Node> {
    let mut nodes = Vec::new();
    for broker in 1..=count {
        let (mut node, listener) = Node::new(broker);
        node.start(listener, if broker == 1 { Role::Found } else { Role::Join }).await;
        nodes.push(node);
    }
    introduce(&nodes);
    nodes
}

/// Three voters, led by broker 1.
async fn three() -> Vec<Node> {
    grown(strangers(3).await).await
}

/// The same, with disks that can fail.
async fn three_on_faulty_disks() -> Vec<Node> {
    let mut nodes = Vec::new();
    for broker in 1..=3 {
        let (mut node, listener) = Node::new(broker);
        node.faulty = Some(FaultyDevice::new(node.directory.path()).unwrap());
        node.start(listener, if broker == 1 { Role::Found } else { Role::Join }).await;
        nodes.push(node);
    }
    introduce(&nodes);
    grown(nodes).await
}

async fn grown(nodes: Vec<Node>) -> Vec<Node> {
    nodes[0].group().change_members(replicas([1, 2, 3]), BTreeSet::new()).await.unwrap();
    for node in &nodes {
        node.led(|view| view.leader == Some(replica(1))).await;
    }
    nodes
}

async fn stop_all(nodes: &mut [Node]) {
    for node in nodes.iter_mut().filter(|node| node.running.is_some()) {
        node.kill().await;
    }
}

#[tokio::test]
async fn a_group_of_one_grows_to_three_and_every_node_applies_all_of_it() {
    let mut nodes = strangers(3).await;
    assert_eq!(propose(nodes[0].group(), "alone").await, "1");
    assert_eq!(nodes[1].group().leader().borrow().leader, None);
    nodes[0].group().change_members(replicas([1]), replicas([2, 3])).await.unwrap();
    let learning = Members { voters: replicas([1]), learners: replicas([2, 3]) };
    assert_eq!(nodes[0].group().members(), learning);
    assert_eq!(propose(nodes[0].group(), "followed").await, "2");
    nodes[0].group().change_members(replicas([1, 2, 3]), BTreeSet::new()).await.unwrap();
    assert_eq!(propose(nodes[0].group(), "voted").await, "3");
    let all = nodes[0].commands();
    assert_eq!(all.len(), 3);
    for node in &nodes {
        node.has(&all).await;
        let members = Members { voters: replicas([1, 2, 3]), learners: BTreeSet::new() };
        node.led(|view| view.leader == Some(replica(1))).await;
        assert_eq!(node.group().members(), members);
        assert_eq!(node.group().is_leader(), node.broker == 1);
    }
    let refused = nodes[1].group().change_members(replicas([1]), BTreeSet::new()).await;
    assert!(matches!(refused, Err(ChangeMembersError::NotLeader(Some(_)))), "{refused:?}");
    stop_all(&mut nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_sends_proposals_on_and_answers_when_it_has_applied_them() {
    let mut nodes = three().await;
    for n in 0..20 {
        let node = &nodes[n % 3];
        let command = Bytes::from(format!("command {n}"));
        assert_eq!(propose(node.group(), command.clone()).await, (n + 1).to_string());
        assert_eq!(node.commands().last(), Some(&command), "applied where it was proposed");
    }
    // Beyond what the control lane takes.
    propose(nodes[1].group(), vec![b'x'; COMMAND_BYTES_MAX]).await;
    let proposals = (0..300).map(|n| propose(nodes[n % 3].group(), format!("many {n}")));
    join_all(proposals).await;
    let all = nodes[0].commands();
    assert_eq!(all.len(), 321);
    for node in &nodes {
        node.has(&all).await;
    }
    stop_all(&mut nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stderr, reason = "the time is measured; the limit is a generous one")]
async fn when_the_leader_is_killed_another_leads_in_well_under_a_second() {
    let mut nodes = three().await;
    for round in 0..3 {
        let leader = nodes[0].led(|view| view.leader.is_some()).await.leader.unwrap();
        let leader = usize::try_from(leader.broker_id.get() - 1).unwrap();
        let (one, two) = ((leader + 1) % 3, (leader + 2) % 3);
        let before = Bytes::from(format!("before {round}"));
        propose(nodes[one].group(), before.clone()).await;

        let killed = nodes[leader].running.take().unwrap();
        let begin = Instant::now();
        killed.peers.shutdown().await;
        // One that was on its way to the dead leader has an unknown outcome.
        for attempt in 0.. {
            let command = Bytes::from(format!("after {round}/{attempt}"));
            match nodes[one].group().propose(command).await {
                Ok(_) => break,
                Err(error) => assert!(matches!(error, ProposeError::Unknown(_)), "{error}"),
            }
        }
        eprintln!("round {round}: kill to the first accepted command: {:?}", begin.elapsed());
        assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
        let want = nodes[one].commands();
        assert!(want.contains(&before), "an accepted command is lost: {want:?}");
        nodes[two].has(&want).await;
        killed.group.shutdown().await;

        nodes[leader].restart(Role::Found).await;
        introduce(&nodes);
        nodes[leader].has(&want).await;
        for node in &nodes {
            node.led(|view| view.leader.is_some()).await;
        }
    }
    stop_all(&mut nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_stops_hands_over_and_one_that_returns_follows() {
    let mut nodes = three().await;
    propose(nodes[1].group(), "one").await;
    nodes[0].stop().await;
    // No election had to be waited for: somebody else led before it was gone.
    nodes[1].led(|view| view.leader.is_some_and(|leader| leader != replica(1))).await;
    propose(nodes[1].group(), "two").await;
    nodes[0].restart(Role::Join).await;
    introduce(&nodes);
    let all = nodes[1].commands();
    nodes[0].has(&all).await;
    propose(nodes[0].group(), "three").await;
    assert_eq!(nodes[0].commands().len(), 3);
    stop_all(&mut nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_nodes_may_be_killed_and_started_again() {
    let mut nodes = three().await;
    for n in 0..10 {
        propose(nodes[n % 3].group(), n.to_string()).await;
    }
    let all = nodes[0].commands();
    for node in &mut nodes {
        node.kill().await;
    }
    for node in &mut nodes {
        node.restart(Role::Found).await;
    }
    introduce(&nodes);
    let begin = Instant::now();
    propose(nodes[2].group(), "again").await;
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    assert_eq!(nodes[2].commands()[..all.len()], all);
    stop_all(&mut nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_far_behind_gets_a_snapshot() {
    let mut nodes = three().await;
    propose(nodes[0].group(), "early").await;
    nodes[2].kill().await;
    for n in 0..50 {
        propose(nodes[0].group(), format!("missed {n}")).await;
    }
    nodes[0].led(|view| view.is_local).await;
    for node in &nodes[..2] {
        let raft = &node.group().inner.raft;
        raft.trigger().snapshot().await.unwrap();
        let wait = raft.wait(Some(PATIENCE));
        wait.metrics(|m| m.purged.is_some(), "the log is purged").await.unwrap();
    }
    propose(nodes[0].group(), "late").await;
    nodes[2].restart(Role::Join).await;
    introduce(&nodes);
    let all = nodes[0].commands();
    nodes[2].has(&all).await;
    let snapshot = nodes[2].group().inner.raft.metrics().borrow_watched().snapshot;
    assert!(snapshot.is_some(), "it came as entries");
    propose(nodes[2].group(), "more").await;
    nodes[2].kill().await;
    nodes[2].restart(Role::Join).await;
    introduce(&nodes);
    nodes[2].has(&nodes[0].commands()).await;

    // A new node that begins with nothing, too.
    let (mut four, listener) = Node::new(4);
    four.start(listener, Role::Join).await;
    nodes.push(four);
    introduce(&nodes);
    nodes[0].group().change_members(replicas([1, 2, 4]), BTreeSet::new()).await.unwrap();
    nodes[3].has(&nodes[0].commands()).await;
    propose(nodes[3].group(), "the newest").await;
    stop_all(&mut nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_member_gets_no_more_and_harms_nobody() {
    let mut nodes = three().await;
    propose(nodes[0].group(), "before").await;
    nodes[2].has(&[Bytes::from("before")]).await;
    nodes[0].group().change_members(replicas([1, 2]), BTreeSet::new()).await.unwrap();
    let term = nodes[0].group().quorum().term;
    propose(nodes[1].group(), "after").await;
    // Long enough for it to campaign several times.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(nodes[0].group().quorum().term, term, "it deposed the leader");
    assert_eq!(nodes[2].commands(), ["before"]);
    assert!(nodes[0].group().is_leader());
    propose(nodes[1].group(), "later").await;

    // And back to one, which needs nobody.
    nodes[0].group().change_members(replicas([1]), BTreeSet::new()).await.unwrap();
    nodes[1].kill().await;
    nodes[2].kill().await;
    assert_eq!(propose(nodes[0].group(), "alone").await, "4");
    stop_all(&mut nodes).await;
}

/// Its directory is new, so whatever the old one promised is not known to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voter_that_lost_its_disk_does_not_answer_for_the_one_it_was() {
    let mut nodes = three().await;
    propose(nodes[0].group(), "before").await;
    nodes[2].kill().await;
    nodes[2].directory = tempfile::tempdir().unwrap();
    let (device, directory): (Arc<dyn Device>, _) =
        (Arc::new(OsDevice), nodes[2].directory.path().join(DIRECTORY));
    let me = ReplicaId { directory_id: Uuid::from_u128(77), ..replica(3) };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, nodes[2].port)).unwrap();
    let config = PeerConfig { me, cluster_id: Some("mill".to_owned()), secret: None };
    let peers = Peers::start(listener, config).await.unwrap();
    let commands = Commands::default();
    let parts =
        Parts { device, directory, replica: me, peers: Some(peers.clone()), role: Role::Join };
    let group = ReplicatedState::start_on(parts, Box::new(commands.clone())).await.unwrap();
    nodes[2].running = Some(Running { peers, group, commands });
    introduce(&nodes);
    propose(nodes[0].group(), "after").await;
    assert_eq!(nodes[2].commands(), Vec::<Bytes>::new());
    let voters = [replica(1), replica(2), me].into();
    nodes[0].group().change_members(voters, BTreeSet::new()).await.unwrap();
    nodes[2].has(&nodes[0].commands()).await;
    propose(nodes[2].group(), "with the new one").await;
    stop_all(&mut nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_without_a_majority_answers_that_the_outcome_is_not_known() {
    let mut nodes = three().await;
    propose(nodes[0].group(), "before").await;
    nodes[1].kill().await;
    nodes[2].kill().await;
    let group = nodes[0].group().clone();
    let proposal = tokio::spawn(async move { group.propose(Bytes::from_static(b"lost?")).await });
    let answer = tokio::time::timeout(PATIENCE, proposal).await.unwrap().unwrap();
    let error = answer.unwrap_err();
    assert!(matches!(error, ProposeError::Unknown(_) | ProposeError::NotLeader(_)), "{error}");
    stop_all(&mut nodes).await;
}

/// As a process that is stopped and goes on: its sockets stay open, and nothing of it runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_hangs_is_replaced_and_follows_when_it_goes_on() {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
    let (mut one, listener) = Node::new(1);
    let starting = runtime.spawn(async move {
        one.start(listener, Role::Found).await;
        one
    });
    let mut nodes = vec![starting.await.unwrap()];
    for broker in [2, 3] {
        let (mut node, listener) = Node::new(broker);
        node.start(listener, Role::Join).await;
        nodes.push(node);
    }
    let (peers, all) = (nodes[0].running().peers.clone(), addresses(&nodes));
    // The tasks that a call starts run where it is called.
    runtime.spawn(async move { peers.set_addresses(all) }).await.unwrap();
    introduce(&nodes);
    let group = nodes[0].group().clone();
    let grown = runtime
        .spawn(async move { group.change_members(replicas([1, 2, 3]), BTreeSet::new()).await });
    grown.await.unwrap().unwrap();
    propose(nodes[1].group(), "before").await;

    let (go_on, stopped) = std::sync::mpsc::channel::<()>();
    let hanging = runtime.spawn(async move { stopped.recv() });
    let begin = Instant::now();
    for attempt in 0.. {
        match nodes[1].group().propose(Bytes::from(format!("while it hangs {attempt}"))).await {
            Ok(_) => break,
            Err(error) => assert!(matches!(error, ProposeError::Unknown(_)), "{error}"),
        }
    }
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    nodes[1].led(|view| view.leader.is_some_and(|leader| leader != replica(1))).await;
    let want = nodes[1].commands();
    go_on.send(()).unwrap();
    hanging.await.unwrap().unwrap();
    nodes[0].led(|view| view.leader.is_some_and(|leader| leader != replica(1))).await;
    nodes[0].has(&want).await;
    propose(nodes[2].group(), "after").await;
    for node in &nodes {
        node.has(&nodes[2].commands()).await;
    }
    stop_all(&mut nodes).await;
    runtime.shutdown_background();
}
