//! Several nodes form one cluster, whoever starts first, and go on without some of them.

use harness::calls::topic_name;
use harness::cluster::Cluster;
use harness::codes;
use harness::deadline::{eventually, now_ms};
use harness::node::{Node, command, run_to_exit};
use harness::program::{Running, run};
use harness::target::unique_topic;
use harness::wire::Connection;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::{CreateTopicsRequest, DescribeClusterRequest, MetadataRequest};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// Times that random nodes are killed.
const ROUNDS_OF_KILLS: usize = 12;
/// The exit code for a configuration that is not accepted.
const CONFIG: i32 = 3;

fn create(connection: &mut Connection, name: &str, partitions: i32) -> i16 {
    let topic = CreatableTopic::default()
        .with_name(topic_name(name))
        .with_num_partitions(partitions)
        .with_replication_factor(1);
    let request = CreateTopicsRequest::default().with_timeout_ms(30_000).with_topics(vec![topic]);
    connection.call(7, &request).topics.remove(0).error_code
}

fn cluster_ids(cluster: &Cluster) -> BTreeSet<String> {
    let id = |at| cluster.metadata(at, None).cluster_id.expect("a cluster id").to_string();
    (0..cluster.count()).filter(|at| cluster.node(*at).runs()).map(id).collect()
}

fn assert_known_everywhere(cluster: &Cluster, topic: &str) {
    let mut ids = BTreeSet::new();
    for at in (0..cluster.count()).filter(|at| cluster.node(*at).runs()) {
        let id = eventually(&format!("node {at} knows {topic}"), || {
            let known = cluster.metadata(at, Some(topic)).topics.remove(0);
            (known.error_code == codes::NONE).then_some(known.topic_id)
        });
        ids.insert(id);
    }
    assert_eq!(ids.len(), 1, "{topic} is one topic");
}

/// Nodes that all name each other and start at once found one cluster, again and again.
#[test]
fn nodes_that_start_at_once_form_one_cluster() {
    for count in [2, 3, 5] {
        let cluster = Cluster::start(count);
        assert_eq!(cluster_ids(&cluster).len(), 1, "{count} nodes");
        let founders = (0..count).filter(|at| cluster.node(*at).log().contains("founds a cluster"));
        assert_eq!(founders.collect::<Vec<_>>(), [0], "the lowest id founds");
    }
}

/// A node that is killed while the cluster forms does not split it, whichever it is and whenever.
#[test]
fn a_crash_while_a_cluster_forms_does_not_split_it() {
    let moments = [
        (0, "founds a cluster"),
        (0, "changing who keeps the metadata"),
        (1, "joins a cluster"),
        (1, "ready in"),
    ];
    for (victim, moment) in moments {
        let mut cluster = Cluster::begin_with(3, &[]);
        cluster.node(victim).wait_for_log(moment);
        cluster.kill(victim);
        cluster.node_mut(victim).begin_again();
        cluster.wait_until_ready();
        assert_eq!(cluster_ids(&cluster).len(), 1, "node {victim} was killed at {moment:?}");
        cluster.wait_for_voters(3);
    }
}

/// Random nodes are killed, up to all of them at once; what was acknowledged is known to all in the
/// end.
#[test]
fn no_acknowledged_topic_is_lost_to_kills() {
    let seed = now_ms().unsigned_abs();
    show_seed(seed);
    let mut rng = StdRng::seed_from_u64(seed);
    let mut cluster = Cluster::start(3);
    cluster.wait_for_voters(3);
    let mut acknowledged = Vec::new();
    for _ in 0..ROUNDS_OF_KILLS {
        let through = rng.random_range(0..3);
        for _ in 0..rng.random_range(0..4) {
            let topic = unique_topic("kills");
            let code = create(&mut cluster.connect(through), &topic, 1);
            acknowledged.extend((code == codes::NONE).then_some(topic));
        }
        let killed: Vec<usize> = (0..3).filter(|_| rng.random_bool(0.5)).collect();
        killed.iter().for_each(|at| cluster.kill(*at));
        killed.iter().for_each(|at| cluster.node_mut(*at).begin_again());
        cluster.wait_until_ready();
    }
    assert_eq!(cluster_ids(&cluster).len(), 1);
    acknowledged.iter().for_each(|topic| assert_known_everywhere(&cluster, topic));
    let topic = unique_topic("kills");
    eventually("the cluster goes on", || {
        let code = create(&mut cluster.connect(rng.random_range(0..3)), &topic, 1);
        [codes::NONE, codes::TOPIC_ALREADY_EXISTS].contains(&code).then_some(())
    });
}

