//! Spill files that survive their processes: one ring for each process in a folder. A process that starts takes the first that
//! nobody living holds, with what is in it, and each takes over those of the dead when it is asked what waits; meanwhile
//! these are kept from all others, who can read them and no more.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bowerbird_core::ports::{HighMark, SpillEntry, SpillError, SpillStore};
use bowerbird_core::{ConnectionId, Generation};
use parking_lot::Mutex;

use super::life::Life;
use super::plan::Mutant;
use super::world::World;

/// What was stored, by connection and the generation at which the grant began.
type Marks = BTreeMap<(ConnectionId, Generation), Generation>;

/// Every folder.
pub(crate) struct Disks(Vec<Mutex<Vec<Ring>>>);

#[derive(Default)]
struct Ring {
    /// Whose lock it has, which ends with its life.
    holder: Option<Arc<Life>>,
    entries: Vec<SpillEntry>,
    marks: Marks,
}

impl Disks {
    pub(crate) fn new(folders: usize) -> Self {
        Self((0..folders).map(|_| Mutex::default()).collect())
    }
}

impl Ring {
    fn is_free(&self) -> bool {
        self.holder.as_ref().is_none_or(|holder| holder.is_dead())
    }

    fn is_held_by(&self, life: &Life) -> bool {
        self.holder.as_ref().is_some_and(|holder| holder.number == life.number)
    }
}

/// A process's spill.
pub(crate) struct Spill {
    world: Arc<World>,
    life: Arc<Life>,
    /// The place of its own ring in the folder.
    own: usize,
    /// What rings that it let go say to have been stored.
    remembered: Mutex<Marks>,
}

impl Spill {
    /// Takes the first free ring.
    pub(crate) fn open(world: Arc<World>, life: Arc<Life>) -> Self {
        let own = {
            let mut rings = world.disks.0[life.folder].lock();
            let free = rings.iter().position(Ring::is_free).unwrap_or(rings.len());
            if free == rings.len() {
                rings.push(Ring::default());
            }
            rings[free].holder = Some(Arc::clone(&life));
            free
        };
        Self { world, life, own, remembered: Mutex::default() }
    }

    fn folder<T>(&self, work: impl FnOnce(&mut Vec<Ring>) -> T) -> T {
        work(&mut self.world.disks.0[self.life.folder].lock())
    }

    /// Lets go of rings of the dead in which nothing waits any more.
    fn let_go(&self, rings: &mut [Ring]) {
        for (place, ring) in rings.iter_mut().enumerate() {
            if place != self.own && ring.is_held_by(&self.life) && ring.entries.is_empty() {
                raise(&mut self.remembered.lock(), &ring.marks);
                ring.holder = None;
            }
        }
    }

    fn try_disk(&self) -> Result<(), SpillError> {
        if self.world.goes_wrong(self.world.plan.spill_fails) {
            self.world.note(|| format!("instance {} meets an error of its disk", self.life.number));
            self.world.ledger.lock().count("spill errors");
            return Err(SpillError::Full);
        }
        Ok(())
    }

    fn note(&self, what: &str, entries: &[SpillEntry]) {
        let scopes = || entries.iter().map(|entry| entry.tokens.scope.as_str()).collect::<Vec<_>>();
        self.world.note(|| format!("instance {} {what} {:?}", self.life.number, scopes()));
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
            self.world.ledger.lock().spilled(&entry.tokens, self.life.folder, self.world.elapsed());
            if !self.world.is(Mutant::SpillForgets) {
                self.folder(|rings| rings[self.own].entries.push(entry.clone()));
            }
            self.note("writes into its spill", std::slice::from_ref(entry));
        }
        self.world.gate(&self.life).await;
        // Written, and not confirmed.
        before.and(after)
    }

    async fn settle(&self, connection: ConnectionId, seen: Generation) {
        self.world.gate(&self.life).await;
        self.folder(|rings| {
            for ring in rings.iter_mut().filter(|ring| ring.is_held_by(&self.life)) {
                let Ring { entries, marks, .. } = ring;
                entries.retain(|entry| {
                    let settled = (entry.connection, entry.seen) == (connection, seen);
                    if settled {
                        raise(marks, &Marks::from([((connection, entry.granted), seen.next())]));
                    }
                    !settled
                });
            }
            self.let_go(rings);
        });
        self.world.gate(&self.life).await;
    }

    async fn unsettled(&self) -> Result<Vec<SpillEntry>, SpillError> {
        self.world.gate(&self.life).await;
        self.try_disk()?;
        let entries = self.folder(|rings| {
            for ring in rings.iter_mut().filter(|ring| ring.is_free()) {
                ring.holder = Some(Arc::clone(&self.life));
            }
            self.let_go(rings);
            in_order(rings.iter().filter(|ring| ring.is_held_by(&self.life)))
        });
        self.note("takes over", &entries);
        self.world.gate(&self.life).await;
        Ok(entries)
    }

    async fn everywhere(&self, connection: ConnectionId) -> Result<Vec<SpillEntry>, SpillError> {
        self.world.gate(&self.life).await;
        let tried = self.try_disk();
        self.life.looked(connection, tried.is_ok());
        tried?;
        let blind = self.world.is(Mutant::HeldSpillsUnseen);
        let seen = |ring: &&Ring| !blind || ring.is_free() || ring.is_held_by(&self.life);
        let mut entries = self.folder(|rings| in_order(rings.iter().filter(seen)));
        entries.retain(|entry| entry.connection == connection);
        if !entries.is_empty() {
            self.world.ledger.lock().count("answers seen in a spill before a second send");
        }
        self.note("sees everywhere", &entries);
        self.world.gate(&self.life).await;
        Ok(entries)
    }

    async fn high_marks(&self) -> Result<Vec<HighMark>, SpillError> {
        self.world.gate(&self.life).await;
        self.try_disk()?;
        let mut marks = self.remembered.lock().clone();
        self.folder(|rings| {
            for ring in rings.iter() {
                raise(&mut marks, &ring.marks);
                if !ring.is_held_by(&self.life) {
                    let waiting = ring.entries.iter().map(|entry| ((entry.connection, entry.granted), entry.seen));
                    raise(&mut marks, &waiting.collect());
                }
            }
        });
        let mark = |((connection, granted), stored)| HighMark { connection, granted, stored };
        Ok(marks.into_iter().map(mark).collect())
    }
}

fn in_order<'a>(rings: impl Iterator<Item = &'a Ring>) -> Vec<SpillEntry> {
    let mut entries: Vec<_> = rings.flat_map(|ring| ring.entries.iter().cloned()).collect();
    entries.sort_by_key(|entry| (entry.seen, entry.tokens.issued_at));
    entries
}

/// Keeps the highest of each.
fn raise(highest: &mut Marks, marks: &Marks) {
    for (whose, stored) in marks {
        let known = highest.entry(*whose).or_insert(*stored);
        *known = (*known).max(*stored);
    }
}
