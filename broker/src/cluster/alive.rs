//! Which brokers live, as this one sees it: itself, and those whom the detector reaches.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use protocol::types::BrokerId;
use raft::peers::Health;
use tokio::sync::watch;

/// What the detector says of each other broker.
pub(super) type Healths = watch::Receiver<Arc<BTreeMap<BrokerId, Health>>>;

/// Tells who lives. Cheap to clone and to ask.
#[derive(Clone)]
pub(super) struct Alive {
    here: BrokerId,
    healths: Option<Healths>,
}

impl fmt::Debug for Alive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Alive").field(&self.all()).finish()
    }
}

impl Alive {
    /// As seen by `here`; without a detector there is nobody else.
    pub(super) const fn new(here: BrokerId, healths: Option<Healths>) -> Self {
        Self { here, healths }
    }

    /// Every broker that lives.
    pub(super) fn all(&self) -> BTreeSet<BrokerId> {
        let mut all = self.others();
        all.insert(self.here);
        all
    }

    /// The same without this one. A broker that is only suspected lives until the detector is sure.
    pub(super) fn others(&self) -> BTreeSet<BrokerId> {
        let Some(healths) = &self.healths else { return BTreeSet::new() };
        let healths = healths.borrow();
        let live = healths.iter().filter(|(_, health)| !matches!(health, Health::Down));
        live.map(|(id, _)| *id).collect()
    }
    /// Tells when the detector has something new.
    pub(super) fn changes(&self) -> Option<Healths> {
        self.healths.clone()
    }
}
