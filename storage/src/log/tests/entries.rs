//! A replicated log against a model that is a list of entries, under random operations and restarts.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::leader_epochs::LeaderEpochs;
use crate::log::entries::{EntryBatch, EntryId, EvictionState, StageOutcome};
use crate::producer_state::{ProducerState, Producers};

/// Seeds of a usual run, the first of them random; `MILLPOND_SEEDS` asks for another number, and
/// `MILLPOND_SEED` names the first.
const SEEDS: u64 = 15;
const STEPS: u32 = 120;
/// Idempotent producers of the model.
const PRODUCERS: i64 = 3;

pub(super) const fn index(index: u64) -> LogIndex {
    LogIndex::new(index)
}

/// The entries of all time: those that were purged too.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) entries: Vec<EntryBatch>,
    /// How many of them the log was told to purge.
    pub(super) first: usize,
    /// Of the present leader.
    pub(super) epoch: i32,
    staged: Vec<EntryBatch>,
    number: i64,
}

/// The index as it is in a list.
pub(super) fn place(index: LogIndex) -> usize {
    usize::try_from(index.get()).unwrap()
}

pub(super) fn end_offset(entries: &[EntryBatch]) -> Offset {
    entries.last().map_or(Offset::ZERO, |last| last.header.next_offset())
}

/// What is known of producers, but for the time.
pub(super) fn known(producers: &Producers) -> Vec<(ProducerId, ProducerState)> {
    let undated = |(id, state): (&ProducerId, &ProducerState)| {
        (*id, ProducerState { last_seen: Timestamp::NONE, ..state.clone() })
    };
    let mut known: Vec<_> = producers.iter().map(undated).collect();
    known.sort_by_key(|(id, _)| *id);
    known
}

pub(super) fn epochs_of(entries: &[EntryBatch]) -> LeaderEpochs {
    let mut epochs = LeaderEpochs::default();
    for EntryBatch { header, .. } in entries {
        epochs.begin(header.leader_epoch, header.base_offset);
    }
    epochs
}

pub(super) fn producers_of(entries: &[EntryBatch]) -> Vec<(ProducerId, ProducerState)> {
    let mut producers = Producers::default();
    entries.iter().for_each(|entry| producers.note(&entry.header, Timestamp::NONE));
    known(&producers)
}

impl Model {
    fn end(&self) -> LogIndex {
        index(self.entries.len() as u64)
    }

    fn id(&self, at: usize) -> EntryId {
        EntryId { index: index(at as u64), leader_epoch: self.entries[at].header.leader_epoch }
    }

    /// A batch that continues what its producer sent last, if it has one.
    fn next_batch(&mut self, rng: &mut StdRng) -> AppendBatch {
        self.number += 1;
        let size = if rng.random_bool(0.1) { 9_000 } else { rng.random_range(8..300) };
        let AppendBatch { mut header, body } = batch(self.number, rng.random_range(1..4), size);
        let mut body = body.to_vec();
        body[..8].copy_from_slice(&self.number.to_be_bytes());
        if rng.random_bool(0.6) {
            header.producer_id = ProducerId::new(rng.random_range(1..=PRODUCERS));
            let mut sent = self.entries.iter().chain(&self.staged);
            let last = sent.rfind(|sent| sent.header.producer_id == header.producer_id);
            let (epoch, next) = last.map_or((0, 0), |last| {
                let header = &last.header;
                (header.producer_epoch.get(), header.last_sequence().get() + 1)
            });
            let is_new = rng.random_bool(0.05);
            header.producer_epoch = ProducerEpoch::new(epoch + i16::from(is_new));
            header.base_sequence = Sequence::new(if is_new { 0 } else { next });
        }
        AppendBatch { header: header.sealed(&body), body: body.into() }
    }

    /// What another leader, or this one itself, would append next.
    pub(super) fn next_entry(&mut self, rng: &mut StdRng) -> EntryBatch {
        self.epoch += i32::from(rng.random_bool(0.05));
        let leader_epoch = LeaderEpoch::new(self.epoch);
        let base_offset = end_offset(&self.entries);
        if rng.random_bool(0.2) {
            let payload = Bytes::from(vec![7; rng.random_range(0..60)]);
            return EntryBatch::raft_only(base_offset, leader_epoch, payload);
        }
        let AppendBatch { mut header, body } = self.next_batch(rng);
        (header.base_offset, header.leader_epoch) = (base_offset, leader_epoch);
        EntryBatch { header, body }
    }

