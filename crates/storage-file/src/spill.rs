//! The spill as a file: one thread writes, and whatever was queued meanwhile shares the next disk write.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc as thread_queue;

use async_trait::async_trait;
use bowerbird_core::ports::{HighMark, SpillEntry, SpillError, SpillStore};
use bowerbird_core::{ConnectionId, Generation};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::ring::{AppendError, Ring, Whose};
use crate::{entry, folder, look};

/// The usual length of a ring file: 255 entries of common size.
pub const SPILL_BYTES: usize = 1 << 20;
/// Orders that share one disk write at most.
const BATCH: usize = 64;
/// The thread's work is flat.
const STACK_BYTES: usize = 256 * 1024;

/// A spill that was not opened.
#[derive(Debug, thiserror::Error)]
#[error(
    "the spill file in {folder} cannot be used; check that the folder is writable, has room, and belongs to this user"
)]
pub struct OpenSpillError {
    /// The folder.
    pub folder: PathBuf,
    /// The cause.
    #[source]
    pub source: io::Error,
}

/// A ring of a fixed length in a folder, preallocated, for its owner alone.
///
/// Each process that works on the folder has a ring of its own (the first that is free), and takes over those of
/// processes that are gone whenever [`SpillStore::unsettled`] is asked. So ask it at the start, now and then, and before
/// acting on a refresh that another process may have left behind. A ring in which nothing waits is let go again at once,
/// for the next process that starts.
///
/// While one process works on a ring, or on what a dead one left in it, [`SpillStore::everywhere`] shows its entries to the others.
#[derive(Debug)]
pub struct FileSpill {
    folder: PathBuf,
    orders: thread_queue::Sender<Order>,
    health: Arc<Mutex<Health>>,
    own_file: File,
}

/// What the thread knows, for whoever asks without waiting.
#[derive(Clone, Copy, Debug)]
struct Health {
    has_room: bool,
    failed: bool,
}

/// What was stored, by connection and the generation at which the grant began.
type Marks = BTreeMap<(ConnectionId, Generation), Generation>;

type Answer<T> = oneshot::Sender<T>;

#[derive(Debug)]
enum Order {
    Append { whose: Whose, payload: Vec<u8>, answer: Answer<Result<(), SpillError>> },
    Settle { whose: (ConnectionId, Generation), answer: Answer<()> },
    Unsettled(Answer<Result<Vec<SpillEntry>, SpillError>>),
    HighMarks(Answer<Vec<HighMark>>),
    Probe(Answer<Result<(), SpillError>>),
    Close(Answer<()>),
}

impl FileSpill {
    /// Opens the first free ring in a folder, making both where there is none. `bytes` is the length of a new ring
    /// ([`SPILL_BYTES`]). Blocks for some disk writes; call it at the start, not while serving.
    pub fn open(folder: &Path, bytes: usize) -> Result<Self, OpenSpillError> {
        Self::start(folder, bytes).map_err(|source| OpenSpillError { folder: folder.to_owned(), source })
    }

    /// Forgets everything that processes which are gone wrote down in a folder, also what was never stored; gives how many
    /// rings that were. For an operator who goes on with an older backup: what is in them belongs to newer rows, and
    /// would be taken for a sign of the restore at every start. Stop the servers on the folder before.
    pub fn discard(folder: &Path) -> Result<usize, OpenSpillError> {
        folder::remove_rings(folder).map_err(|source| OpenSpillError { folder: folder.to_owned(), source })
    }

    fn start(folder: &Path, bytes: usize) -> io::Result<Self> {
        folder::make(folder)?;
        let (number, file) = folder::claim_ring(folder)?;
        let own = Ring::open(file, bytes)?;
        folder::sync(folder)?;
        let own_file = own.file()?;
        let health = Arc::new(Mutex::new(Health { has_room: own.has_room(), failed: false }));
        let (orders, given) = thread_queue::channel();
        let mut writer = Writer {
            folder: folder.to_owned(),
            bytes,
            own,
            numbers: vec![number],
            adopted: Vec::new(),
            marks: Marks::new(),
            health: health.clone(),
        };
        std::thread::Builder::new()
            .name("spill".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || writer.run(&given))?;
        Ok(Self { folder: folder.to_owned(), orders, health, own_file })
    }

    /// Finishes what is queued and lets go of the ring. Otherwise that happens when the value is dropped, soon after.
    pub async fn close(&self) {
        let _gone_already = self.ask(Order::Close).await;
    }

