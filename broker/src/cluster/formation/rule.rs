//! Who founds a cluster, and who joins one: what follows from the answers of the addresses that a
//! node was told to join. Pure.
//!
//! * If one of them belongs to a cluster, the node joins it. Two clusters are an error.
//! * If none does, and all of them and this node are there and name each other (each has heard all
//!   the others, on the same disks, and nobody else), the one with the lowest id founds a cluster.
//! * Otherwise the node waits, and says for whom.
//!
//! No two nodes of one set found: both would have to be the lowest of it. A node that starts anew
//! with an empty directory is another node: what others heard of the one before counts no more.

use std::collections::{BTreeMap, BTreeSet};

use raft::types::ReplicaId;

use crate::config::HostPort;

/// What came of asking one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Heard {
    /// No answer, and why.
    Nothing(String),
    /// A node that belongs to no cluster, with all that it heard at its own addresses, itself
    /// included, if all of them answered.
    Waiting {
        /// Who it is.
        replica: ReplicaId,
        /// Whom it heard; `None` as long as one of its addresses does not answer.
        names: Option<BTreeSet<ReplicaId>>,
    },
    /// A node that is about to join a cluster or to found it, and cannot take others in yet.
    Bound {
        /// Who it is.
        replica: ReplicaId,
        /// Which cluster.
        cluster_id: String,
    },
    /// A member.
    Member {
        /// Who it is.
        replica: ReplicaId,
        /// Of which cluster.
        cluster_id: String,
    },
}

/// What a node does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It joins this cluster.
    Join(String),
    /// It founds a cluster.
    Found,
    /// It asks again later; a sentence says what for.
    Wait(String),
    /// The addresses belong to two clusters: an address of each, with its cluster.
    TwoClusters([(HostPort, String); 2]),
}

/// Everybody whom `answers` come from, and `me`, if all answered and none belongs to a cluster.
pub(super) fn names(me: ReplicaId, answers: &[(HostPort, Heard)]) -> Option<BTreeSet<ReplicaId>> {
    let mut names = BTreeSet::from([me]);
    for (_, heard) in answers {
        let Heard::Waiting { replica, .. } = heard else { return None };
        names.insert(*replica);
    }
    Some(names)
}

/// Decides for `me`, which was told to join the addresses of `answers`.
pub(super) fn judge(me: ReplicaId, answers: &[(HostPort, Heard)]) -> Verdict {
    let mut clusters: BTreeMap<&str, (&HostPort, bool)> = BTreeMap::new();
    for (address, heard) in answers {
        let (cluster_id, is_member) = match heard {
            Heard::Member { cluster_id, .. } => (cluster_id, true),
            Heard::Bound { cluster_id, .. } => (cluster_id, false),
            Heard::Nothing(_) | Heard::Waiting { .. } => continue,
        };
        let known = clusters.entry(cluster_id).or_insert((address, false));
        known.1 |= is_member;
    }
    let mut clusters = clusters.into_iter();
    match (clusters.next(), clusters.next()) {
        (Some(one), Some(other)) => {
            let named =
                |(id, (address, _)): (&str, (&HostPort, bool))| (address.clone(), id.to_owned());
            Verdict::TwoClusters([named(one), named(other)])
        }
        (Some((id, (_, true))), None) => Verdict::Join(id.to_owned()),
        (Some((id, (address, false))), None) => {
            Verdict::Wait(format!("for {address}, which is about to belong to cluster {id}"))
        }
        (None, _) => judge_waiting(me, answers),
    }
}

/// The same where nobody belongs to a cluster.
fn judge_waiting(me: ReplicaId, answers: &[(HostPort, Heard)]) -> Verdict {
    let silent = answers.iter().filter_map(|(address, heard)| match heard {
        Heard::Nothing(why) => Some(format!("{address} ({why})")),
        _ => None,
    });
    let silent: Vec<_> = silent.collect();
    let Some(all) = names(me, answers) else {
        return Verdict::Wait(format!("for {}", silent.join(", ")));
    };
    let mut ids = BTreeSet::new();
    if let Some(twice) = all.iter().find(|replica| !ids.insert(replica.broker_id)) {
        let id = twice.broker_id;
        let sentence = format!("until only one node has the id {id}: give each its own --node-id");
        return Verdict::Wait(sentence);
    }
    for (address, heard) in answers {
        let Heard::Waiting { replica, names } = heard else { continue };
        if *replica != me && names.as_ref() != Some(&all) {
            let id = replica.broker_id;
            let sentence =
                format!("for node {id} at {address}, until it hears all whom this hears");
            return Verdict::Wait(sentence);
        }
    }
    match all.first() {
        Some(lowest) if *lowest != me => {
            Verdict::Wait(format!("for node {}, which founds the cluster", lowest.broker_id))
        }
        _ => Verdict::Found,
    }
}