    fn follow(&mut self, log: &Log, rng: &mut StdRng) {
        // A follower gives up what it staged when it led.
        self.staged.clear();
        let mut entries = Vec::new();
        for _ in 0..rng.random_range(1..6) {
            let entry = self.next_entry(rng);
            entries.push(entry.clone());
            self.entries.push(entry);
        }
        log.unstage();
        log.append_entries(entries, false, NOW).unwrap();
    }

    fn lead(&mut self, log: &Log, rng: &mut StdRng) {
        for _ in 0..rng.random_range(1..6) {
            let batch = self.next_batch(rng);
            let (sent, epoch) = (batch.header, LeaderEpoch::new(self.epoch));
            let StageOutcome::Staged(staged) = log.stage(batch.clone(), epoch, NOW).unwrap() else {
                panic!("{sent:?} is no retry");
            };
            let all = [&self.entries[..], &self.staged].concat();
            assert_eq!(staged.appended.base_offset, end_offset(&all));
            self.staged.push(staged.batch);
            if sent.producer_id != ProducerId::NONE && rng.random_bool(0.3) {
                let again = log.stage(batch, epoch, NOW).unwrap();
                assert!(matches!(again, StageOutcome::Duplicate(a) if a.duplicate), "{again:?}");
            }
        }
        // Some are taken now, and perhaps an entry of the protocol's own in between.
        let count = rng.random_range(0..=self.staged.len());
        let mut taken: Vec<_> = self.staged.drain(..count).collect();
        if rng.random_bool(0.3) {
            let at = rng.random_range(0..=taken.len());
            let before = [&self.entries[..], &taken[..at]].concat();
            let epoch = LeaderEpoch::new(self.epoch);
            taken.insert(at, EntryBatch::raft_only(end_offset(&before), epoch, Bytes::new()));
        }
        self.entries.extend(taken.iter().cloned());
        log.append_entries(taken, true, NOW).unwrap();
        if rng.random_bool(0.3) {
            log.unstage();
            self.staged.clear();
        }
    }

    fn read(&self, log: &Log, rng: &mut StdRng) {
        let from = rng.random_range(self.first..=self.entries.len());
        let end = rng.random_range(from..=self.entries.len());
        let bytes_max = rng.random_range(1..20_000);
        let (first, last) = (index(from as u64), index(end as u64));
        let in_memory = log.read_entries(first, last, bytes_max).unwrap();
        let read =
            in_memory.unwrap_or_else(|| log.read_entries_blocking(first, last, bytes_max).unwrap());
        assert_eq!(read.is_empty(), from == end);
        assert_eq!(read, self.entries[from..from + read.len()]);
        let bytes: usize = read.iter().map(EntryBatch::bytes).sum();
        assert!(read.len() <= 1 || bytes <= bytes_max);
        let headers = log.entry_headers(first, last).unwrap();
        assert_eq!(headers.len(), end - from);
        for (found, expected) in headers.iter().zip(&self.entries[from..]) {
            let has_body = expected.header.is_raft_only();
            let body = if has_body { expected.body.clone() } else { Bytes::new() };
            assert_eq!((found.header, &found.body), (expected.header, &body));
        }
        if from < end {
            assert_eq!(log.epoch_of(first).unwrap(), self.id(from).leader_epoch);
            let next_offset = self.entries[from].header.next_offset();
            assert_eq!(log.offset_after(first).unwrap(), next_offset);
        }
    }