#[expect(clippy::print_stdout, reason = "the seed of a failed test is needed to repeat it")]
fn show_seed(seed: u64) {
    println!("seed {seed}");
}

#[test]
fn any_node_takes_changes_and_all_know_them() {
    let cluster = Cluster::start(3);
    cluster.wait_for_voters(3);
    for at in 0..3 {
        let topic = unique_topic("cluster");
        assert_eq!(create(&mut cluster.connect(at), &topic, 6), codes::NONE, "through node {at}");
        assert_known_everywhere(&cluster, &topic);
        let partitions = cluster.metadata(at, Some(&topic)).topics.remove(0).partitions;
        let leaders: BTreeSet<i32> = partitions.iter().map(|p| p.leader_id.0).collect();
        assert_eq!(leaders, BTreeSet::from([1, 2, 3]), "every node has some of six partitions");
    }
    let ids: BTreeSet<_> = (0..3).map(|at| cluster.connect(at).init_producer_id().0).collect();
    assert_eq!(ids.len(), 3, "no producer id is given twice");
}

/// A cluster founded by one node alone grows when others name it.
#[test]
fn nodes_join_a_node_that_is_there() {
    let mut cluster = Cluster::start(1);
    let topic = unique_topic("cluster");
    assert_eq!(create(&mut cluster.connect(0), &topic, 1), codes::NONE);
    cluster.add(&[]);
    cluster.add(&[]);
    cluster.wait_until_all_are_known();
    assert_eq!(cluster_ids(&cluster).len(), 1);
    assert_known_everywhere(&cluster, &topic);
    cluster.wait_for_voters(3);
}

#[test]
fn without_the_metadata_leader_the_others_go_on() {
    let mut cluster = Cluster::start(3);
    cluster.wait_for_voters(3);
    let leader = cluster.metadata_leader();
    cluster.kill(leader);
    let other = (leader + 1) % 3;
    let topic = unique_topic("cluster");
    eventually("a topic is created", || {
        let code = create(&mut cluster.connect(other), &topic, 1);
        [codes::NONE, codes::TOPIC_ALREADY_EXISTS].contains(&code).then_some(())
    });
    assert_known_everywhere(&cluster, &topic);
    cluster.wait_until_all_are_known();
    let fenced = DescribeClusterRequest::default().with_include_fenced_brokers(true);
    let brokers = cluster.connect(other).call(2, &fenced).brokers;
    let fenced = brokers.iter().filter(|broker| broker.is_fenced).map(|b| b.broker_id.0);
    assert_eq!(fenced.collect::<Vec<_>>(), [i32::try_from(leader + 1).unwrap()]);
    cluster.restart(leader);
    cluster.wait_until_all_are_known();
    assert_known_everywhere(&cluster, &topic);
}

/// Every node was stopped; they come back in another order, without being told of each other.
#[test]
fn a_stopped_cluster_starts_again_without_join() {
    let mut cluster = Cluster::start(3);
    cluster.wait_for_voters(3);
    let topic = unique_topic("cluster");
    assert_eq!(create(&mut cluster.connect(1), &topic, 3), codes::NONE);
    assert_known_everywhere(&cluster, &topic);
    let before = cluster_ids(&cluster);
    for at in 0..3 {
        if at == 1 {
            cluster.kill(at);
        } else {
            cluster.stop(at);
        }
    }
    for at in [2, 1, 0] {
        let listener = format!("--inter-node-listener={}", cluster.inter_node(at));
        cluster.node_mut(at).set_arguments(&[&listener]);
        cluster.node_mut(at).begin_again();
    }
    cluster.wait_until_ready();
    assert_eq!(cluster_ids(&cluster), before);
    assert_known_everywhere(&cluster, &topic);
}

