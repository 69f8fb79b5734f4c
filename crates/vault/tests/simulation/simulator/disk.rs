//! Spill files that survive their processes: one ring for each process in a folder, and those of the dead are read by
//! whoever is asked next.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bowerbird_core::ports::{HighMark, SpillEntry, SpillError, SpillStore};
use bowerbird_core::{ConnectionId, Generation};
use parking_lot::Mutex;

use super::life::Life;
use super::plan::Mutant;
use super::world::World;

/// Every folder.
pub(crate) struct Disks(Vec<Mutex<Vec<Ring>>>);

struct Ring {
    owner: Arc<Life>,
    entries: Vec<SpillEntry>,
    /// By connection and the generation at which the grant began.
    marks: BTreeMap<(ConnectionId, Generation), Generation>,
}

impl Disks {
    pub(crate) fn new(folders: usize) -> Self {
        Self((0..folders).map(|_| Mutex::default()).collect())
    }
}

/// A process's spill.
pub(crate) struct Spill {
    pub(crate) world: Arc<World>,
    pub(crate) life: Arc<Life>,
}

impl Spill {
    /// The rings that this process works with: its own, first, and those of dead processes.
    fn rings<T>(&self, work: impl FnOnce(Vec<&mut Ring>) -> T) -> T {
        let mut rings = self.world.disks.0[self.life.folder].lock();
        if !rings.iter().any(|ring| ring.owner.number == self.life.number) {
            rings.push(Ring { owner: Arc::clone(&self.life), entries: Vec::new(), marks: BTreeMap::new() });
        }
        let own = self.life.number;
        work(rings.iter_mut().filter(|ring| ring.owner.number == own || ring.owner.is_dead()).collect())
    }

    fn try_disk(&self) -> Result<(), SpillError> {
        if self.world.goes_wrong(self.world.plan.spill_fails) {
            self.life.spill_failed(self.world.elapsed());
            self.world.ledger.lock().count("spill errors");
            return Err(SpillError::Full);
        }
        Ok(())
    }
}

#[async_trait]
impl SpillStore for Spill {
    async fn ready(&self) -> Result<(), SpillError> {
        self.world.gate(&self.life).await;
        self.try_disk()
    }

    async fn append(&self, entry: &SpillEntry) -> Result<(), SpillError> {
        self.world.gate(&self.life).await;
        let before = self.try_disk();
        let after = self.try_disk();
        if before.is_ok() {
            self.world.ledger.lock().spilled(&entry.tokens, self.life.folder);
            if !self.world.is(Mutant::SpillForgets) {
                let own = self.life.number;
                self.rings(|rings| {
                    if let Some(ring) = rings.into_iter().find(|ring| ring.owner.number == own) {
                        ring.entries.push(entry.clone());
                    }
                });
            }
            self.world.note(|| format!("instance {} writes {} into its spill", self.life.number, entry.tokens.scope));
        }
        self.world.gate(&self.life).await;
        // Written, and not confirmed.
        before.and(after)
    }

    async fn settle(&self, connection: ConnectionId, seen: Generation) {
        self.world.gate(&self.life).await;
        self.rings(|rings| {
            for ring in rings {
                let Ring { entries, marks, .. } = ring;
                entries.retain(|entry| {
                    let settled = (entry.connection, entry.seen) == (connection, seen);
                    if settled {
                        let mark = marks.entry((connection, entry.granted)).or_insert(seen.next());
                        *mark = seen.next().max(*mark);
                    }
                    !settled
                });
            }
        });
        self.world.gate(&self.life).await;
    }

    async fn unsettled(&self) -> Result<Vec<SpillEntry>, SpillError> {
        self.world.gate(&self.life).await;
        self.try_disk()?;
        let mut entries: Vec<_> = self.rings(|rings| rings.iter().flat_map(|ring| ring.entries.clone()).collect());
        entries.sort_by_key(|entry| (entry.seen, entry.tokens.issued_at));
        self.world.gate(&self.life).await;
        Ok(entries)
    }

    async fn high_marks(&self) -> Result<Vec<HighMark>, SpillError> {
        self.world.gate(&self.life).await;
        self.try_disk()?;
        let mark = |((connection, granted), stored)| HighMark { connection, granted, stored };
        Ok(self.rings(|rings| rings.iter().flat_map(|ring| ring.marks.clone()).map(mark).collect()))
    }
}
