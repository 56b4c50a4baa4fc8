//! Tells a replica's listener what becomes of it, one thing at a time and in order.
//!
//! News come from Raft's core (commits, gained and lost leadership), from the flusher (the log
//! failed) and from whoever closes the group. The lock is held while the listener is told, so news
//! cannot overtake each other; what the listener may ask back is kept outside of it. Nothing is told
//! after the end.

use std::sync::Arc;

use parking_lot::Mutex;
use protocol::types::{BrokerId, LeaderEpoch, Offset};
use tokio::sync::watch;

use crate::high_watermark::{Advance, HighWatermark};
use crate::replica::{Leadership, ReplicaListener};

pub(super) struct Teller {
    high_watermark: HighWatermark,
    leadership: watch::Sender<Leadership>,
    told: Mutex<Told>,
}

struct Told {
    listener: Option<Arc<dyn ReplicaListener>>,
    has_ended: bool,
}

impl Teller {
    pub(super) fn new(
        high_watermark: Offset,
        leader: Option<BrokerId>,
        leader_epoch: LeaderEpoch,
    ) -> Self {
        let leadership = Leadership { leader, leader_epoch, is_local: false };
        Self {
            high_watermark: HighWatermark::new(high_watermark),
            leadership: watch::Sender::new(leadership),
            told: Mutex::new(Told { listener: None, has_ended: false }),
        }
    }

    pub(super) fn high_watermark(&self) -> Offset {
        self.high_watermark.get()
    }

    pub(super) fn leadership(&self) -> Leadership {
        *self.leadership.borrow()
    }

    pub(super) fn watch_leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.subscribe()
    }

    pub(super) fn set_listener(&self, listener: Arc<dyn ReplicaListener>) {
        let mut told = self.told.lock();
        listener.committed(self.high_watermark());
        let leadership = self.leadership();
        if told.has_ended {
            listener.ended();
            return;
        }
        if leadership.is_local {
            listener.leads(leadership.leader_epoch);
        } else {
            listener.lost();
        }
        told.listener = Some(listener);
    }

    /// Everything below `high_watermark` is committed. What is known already is told to nobody.
    pub(super) fn committed(&self, high_watermark: Offset) {
        let told = self.told.lock();
        if told.has_ended {
            return;
        }
        // A restart may begin above what it notes first: then nothing is new.
        if self.high_watermark.advance(high_watermark) == Advance::Moved
            && let Some(listener) = &told.listener
        {
            listener.committed(high_watermark);
        }
    }

    /// This replica leads. `open` lets produces in, behind what is told.
    pub(super) fn leads(&self, me: BrokerId, leader_epoch: LeaderEpoch, open: impl FnOnce()) {
        let told = self.told.lock();
        if told.has_ended {
            return;
        }
        let leadership = Leadership { leader: Some(me), leader_epoch, is_local: true };
        self.leadership.send_replace(leadership);
        if let Some(listener) = &told.listener {
            listener.leads(leader_epoch);
        }
        open();
    }

    /// This replica does not lead, and this is who does, as far as it knows. Produces are refused by
    /// now.
    pub(super) fn follows(&self, leader: Option<BrokerId>, leader_epoch: LeaderEpoch) {
        let told = self.told.lock();
        if told.has_ended {
            return;
        }
        let leadership = Leadership { leader, leader_epoch, is_local: false };
        let before = self.leadership.send_replace(leadership);
        if before.is_local
            && let Some(listener) = &told.listener
        {
            listener.lost();
        }
    }

    /// Nothing more will come.
    pub(super) fn end(&self) {
        let mut told = self.told.lock();
        if std::mem::replace(&mut told.has_ended, true) {
            return;
        }
        self.leadership.send_modify(|leadership| {
            (leadership.leader, leadership.is_local) = (None, false);
        });
        if let Some(listener) = told.listener.take() {
            listener.ended();
        }
    }
}