    fn check(&self, log: &Log) {
        let bounds = log.entry_bounds();
        assert_eq!(bounds.end, self.end());
        assert!(place(bounds.first()) <= self.first);
        assert_eq!(bounds.last, self.entries.len().checked_sub(1).map(|last| self.id(last)));
        assert_eq!(bounds.purged, place(bounds.first()).checked_sub(1).map(|last| self.id(last)));
        let pointers = log.pointers();
        assert_eq!(pointers.log_end_offset, end_offset(&self.entries));
        let mut at = bounds.first();
        while at < bounds.end {
            let read = log.read_entries_blocking(at, bounds.end, 5_000).unwrap();
            let next = place(at) + read.len();
            assert_eq!(read, self.entries[place(at)..next], "from entry {at}");
            at = index(next as u64);
        }
        // What consumers see is the same but for entries without an offset.
        let kept = &self.entries[place(bounds.first())..];
        let data = kept.iter().filter(|entry| !entry.header.is_raft_only());
        let data = data
            .map(|entry| entry.header)
            .filter(|header| header.next_offset() > pointers.log_start_offset);
        let expected: Vec<_> = data.map(|header| header.base_offset.get()).collect();
        let first = expected.first().copied().unwrap_or_else(|| pointers.log_end_offset.get());
        assert_eq!(read_all(log, first), expected);
        let mut state = log.state.lock();
        assert_eq!(
            known(&state.producers),
            producers_of(&[&self.entries[..], &self.staged].concat())
        );
        let at_end = state.with_producers_at(pointers.log_end_offset, known);
        assert_eq!(at_end, producers_of(&self.entries));
        assert_eq!(
            known(&state.producers),
            producers_of(&[&self.entries[..], &self.staged].concat())
        );
        if bounds.purged.is_none() {
            assert_eq!(state.leader_epochs, epochs_of(&self.entries));
        }
        let newest = state.leader_epochs.latest();
        assert_eq!(newest, self.entries.last().map(|last| last.header.leader_epoch));
    }

    fn truncate(&mut self, log: &Log, rng: &mut StdRng) {
        let end = rng.random_range(self.first..=self.entries.len());
        log.truncate_entries(index(end as u64)).unwrap();
        self.entries.truncate(end);
        self.staged.clear();
        // The next leader may have a newer or an older epoch than what was cut off.
        self.epoch = self.entries.last().map_or(0, |last| last.header.leader_epoch.get());
        self.epoch += rng.random_range(0..4);
    }

    fn evict(&mut self, log: &Log, config: &LogConfig, rng: &mut StdRng) {
        let upto = rng.random_range(0..=self.entries.len());
        let Some(upto) = upto.checked_sub(1) else { return };
        let retention_bytes = Some(rng.random_range(0..20_000));
        log.set_config(LogConfig { retention_bytes, ..config.clone() });
        let point = log.eviction_point(index(upto as u64), NOW).unwrap();
        log.set_config(config.clone());
        let Some(point) = point else { return };
        assert!(point.index <= index(upto as u64));
        assert_eq!(point, self.id(place(point.index)));
        let state = log.eviction_state(point.index).unwrap();
        self.check_state(&state, place(point.index));
        log.purge_entries(point.index).unwrap();
        assert_eq!(log.entry_bounds().purged, Some(point));
        self.first = place(point.index) + 1;
        if rng.random_bool(0.8) {
            log.apply_retention(NOW).unwrap();
        }
        assert_eq!(log.eviction_state(point.index).unwrap(), state);
    }

    fn check_state(&self, state: &EvictionState, at: usize) {
        assert_eq!(state.at, self.id(at));
        assert_eq!(state.next_offset, self.entries[at].header.next_offset());
        assert_eq!(known(state.producers()), producers_of(&self.entries[..=at]));
        assert_eq!(EvictionState::decode(&state.encode()).as_ref(), Some(state));
    }

    /// Takes a snapshot from a leader in the place of entries.
    fn reset(&mut self, log: &Log, rng: &mut StdRng) {
        let written = place(log.state.lock().entries().written_end);
        if self.first >= written {
            return;
        }
        let at = rng.random_range(self.first..written);
        let state = log.eviction_state(index(at as u64)).unwrap();
        self.check_state(&state, at);
        log.reset_entries(&state).unwrap();
        self.entries.truncate(at + 1);
        self.first = at + 1;
        self.staged.clear();
        self.epoch = self.entries[at].header.leader_epoch.get();
    }
}

pub(super) fn wait_until_finished(log: &Log, told: &Receiver<Result<Offset, LogFailure>>) {
    while log.entry_bounds().finished_end < log.entry_bounds().end {
        let finished = told.recv_timeout(Duration::from_secs(30)).expect("the flusher tells");
        finished.expect("the log does not fail");
    }
}

fn random_config(rng: &mut StdRng) -> LogConfig {
    LogConfig {
        segment_bytes_max: rng.random_range(10_000..30_000),
        index_interval_bytes: rng.random_range(64..2_000),
        retention: None,
        file_delete_delay: Duration::ZERO,
        ..LogConfig::default()
    }
}

