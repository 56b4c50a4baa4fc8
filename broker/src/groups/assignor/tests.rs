//! Each assignor by its rules, on small groups and on random ones.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

struct TestMember {
    member_id: String,
    instance_id: Option<String>,
    topics: BTreeSet<Uuid>,
    before: Partitions,
}

fn topic(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn member(member_id: &str, topics: &[u128]) -> TestMember {
    TestMember {
        member_id: member_id.to_owned(),
        instance_id: None,
        topics: topics.iter().map(|it| topic(*it)).collect(),
        before: Partitions::new(),
    }
}

fn counts(counts: &[(u128, i32)]) -> PartitionCounts {
    counts.iter().map(|(number, count)| (topic(*number), *count)).collect()
}

/// Assigns, checks what every assignor must keep to, and notes what each member has now.
fn assign(assignor: Assignor, members: &mut [TestMember], counts: &PartitionCounts) -> usize {
    let subscribers: Vec<_> = members
        .iter()
        .map(|member| Subscriber {
            member_id: &member.member_id,
            instance_id: member.instance_id.as_deref(),
            topics: &member.topics,
            before: &member.before,
        })
        .collect();
    let shares = assignor.assign(&subscribers, counts);
    let mut given = BTreeSet::new();
    for (member, share) in members.iter().zip(&shares) {
        for (topic_id, partitions) in share {
            assert!(member.topics.contains(topic_id) && !partitions.is_empty());
            for partition in partitions {
                assert!((0..counts[topic_id]).contains(partition));
                assert!(given.insert((*topic_id, *partition)), "two owners");
            }
        }
    }
    let wanted: BTreeSet<Uuid> = members.iter().flat_map(|it| it.topics.clone()).collect();
    let all: i32 = wanted.iter().map(|topic_id| counts[topic_id]).sum();
    assert_eq!(given.len(), usize::try_from(all).unwrap(), "somebody has each");
    let mut moved = 0;
    for (member, share) in members.iter_mut().zip(shares) {
        for (topic_id, partitions) in &share {
            let before = member.before.get(topic_id);
            moved +=
                partitions.iter().filter(|it| !before.is_some_and(|b| b.contains(*it))).count();
        }
        member.before = share;
    }
    moved
}

fn sizes(members: &[TestMember]) -> Vec<usize> {
    let size = |member: &TestMember| member.before.values().map(BTreeSet::len).sum();
    members.iter().map(size).collect()
}

fn of(member: &TestMember, number: u128) -> Vec<i32> {
    member.before.get(&topic(number)).into_iter().flatten().copied().collect()
}

#[test]
fn ranges_are_the_same_of_each_topic() {
    let mut members = [member("a", &[1, 2]), member("b", &[1, 2]), member("c", &[1, 2])];
    assign(Assignor::Range, &mut members, &counts(&[(1, 8), (2, 8)]));
    for number in [1, 2] {
        assert_eq!(of(&members[0], number), [0, 1, 2]);
        assert_eq!(of(&members[1], number), [3, 4, 5]);
        assert_eq!(of(&members[2], number), [6, 7]);
    }
}

#[test]
fn ranges_leave_out_who_does_not_subscribe_or_comes_too_late() {
    let mut members = [member("a", &[1]), member("b", &[1, 2]), member("c", &[2])];
    assign(Assignor::Range, &mut members, &counts(&[(1, 3), (2, 1)]));
    assert_eq!((of(&members[0], 1), of(&members[0], 2)), (vec![0, 1], vec![]));
    assert_eq!((of(&members[1], 1), of(&members[1], 2)), (vec![2], vec![0]));
    assert_eq!(sizes(&members), [2, 2, 0]);
}

#[test]
fn a_static_member_finds_its_range_under_another_id() {
    let static_member = |member_id: &str, instance_id: &str| TestMember {
        instance_id: Some(instance_id.to_owned()),
        ..member(member_id, &[1])
    };
    let mut members = [member("0", &[1]), static_member("z", "i1"), static_member("y", "i2")];
    assign(Assignor::Range, &mut members, &counts(&[(1, 3)]));
    let ranges = members.each_ref().map(|it| of(it, 1));
    assert_eq!(ranges, [vec![2], vec![0], vec![1]], "static ids come first");
    members[1] = static_member("a", "i1");
    members[2] = static_member("b", "i2");
    assign(Assignor::Range, &mut members, &counts(&[(1, 3)]));
    assert_eq!(members.each_ref().map(|it| of(it, 1)), ranges);
}

#[test]
fn uniform_spreads_evenly_over_topics() {
    let mut members = [member("a", &[1, 2]), member("b", &[1, 2]), member("c", &[1, 2])];
    assign(Assignor::Uniform, &mut members, &counts(&[(1, 4), (2, 1)]));
    assert_eq!(sizes(&members), [2, 2, 1]);
}

#[test]
fn uniform_moves_no_more_than_a_newcomer_needs() {
    let counts = counts(&[(1, 6)]);
    let mut members = vec![member("b", &[1]), member("c", &[1])];
    assign(Assignor::Uniform, &mut members, &counts);
    members.insert(0, member("a", &[1]));
    assert_eq!(assign(Assignor::Uniform, &mut members, &counts), 2);
    assert_eq!(sizes(&members), [2, 2, 2]);
    members.remove(1);
    assert_eq!(assign(Assignor::Uniform, &mut members, &counts), 2, "only what was free moves");
    assert_eq!(assign(Assignor::Uniform, &mut members, &counts), 0);
}

#[test]
fn uniform_leaves_the_odd_partition_where_it_is() {
    let counts = counts(&[(1, 3)]);
    let mut members = vec![member("a", &[1]), member("b", &[1])];
    members[1].before = BTreeMap::from([(topic(1), BTreeSet::from([0, 1]))]);
    members[0].before = BTreeMap::from([(topic(1), BTreeSet::from([2]))]);
    assert_eq!(assign(Assignor::Uniform, &mut members, &counts), 0);
    assert_eq!(sizes(&members), [1, 2]);
}

#[test]
fn uniform_gives_up_topics_and_partitions_that_are_no_more() {
    let mut members = [member("a", &[1])];
    members[0].before =
        BTreeMap::from([(topic(1), BTreeSet::from([0, 7])), (topic(9), BTreeSet::from([0]))]);
    assign(Assignor::Uniform, &mut members, &counts(&[(1, 2)]));
    assert_eq!(of(&members[0], 1), [0, 1]);
    assert_eq!(members[0].before.len(), 1);
}

#[test]
fn uniform_evens_out_different_subscriptions() {
    let mut members = [member("a", &[1, 2]), member("b", &[2, 3]), member("c", &[3])];
    assign(Assignor::Uniform, &mut members, &counts(&[(1, 2), (2, 6), (3, 4)]));
    assert_eq!(sizes(&members), [4, 4, 4]);
    assert_eq!(of(&members[0], 1), [0, 1]);
}

#[test]
fn nobody_gets_nothing() {
    for assignor in Assignor::ALL {
        assert_eq!(assign(assignor, &mut [], &counts(&[(1, 3)])), 0);
        let mut members = [member("a", &[])];
        assign(assignor, &mut members, &counts(&[]));
        assert_eq!(sizes(&members), [0]);
        assert_eq!(Assignor::from_name(assignor.name()), Some(assignor));
    }
    assert_eq!(Assignor::from_name("sticky"), None);
}

#[test]
#[expect(clippy::print_stdout, reason = "the seed of a failure is needed to repeat it")]
fn random_groups_stay_whole_even_and_sticky() {
    let seed = rand::rng().random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    for _ in 0..200 {
        let topics = random.random_range(1..6_u128);
        let counts: PartitionCounts =
            (0..topics).map(|it| (topic(it), random.random_range(1..12))).collect();
        let is_even = random.random_bool(0.5);
        let mut subscription = || {
            let wanted = (0..topics).filter(|_| is_even || random.random_bool(0.6));
            wanted.collect::<Vec<_>>()
        };
        let count = 8;
        let mut members: Vec<_> =
            (0..count).map(|it| member(&format!("m{it}"), &subscription())).collect();
        for _ in 0..4 {
            assign(Assignor::Uniform, &mut members, &counts);
            let sizes = sizes(&members);
            if is_even {
                let spread = sizes.iter().max().unwrap() - sizes.iter().min().unwrap();
                assert!(spread <= 1, "{sizes:?}");
            }
            assert_eq!(assign(Assignor::Uniform, &mut members, &counts), 0, "{sizes:?}");
            members.remove(0);
        }
        assign(Assignor::Range, &mut members, &counts);
    }
}
