//! Random histories of a group whose members behave as clients do: they revoke what they are not given
//! any more before they say so, lose answers, ask again, vanish, come back, and change their minds.
//!
//! After every event no two clients consume a partition in one epoch, and at the end everybody has
//! what is meant for it. Every history's records, read back, give the group that wrote them.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::*;

/// A consumer.
#[derive(Debug)]
struct Client {
    member_id: String,
    instance_id: Option<String>,
    subscription: (Vec<Arc<str>>, Option<Arc<str>>),
    epoch: i32,
    /// What it consumes.
    owned: Partitions,
    /// What it was last told to have; taken up after what it must not have is given up.
    told: Option<Partitions>,
    /// Whether its next heartbeat tells everything: the answer before was lost.
    tells_all: bool,
    /// Whether what it owns has changed since it last said so.
    must_report: bool,
}

impl Client {
    fn request(&self) -> HeartbeatRequest {
        let mut request = beating(&self.member_id, self.epoch);
        request.instance_id = self.instance_id.as_deref().map(Arc::from);
        if self.epoch == 0 || self.tells_all {
            request.rebalance_timeout_ms = Some(60_000);
            request.topics = Some(self.subscription.0.clone());
            request.regex = Some(self.subscription.1.clone().unwrap_or_default());
        }
        if self.epoch == 0 || self.tells_all || self.must_report {
            request.owned = Some(self.owned.clone());
        }
        request
    }

    fn take(&mut self, answer: &HeartbeatAnswer) {
        self.epoch = answer.member_epoch;
        (self.tells_all, self.must_report) = (false, false);
        if let Some(told) = assigned(answer) {
            self.told = Some(told);
        }
        self.revoke();
    }

    /// Revokes at once, takes up with the next step.
    fn revoke(&mut self) {
        let Some(told) = &self.told else { return };
        let before = self.owned.clone();
        for (topic_id, owned) in &mut self.owned {
            owned.retain(|it| told.get(topic_id).is_some_and(|told| told.contains(it)));
        }
        self.owned.retain(|_, owned| !owned.is_empty());
        self.must_report |= before != self.owned;
    }

    fn take_up(&mut self) {
        if let Some(told) = self.told.take_if(|_| !self.must_report) {
            self.must_report |= told != self.owned;
            self.owned = told;
        }
    }

    fn lose_all(&mut self) {
        (self.epoch, self.told) = (0, None);
        self.owned.clear();
    }
}

struct History {
    bed: Bed,
    random: StdRng,
    clients: Vec<Client>,
    names: u32,
}

const TOPICS: [&str; 4] = ["a1", "a2", "b1", "b2"];

impl History {
    fn new(seed: u64) -> Self {
        let mut bed = Bed::new(&[("a1", 3), ("b1", 4)]);
        let mut random = StdRng::seed_from_u64(seed);
        if random.random_bool(0.5) {
            bed.limits.assignment_interval = Duration::from_secs(1);
        }
        Self { bed, random, clients: Vec::new(), names: 0 }
    }

    fn subscription(&mut self) -> (Vec<Arc<str>>, Option<Arc<str>>) {
        let mut topics = if self.random.random_bool(0.7) { names(&TOPICS) } else { Vec::new() };
        topics.retain(|_| self.random.random_bool(0.7));
        let regex = self.random.random_bool(0.4).then(|| Arc::from("a.*"));
        (topics, regex)
    }

    fn new_client(&mut self) {
        self.names += 1;
        let subscription = self.subscription();
        let instance_id = self.random.random_bool(0.3).then(|| format!("i{}", self.names));
        self.clients.push(Client {
            member_id: format!("m{}", self.names),
            instance_id,
            subscription,
            epoch: 0,
            owned: Partitions::new(),
            told: None,
            tells_all: false,
            must_report: false,
        });
    }

    /// The request is lost, or its answer; then the client tells everything.
    fn beat_in_vain(&mut self, index: usize) {
        if self.random.random() {
            let request = self.clients[index].request();
            let _lost = self.bed.heartbeat(&request);
        }
        self.clients[index].tells_all = true;
    }

    fn beat(&mut self, index: usize) {
        let request = self.clients[index].request();
        let answer = self.bed.heartbeat(&request);
        let client = &mut self.clients[index];
        match answer {
            Ok(answer) => client.take(&answer),
            Err(GroupError::FencedEpoch | GroupError::UnknownMember) => client.lose_all(),
            // Its own earlier self has not ended yet.
            Err(GroupError::UnreleasedInstance) => {}
            Err(other) => panic!("{other:?} for {request:?}"),
        }
    }