fn run(seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let root = tempfile::tempdir().unwrap();
    let device = || Arc::new(OsDevice) as Arc<dyn Device>;
    let mut room = Room::at(device(), root.path(), rng.random_range(1..60_000));
    let mut config = random_config(&mut rng);
    let mut log =
        room.open_kind(LogKind::Replicated, config.clone(), None, StopKind::Clean).unwrap();
    let mut told = listen(&log);
    let mut model = Model::default();
    let mut checkpoint = None;
    for _ in 0..STEPS {
        match rng.random_range(0..24) {
            0..6 => model.follow(&log, &mut rng),
            6..12 => model.lead(&log, &mut rng),
            12..16 => model.read(&log, &mut rng),
            16 => wait_until_finished(&log, &told),
            17 => model.truncate(&log, &mut rng),
            18..20 => model.evict(&log, &config, &mut rng),
            20 if rng.random_bool(0.3) => model.reset(&log, &mut rng),
            20 => model.check(&log),
            21 => {
                log.snapshot_producers_now();
                checkpoint = Some(log.checkpoint());
            }
            22 => {
                let is_clean = rng.random();
                let stop = if is_clean {
                    checkpoint = Some(log.close().unwrap());
                    StopKind::Clean
                } else {
                    // What is not finished may be lost then.
                    wait_until_finished(&log, &told);
                    log.unstage();
                    if rng.random() { StopKind::Killed } else { StopKind::PowerLost }
                };
                model.staged.clear();
                drop((log, room));
                room = Room::at(device(), root.path(), rng.random_range(1..60_000));
                config = random_config(&mut rng);
                let kind = LogKind::Replicated;
                log = room.open_kind(kind, config.clone(), checkpoint, stop).unwrap();
                told = listen(&log);
                model.check(&log);
            }
            _ => model.check(&log),
        }
    }
    model.check(&log);
    log.close().unwrap();
}

#[expect(clippy::print_stdout, reason = "a failed test tells its seed")]
pub(super) fn with_seeds(count: u64, run: impl Fn(u64)) {
    let from_environment = |name| std::env::var(name).ok().and_then(|number| number.parse().ok());
    let first =
        from_environment("MILLPOND_SEED").unwrap_or_else(|| u64::from(rand::random::<u32>()));
    for seed in first..first + from_environment("MILLPOND_SEEDS").unwrap_or(count) {
        println!("MILLPOND_SEED={seed}");
        run(seed);
    }
}

#[test]
fn a_replicated_log_is_a_list_of_entries_whatever_is_done_to_it() {
    with_seeds(SEEDS, run);
}

fn open_replicated(room: &Room) -> Arc<Log> {
    let config = LogConfig::default();
    room.open_kind(LogKind::Replicated, config, None, StopKind::Clean).unwrap()
}

pub(super) fn entry(number: i64, base_offset: i64, epoch: i32) -> EntryBatch {
    let AppendBatch { mut header, body } = batch(number, 1, 39);
    header.base_offset = Offset::new(base_offset);
    header.leader_epoch = LeaderEpoch::new(epoch);
    EntryBatch { header, body }
}

#[test]
fn what_does_not_continue_the_log_is_refused_as_a_whole() {
    let room = Room::new();
    let log = open_replicated(&room);
    log.append_entries(vec![entry(1, 0, 3)], false, NOW).unwrap();
    let raft_only = |offset| {
        EntryBatch::raft_only(Offset::new(offset), LeaderEpoch::new(3), Bytes::from_static(b"x"))
    };
    for refused in [
        vec![entry(2, 2, 3)],
        vec![entry(2, 1, 2)],
        vec![raft_only(0)],
        vec![entry(2, 1, 3), raft_only(2), entry(3, 3, 3)],
        vec![entry(2, 1, 4), entry(3, 2, 3)],
    ] {
        let error = log.append_entries(refused, false, NOW).unwrap_err();
        assert!(matches!(error, AppendError::OutOfSequence { .. }), "{error}");
        assert_eq!(log.entry_bounds().end, index(1));
    }
    log.append_entries(vec![raft_only(1), entry(2, 1, 3)], false, NOW).unwrap();
    assert_eq!(log.pointers().log_end_offset, Offset::new(2));
    for beyond in
        [log.offset_after(index(3)), log.truncate_entries(index(4)).map(|()| Offset::ZERO)]
    {
        assert!(matches!(beyond, Err(ReadError::EntryOutOfRange { .. })), "{beyond:?}");
    }
    log.close().unwrap();
}