/// A disk that was replaced: the same id with another directory takes the place of the one before.
#[test]
fn a_node_with_an_empty_disk_comes_back() {
    let mut cluster = Cluster::start(3);
    cluster.wait_for_voters(3);
    let leader = cluster.metadata_leader();
    let (lost, before) = ((leader + 1) % 3, cluster.voters());
    cluster.kill(lost);
    cluster.node_mut(lost).wipe();
    cluster.restart(lost);
    cluster.wait_until_all_are_known();
    assert_eq!(cluster_ids(&cluster).len(), 1);
    eventually("another disk votes in the lost one's place", || {
        let after = cluster.voters();
        (after.len() == 3 && after.difference(&before).count() == 1).then_some(())
    });
    // With the new voter they may lose one of those that kept their disks.
    cluster.kill((leader + 2) % 3);
    let topic = unique_topic("cluster");
    eventually("a topic is created", || {
        let code = create(&mut cluster.connect(lost), &topic, 1);
        [codes::NONE, codes::TOPIC_ALREADY_EXISTS].contains(&code).then_some(())
    });
}

#[test]
fn a_node_of_another_cluster_is_refused_with_both_ids() {
    let cluster = Cluster::start(1);
    let mut stranger = Node::start_with(&["--node-id=9"]);
    let ours = cluster_ids(&cluster).pop_first().unwrap();
    let answer = Connection::open(stranger.kafka()).call(12, &MetadataRequest::default());
    let theirs = answer.cluster_id.unwrap();
    assert!(stranger.stop().success());
    let join = format!("--join={}", cluster.inter_node(0));
    let printed = refused(&on(stranger.data()), &[&join]);
    assert_ne!(ours, theirs.to_string());
    for id in [&ours, &theirs.to_string()] {
        assert!(printed.contains(id), "{id} is missing:\n{printed}");
    }
}

fn on(data: &Path) -> Vec<String> {
    let data = data.to_str().expect("a path that is text");
    let any = "127.0.0.1:0";
    ["--data", data, "--listen", any, "--http", any, "--inter-node-listener", any]
        .map(str::to_owned)
        .into()
}

/// Runs a node that must be refused; what it printed.
fn refused(arguments: &[String], more: &[&str]) -> String {
    let mut node = command();
    node.args(arguments).args(more);
    let (status, printed) = run_to_exit(node);
    assert_eq!(status.code(), Some(CONFIG), "{printed}");
    printed
}

#[test]
fn two_clusters_cannot_be_joined_at_once() {
    let (one, two) = (Cluster::start(1), Cluster::start(1));
    let join = format!("--join={},{}", one.inter_node(0), two.inter_node(0));
    let dir = TempDir::new().unwrap();
    let printed = refused(&on(dir.path()), &["--node-id=7", &join]);
    for id in cluster_ids(&one).into_iter().chain(cluster_ids(&two)) {
        assert!(printed.contains(&id), "{id} is missing:\n{printed}");
    }
}

/// A node whose data is of a version that knew no clusters takes others in, and starts again as one of
/// several.
#[test]
fn an_old_node_becomes_the_first_of_several() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/v1");
    let variants = fs::read_dir(&fixture).unwrap().map(|entry| entry.unwrap().path());
    let variant = variants.filter(|path| path.is_dir()).min().expect("a fixture");
    let copy = TempDir::new().unwrap();
    run(Command::new("cp").arg("-r").arg(variant.join("data")).arg(copy.path()));
    let expected = fs::read_to_string(variant.join("expected.txt")).unwrap();
    let log = expected.lines().find_map(|line| line.strip_prefix("log ")?.split(' ').next());
    let topic = log.expect("a log");
    let mut old = Node::start_in(&copy.path().join("data"), &["--inter-node-listener=127.0.0.1:0"]);
    let address = inter_node(&old);
    let join = format!("--join={address}");
    let id = harness::cluster::metadata(&old, None).brokers[0].node_id.0;
    let mut others: Vec<_> = [id + 1, id + 2]
        .map(|id| format!("--node-id={id}"))
        .map(|id| Node::start_with(&[&id, "--inter-node-listener=127.0.0.1:0", &join]))
        .into();
    let knows = |node: &Node| {
        let answer = harness::cluster::metadata(node, Some(topic));
        (answer.brokers.len() == 3 && answer.topics[0].error_code == codes::NONE).then_some(())
    };
    for other in &others {
        eventually("the others know its topics", || knows(other));
    }
    old.kill();
    old.set_arguments(&[&format!("--inter-node-listener={address}")]);
    old.start_again();
    eventually("it knows the others", || knows(&old));
    others.iter_mut().for_each(|other| assert!(other.stop().success()));
}