    /// A consumer ends, orderly or not. A static one may come back as another process.
    fn end(&mut self, index: usize) {
        let client = self.clients.swap_remove(index);
        let epoch = match &client.instance_id {
            Some(_) if self.random.random() => AWAY_EPOCH,
            _ => LEAVE_EPOCH,
        };
        if self.random.random_bool(0.3) {
            return;
        }
        let request = HeartbeatRequest { member_epoch: epoch, ..client.request() };
        let _may_be_gone_already = self.bed.heartbeat(&request);
        if epoch == AWAY_EPOCH {
            self.names += 1;
            let member_id = format!("m{}", self.names);
            self.clients.push(Client { member_id, ..client });
            self.clients.last_mut().unwrap().lose_all();
        }
    }

    fn change_topics(&mut self) {
        let name = *TOPICS.choose(&mut self.random).unwrap();
        let count = self.bed.image.topics.get(name).map_or(0, |topic| topic.partitions.len());
        if count > 6 {
            delete_topic(&mut self.bed.image, name);
        } else {
            set_topic(&mut self.bed.image, name, i32::try_from(count).unwrap() + 1);
        }
    }

    fn step(&mut self) {
        let any = self.random.random_range(0..self.clients.len().max(1));
        match self.random.random_range(0..100) {
            0..6 if self.clients.len() < 7 => self.new_client(),
            6..9 if !self.clients.is_empty() => self.end(any),
            9..12 => self.change_topics(),
            12..15 if !self.clients.is_empty() => {
                self.clients[any].subscription = self.subscription();
                self.clients[any].tells_all = true;
            }
            15..18 => {
                let seconds = *[1, 5, 20, 46, 61].choose(&mut self.random).unwrap();
                self.bed.pass(Duration::from_secs(seconds));
            }
            18..35 if !self.clients.is_empty() => self.clients[any].take_up(),
            _ if !self.clients.is_empty() => {
                if self.random.random_bool(0.1) {
                    self.beat_in_vain(any);
                } else {
                    self.beat(any);
                }
            }
            _ => self.new_client(),
        }
        self.check();
    }

    /// No two clients consume a partition in one epoch. One that the group has given up may, and one
    /// that lost the answer with a new epoch, until they learn of it: what they commit is refused.
    fn check(&self) {
        let mut consumed = HashMap::new();
        for client in &self.clients {
            let member = self.bed.group.state.members.get(&*client.member_id);
            let is_fenced = member.is_none_or(|it| client.epoch != it.current.epoch);
            for partition in
                client.owned.iter().flat_map(|(id, all)| all.iter().map(|it| (*id, *it)))
            {
                if is_fenced {
                    continue;
                }
                let other = consumed.insert(partition, &client.member_id);
                assert_eq!(other, None, "{partition:?} is consumed by {} too", client.member_id);
            }
        }
    }

    /// All answer, nothing changes: everybody must get what is meant for it.
    fn converge(&mut self) {
        self.bed.pass(SESSION + REBALANCE);
        for _ in 0..12 {
            self.bed.pass(Duration::from_secs(11));
            for index in 0..self.clients.len() {
                for _ in 0..2 {
                    self.beat(index);
                    self.clients[index].take_up();
                }
                self.check();
            }
        }
        let state = &self.bed.group.state;
        assert_eq!(state.members.len(), self.clients.len());
        if !self.clients.is_empty() {
            assert_eq!(self.bed.group.phase(), ConsumerPhase::Stable);
        }
        let mut all = BTreeSet::new();
        for client in &self.clients {
            assert_eq!(client.owned, *state.target_of(&client.member_id), "{client:?}");
            all.extend(client.owned.iter().flat_map(|(id, all)| all.iter().map(|it| (*id, *it))));
        }
        let topics = state.topics().filter_map(|name| self.bed.image.topics.get(&**name));
        let expected: usize = topics.map(|topic| topic.partitions.len()).sum();
        assert_eq!(all.len(), expected, "nothing is left over");
    }

    fn replay(&self) {
        let mut read = State::default();
        for record in &self.bed.records {
            let value = record.encode_value();
            let bytes = GroupRecord::decode(&record.encode_key(), value.as_deref());
            read.apply(&bytes.unwrap().unwrap());
        }
        read.settle();
        assert_eq!(read, self.bed.group.state);
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "the seed of a failure is needed to repeat it")]
fn no_partition_has_two_owners_and_every_member_converges() {
    let first = rand::rng().random_range(0..u64::MAX / 2);
    for seed in first..first + 150 {
        println!("seed {seed}");
        let mut history = History::new(seed);
        for _ in 0..300 {
            history.step();
        }
        history.replay();
        history.converge();
        history.replay();
    }
}