#[test]
fn the_listener_hears_of_entries_that_take_no_offset() {
    let room = Room::new();
    let log = open_replicated(&room);
    let told = listen(&log);
    for number in 1..=3 {
        let blank = EntryBatch::raft_only(Offset::ZERO, LeaderEpoch::new(1), Bytes::new());
        log.append_entries(vec![blank], true, NOW).unwrap();
        wait_until_finished(&log, &told);
        assert_eq!(log.entry_bounds().finished_end, index(number));
    }
    assert_eq!(log.pointers().log_end_offset, Offset::ZERO);
    log.close().unwrap();
}

#[test]
fn entries_are_finished_when_they_are_synced_whatever_is_asked_for() {
    let room = Room::new();
    let sync = SyncPolicy::Relaxed { flush_records: None, flush_interval: None };
    let relaxed = LogConfig { sync, ..LogConfig::default() };
    let kind = LogKind::Replicated;
    let log = room.open_kind(kind, relaxed.clone(), None, StopKind::Clean).unwrap();
    let told = listen(&log);
    for number in 0..2 {
        log.append_entries(vec![entry(number, number, 1)], false, NOW).unwrap();
        wait_until_finished(&log, &told);
        assert_eq!(log.pointers().recovery_point, Offset::new(number + 1));
        log.set_config(relaxed.clone());
    }
    log.close().unwrap();
}

#[test]
fn what_was_staged_and_given_up_leaves_nothing_behind() {
    let room = Room::new();
    let log = open_replicated(&room);
    let stage = |log: &Log| {
        let staged = log.stage(batch(1, 2, 100), LeaderEpoch::new(1), NOW).unwrap();
        let StageOutcome::Staged(staged) = staged else { panic!("{staged:?}") };
        staged
    };
    let first = stage(&log);
    let second = stage(&log);
    assert_eq!(second.appended.base_offset, Offset::new(2));
    // The first one was refused, but the second one taken: something else stands in its place.
    let refused = log.append_entries(vec![second.batch], true, NOW);
    assert!(matches!(refused, Err(AppendError::OutOfSequence { .. })), "{refused:?}");
    let void = EntryBatch::raft_only(Offset::ZERO, LeaderEpoch::new(1), Bytes::new());
    log.append_entries(vec![void], true, NOW).unwrap();
    log.unstage();
    assert_eq!(stage(&log).appended, first.appended);
    // What another leader sends takes the place of what is staged here.
    let told = listen(&log);
    log.append_entries(vec![entry(1, 0, 2)], false, NOW).unwrap();
    wait_until_finished(&log, &told);
    assert_eq!(room.env.flusher.busy_with(usize::MAX / 2), None, "all bytes were given back");
    log.close().unwrap();
}

#[test]
fn a_log_is_opened_as_what_it_is() {
    let room = Room::new();
    let open = |kind| room.open_kind(kind, LogConfig::default(), None, StopKind::PowerLost);
    let told_kind = |kind| match open(kind) {
        Err(crate::error::OpenError::Corrupt { what, .. }) => what,
        other => panic!("{other:?}"),
    };
    let log = open_replicated(&room);
    log.append_entries(vec![entry(1, 0, 1)], false, NOW).unwrap();
    log.close().unwrap();
    assert!(told_kind(LogKind::Direct).contains("the log is replicated"));
    open(LogKind::Replicated).unwrap().close().unwrap();
    let room = Room::new();
    let log = room.open(LogConfig::default(), None, StopKind::Clean).unwrap();
    log.append(batch(1, 1, 39), LeaderEpoch::ZERO, NOW).unwrap();
    log.close().unwrap();
    assert_eq!(room.names("entries").len() + room.names("-start").len(), 0);
    let open = |kind| room.open_kind(kind, LogConfig::default(), None, StopKind::PowerLost);
    let refused = open(LogKind::Replicated).unwrap_err();
    assert!(refused.to_string().contains("not replicated"), "{refused}");
}