#[cfg(test)]
mod tests {
    use protocol::types::BrokerId;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};
    use uuid::Uuid;

    use super::*;

    fn node(id: i32, disk: u128) -> ReplicaId {
        ReplicaId { broker_id: BrokerId::new(id), directory_id: Uuid::from_u128(disk) }
    }

    fn at(port: u16) -> HostPort {
        HostPort { host: "h".to_owned(), port }
    }

    fn waiting(replica: ReplicaId, names: &[ReplicaId]) -> Heard {
        let names = Some(names.iter().copied().collect()).filter(|_| !names.is_empty());
        Heard::Waiting { replica, names }
    }

    fn member(id: i32, cluster_id: &str) -> Heard {
        Heard::Member { replica: node(id, 9), cluster_id: cluster_id.to_owned() }
    }

    #[test]
    fn the_lowest_of_those_who_name_each_other_founds() {
        let all = [node(1, 5), node(2, 4), node(3, 6)];
        let answers: Vec<_> =
            (1..).map(at).zip(all.iter().map(|replica| waiting(*replica, &all))).collect();
        assert_eq!(judge(all[0], &answers), Verdict::Found);
        // Its own address need not be among them.
        assert_eq!(judge(all[0], &answers[1..]), Verdict::Found);
        for other in &all[1..] {
            assert!(
                matches!(judge(*other, &answers), Verdict::Wait(why) if why.contains("node 1"))
            );
        }
    }

    #[test]
    fn who_misses_somebody_waits_and_says_for_whom() {
        let (a, b, c) = (node(1, 1), node(2, 2), node(3, 3));
        let silent = Heard::Nothing("refused".to_owned());
        let verdict = judge(a, &[(at(2), waiting(b, &[a, b])), (at(3), silent)]);
        assert_eq!(verdict, Verdict::Wait("for h:3 (refused)".to_owned()));
        // One that names others, fewer, or an earlier life of this node.
        for names in [&[a, b, c][..], &[b][..], &[][..], &[node(1, 7), b][..]] {
            let verdict = judge(a, &[(at(2), waiting(b, names))]);
            assert!(
                matches!(&verdict, Verdict::Wait(why) if why.contains("node 2")),
                "{verdict:?}"
            );
        }
        let twin = node(1, 8);
        let verdict = judge(a, &[(at(2), waiting(twin, &[a, twin]))]);
        assert!(matches!(&verdict, Verdict::Wait(why) if why.contains("--node-id")), "{verdict:?}");
    }

    #[test]
    fn a_cluster_is_joined_and_two_are_refused() {
        let me = node(1, 1);
        let silent = Heard::Nothing(String::new());
        let bound = Heard::Bound { replica: node(2, 2), cluster_id: "x".to_owned() };
        let answers = [(at(1), silent), (at(2), member(3, "x")), (at(3), bound.clone())];
        assert_eq!(judge(me, &answers), Verdict::Join("x".to_owned()));
        assert!(matches!(judge(me, &[(at(3), bound)]), Verdict::Wait(_)));
        let verdict = judge(me, &[(at(1), member(3, "y")), (at(2), member(4, "x"))]);
        let both = [(at(2), "x".to_owned()), (at(1), "y".to_owned())];
        assert_eq!(verdict, Verdict::TwoClusters(both));
    }

    /// Nodes that name random others ask in random order, crash and come back empty: at no time have
    /// two nodes that name each other founded.
    #[test]
    fn no_two_nodes_of_one_set_found() {
        for seed in 0..500 {
            let mut rng = StdRng::seed_from_u64(seed);
            let count = rng.random_range(2..6_usize);
            let everybody = rng.random_bool(0.7);
            let told: Vec<Vec<usize>> = (0..count)
                .map(|_| (0..count).filter(|_| everybody || rng.random_bool(0.7)).collect())
                .collect();
            let mut disks = 100;
            let mut nodes: Vec<ReplicaId> =
                (0..count).map(|at| node(i32::try_from(at).unwrap(), at as u128)).collect();
            let mut heard: Vec<Option<BTreeSet<ReplicaId>>> = vec![None; count];
            let mut founder = None;
            for _ in 0..200 {
                let asks = rng.random_range(0..count);
                if founder.is_none() && rng.random_bool(0.1) {
                    disks += 1;
                    nodes[asks].directory_id = Uuid::from_u128(disks);
                    heard[asks] = None;
                }
                let answers: Vec<_> = told[asks]
                    .iter()
                    .map(|other| {
                        let names = heard[*other].clone();
                        (at(1), Heard::Waiting { replica: nodes[*other], names })
                    })
                    .collect();
                heard[asks] = names(nodes[asks], &answers);
                if judge(nodes[asks], &answers) == Verdict::Found {
                    let first = *founder.get_or_insert(asks);
                    let named = told[first].contains(&asks) || told[asks].contains(&first);
                    assert!(first == asks || !named, "seed {seed}: {first} and {asks} found");
                }
            }
            let complete = founder.is_some() || !everybody;
            assert!(complete, "seed {seed}: nobody founds although all name each other");
        }
    }
}