/// Where a node that runs listens for others.
fn inter_node(node: &Node) -> SocketAddr {
    let log = node.log();
    let line = log.lines().find_map(|line| line.trim().strip_prefix("nodes"));
    line.expect("the banner names it").trim().parse().expect("an address")
}

/// Who finds nobody says for whom it waits, and how it can be told from a node that is dead.
#[test]
fn a_node_that_waits_says_for_whom() {
    let mut cluster = Cluster::begin_with(2, &[]);
    cluster.kill(1);
    let missing = cluster.inter_node(1).to_string();
    let log = cluster.node(0).wait_for_log("waiting for");
    assert!(log.contains(&missing), "{log}");
    cluster.node_mut(1).begin_again();
    cluster.wait_until_ready();
}

/// A node with another secret hears nothing, and says why; with the right one it is taken in.
#[test]
fn nodes_share_a_secret() {
    let dir = TempDir::new().unwrap();
    let secret = |name: &str, text: &str| {
        let path = dir.path().join(name);
        File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
        format!("--cluster-secret-file={}", path.display())
    };
    let (right, wrong) =
        (secret("right", "sixteen letters!\n"), secret("wrong", "sixteen Letters!"));
    let cluster = Cluster::start_with(1, &[&right]);
    let join = format!("--join={}", cluster.inter_node(0));
    let any = "--inter-node-listener=127.0.0.1:0";
    for other in [&[&*wrong][..], &[]] {
        let arguments = [&["--node-id=2", any, &join], other].concat();
        let stranger = Node::begin_with(&arguments);
        let log = stranger.wait_for_log("waiting for");
        assert!(log.contains("secret"), "{log}");
        assert!(!log.contains("etters!"), "{log}");
    }
    let friend = Node::start_with(&["--node-id=2", any, &join, &right]);
    assert!(!friend.log().contains("etters!"));
    eventually("both are known", || (cluster.metadata(0, None).brokers.len() == 2).then_some(()));
}

/// A leader that hangs loses the metadata; when it goes on, it follows.
#[test]
fn a_metadata_leader_that_hangs_is_replaced() {
    let cluster = Cluster::start(3);
    cluster.wait_for_voters(3);
    let leader = cluster.metadata_leader();
    cluster.pause(leader);
    let topic = unique_topic("cluster");
    eventually("a topic is created", || {
        let code = create(&mut cluster.connect((leader + 1) % 3), &topic, 1);
        [codes::NONE, codes::TOPIC_ALREADY_EXISTS].contains(&code).then_some(())
    });
    cluster.resume(leader);
    cluster.wait_until_all_are_known();
    assert_known_everywhere(&cluster, &topic);
}

#[test]
fn two_nodes_with_one_id_do_not_become_one() {
    let cluster = Cluster::start(1);
    let join = format!("--join={}", cluster.inter_node(0));
    let twin = Node::begin_with(&["--node-id=1", "--inter-node-listener=127.0.0.1:0", &join]);
    let log = twin.wait_for_log("--node-id");
    assert!(log.contains("id 1"), "{log}");
}

/// `millpond dev`: real processes, that end with the one that started them.
#[test]
fn dev_runs_nodes_that_can_be_killed() {
    let dir = TempDir::new().unwrap();
    let mut dev = command();
    dev.args(["dev", "-n", "3", "--data"]).arg(dir.path()).stderr(Stdio::null());
    let mut dev = Running::spawn(&mut dev);
    let stdout = dev.child().stdout.take().expect("stdout is piped");
    let lines = BufReader::new(stdout).lines().map_while(Result::ok);
    let banner: Vec<_> = lines.take_while(|line| !line.starts_with("ready in")).collect();
    let banner = banner.join("\n");
    let kafka: Vec<SocketAddr> = banner
        .lines()
        .filter_map(|line| line.split("kafka ").nth(1)?.split(' ').next()?.parse().ok())
        .collect();
    assert_eq!(kafka.len(), 3, "{banner}");
    let topic = unique_topic("dev");
    assert_eq!(create(&mut Connection::open(kafka[2]), &topic, 1), codes::NONE);
    let pid = i32::try_from(dev.child().id()).expect("process ids are small");
    kill_process(Pid::from_raw(pid).expect("not zero"), Signal::TERM).expect("it is ours");
    assert!(dev.child().wait().expect("it can be waited for").success());
    for address in kafka {
        eventually("the node has ended", || Connection::try_open(address).is_err().then_some(()));
    }
}