    async fn ask<T>(&self, order: impl FnOnce(Answer<T>) -> Order) -> Result<T, SpillError> {
        let (answer, answered) = oneshot::channel();
        self.orders.send(order(answer)).map_err(|_| closed())?;
        answered.await.map_err(|_| closed())
    }
}

#[async_trait]
impl SpillStore for FileSpill {
    async fn ready(&self) -> Result<(), SpillError> {
        let health = *self.health.lock();
        if health.failed {
            return self.ask(Order::Probe).await?;
        }
        match folder::has_a_name(&self.own_file) {
            Ok(true) if health.has_room => Ok(()),
            Ok(true) => Err(SpillError::Full),
            Ok(false) => Err(unwritable(io::Error::new(io::ErrorKind::NotFound, "the spill file was removed"))),
            Err(error) => Err(unwritable(error)),
        }
    }

    async fn append(&self, entry: &SpillEntry) -> Result<(), SpillError> {
        let payload = entry::encode(entry).map_err(|error| SpillError::Unwritable(error.into()))?;
        let whose = Whose { connection: entry.connection, seen: entry.seen, granted: entry.granted };
        self.ask(|answer| Order::Append { whose, payload, answer }).await?
    }

    async fn settle(&self, connection: ConnectionId, seen: Generation) {
        let _closed = self.ask(|answer| Order::Settle { whose: (connection, seen), answer }).await;
    }

    async fn unsettled(&self) -> Result<Vec<SpillEntry>, SpillError> {
        self.ask(Order::Unsettled).await?
    }

    /// Not by the thread that writes: an answer that comes meanwhile is written down first.
    async fn everywhere(&self, connection: ConnectionId) -> Result<Vec<SpillEntry>, SpillError> {
        let folder = self.folder.clone();
        let look = tokio::task::spawn_blocking(move || entries_of(&folder, connection));
        look.await.map_err(|error| SpillError::Unwritable(error.into()))?.map_err(unwritable)
    }

    async fn high_marks(&self) -> Result<Vec<HighMark>, SpillError> {
        self.ask(Order::HighMarks).await
    }
}

/// The thread's own.
struct Writer {
    folder: PathBuf,
    bytes: usize,
    own: Ring,
    /// The rings that are held, this process's own first.
    numbers: Vec<usize>,
    /// The rings of processes that are gone and left something: read, and settled, never appended to.
    adopted: Vec<Ring>,
    /// What rings that were let go say to have been stored.
    marks: Marks,
    health: Arc<Mutex<Health>>,
}

impl Writer {
    fn run(&mut self, orders: &thread_queue::Receiver<Order>) {
        while let Ok(first) = orders.recv() {
            let mut written = Vec::new();
            let mut closed = None;
            let mut order = Some(first);
            while let Some(next) = order {
                match next {
                    Order::Append { whose, payload, answer } => match self.own.append(whose, &payload) {
                        Ok(block) => written.push((block, answer)),
                        Err(AppendError::Full) => tell(answer, Err(SpillError::Full)),
                        Err(AppendError::Unwritable(error)) => {
                            self.health.lock().failed = true;
                            tell(answer, Err(unwritable(error)));
                        }
                    },
                    Order::Settle { whose: (connection, seen), answer } => {
                        for ring in std::iter::once(&mut self.own).chain(&mut self.adopted) {
                            ring.settle(connection, seen);
                        }
                        self.let_go();
                        tell(answer, ());
                    }
                    Order::Unsettled(answer) => tell(answer, self.unsettled().map_err(unwritable)),
                    Order::HighMarks(answer) => tell(answer, self.high_marks()),
                    Order::Probe(answer) => tell(answer, self.probe()),
                    Order::Close(answer) => {
                        closed = Some(answer);
                        break;
                    }
                }
                order = if written.len() < BATCH { orders.try_recv().ok() } else { None };
            }
            self.confirm(written);
            if let Some(closed) = closed {
                self.release();
                tell(closed, ());
                return;
            }
        }
    }

    /// Makes what was written durable, together, and says so.
    fn confirm(&mut self, written: Vec<(usize, Answer<Result<(), SpillError>>)>) {
        if !written.is_empty() {
            let synced = self.own.sync().map_err(Arc::new);
            self.health.lock().failed = synced.is_err();
            for (block, answer) in written {
                if synced.is_err() {
                    self.own.forget(block);
                }
                tell(answer, synced.clone().map_err(|cause| SpillError::Unwritable(Box::new(Shared(cause)))));
            }
        }
        self.health.lock().has_room = self.own.has_room();
    }

    fn probe(&mut self) -> Result<(), SpillError> {
        let tried = self.own.probe();
        self.health.lock().failed = tried.is_err();
        tried.map_err(unwritable)?;
        if self.own.has_room() { Ok(()) } else { Err(SpillError::Full) }
    }

    /// Every unsettled entry; those of one connection in the order of their generations.
    fn unsettled(&mut self) -> io::Result<Vec<SpillEntry>> {
        self.adopt()?;
        let mut entries = self.own.unsettled()?;
        for ring in &mut self.adopted {
            entries.extend(ring.unsettled()?);
        }
        Ok(in_order(entries))
    }

    fn adopt(&mut self) -> io::Result<()> {
        for (number, file) in folder::claim_orphans(&self.folder, &self.numbers)? {
            self.adopted.push(Ring::open(file, self.bytes)?);
            self.numbers.push(number);
        }
        self.let_go();
        Ok(())
    }

    /// Lets go of adopted rings in which nothing waits any more; what they say to have been stored is remembered.
    fn let_go(&mut self) {
        let mut number = 1;
        while let Some(ring) = self.adopted.get(number - 1) {
            if ring.waits() {
                number += 1;
                continue;
            }
            raise(&mut self.marks, ring.high_marks());
            ring.unlock();
            self.adopted.remove(number - 1);
            self.numbers.remove(number);
        }
    }

    /// Of all rings. Several processes that start together share those of the dead among them, and each must know what all
    /// of these say. An entry that another one has still to store says how far its row was; about those that are held here, the
    /// replay says it.
    fn high_marks(&self) -> Vec<HighMark> {
        let mut highest = self.marks.clone();
        raise(&mut highest, std::iter::once(&self.own).chain(&self.adopted).flat_map(Ring::high_marks));
        let looked = look::each_entry(&self.folder, &self.numbers, |frame| {
            if let Some(SpillEntry { connection, granted, seen, .. }) = entry::decode(frame.payload) {
                let stored = if frame.settled { seen.next() } else { seen };
                raise(&mut highest, [HighMark { connection, granted, stored }]);
            }
        });
        if let Err(error) = looked {
            tracing::warn!(%error, "a spill file of another process cannot be read; what it remembers is not compared");
        }
        let mark = |((connection, granted), stored)| HighMark { connection, granted, stored };
        highest.into_iter().map(mark).collect()
    }

    /// Lets go of every ring now, while the value still lives.
    fn release(&mut self) {
        self.own.unlock();
        for ring in &self.adopted {
            ring.unlock();
        }
    }
}

/// What waits for one connection, in whatever ring. If something was found, what could not be read matters less.
fn entries_of(folder: &Path, connection: ConnectionId) -> io::Result<Vec<SpillEntry>> {
    let mut entries = Vec::new();
    let looked = look::each_entry(folder, &[], |frame| {
        // Most of what lies in a ring was stored long ago.
        if !frame.settled
            && let Some(entry) = entry::decode(frame.payload)
            && entry.connection == connection
        {
            entries.push((frame.number, entry));
        }
    });
    if entries.is_empty() { looked.map(|()| Vec::new()) } else { Ok(in_order(entries)) }
}

/// Those of one connection in the order of their generations; the number is that of the entry in its ring.
fn in_order(mut entries: Vec<(u64, SpillEntry)>) -> Vec<SpillEntry> {
    entries.sort_by_key(|(number, entry)| (entry.seen, entry.tokens.issued_at, *number));
    entries.into_iter().map(|(_, entry)| entry).collect()
}

/// Keeps the highest of each.
fn raise(highest: &mut Marks, marks: impl IntoIterator<Item = HighMark>) {
    for HighMark { connection, granted, stored } in marks {
        let known = highest.entry((connection, granted)).or_insert(stored);
        *known = stored.max(*known);
    }
}

fn tell<T>(answer: Answer<T>, what: T) {
    // Whoever asked may be gone; what was done stays done.
    let _nobody_waits = answer.send(what);
}

fn closed() -> SpillError {
    SpillError::Unwritable("the spill file is closed".into())
}

fn unwritable(error: io::Error) -> SpillError {
    SpillError::Unwritable(error.into())
}

/// One cause for every entry of a disk write.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct Shared(Arc<io::Error>);
