//! Looking into the rings of others, who live and go on writing.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use bowerbird_core::ports::{HighMark, SpillEntry, SpillError, SpillStore as _};
use bowerbird_core::testing::SeededEntropy;
use bowerbird_core::{ConnectionId, CredentialState, Generation, Schedule, SealedTokens, Timestamp};
use bowerbird_storage_file::{FileSpill, SPILL_BYTES};

fn connection(whose: u64) -> ConnectionId {
    ConnectionId::random(&SeededEntropy::new(whose))
}

fn entry(whose: u64, seen: i64, size: usize) -> SpillEntry {
    SpillEntry {
        connection: connection(whose),
        seen: Generation(seen),
        granted: Generation::FIRST,
        tokens: SealedTokens {
            access_token: vec![u8::try_from(seen % 251).unwrap(); size],
            refresh_token: Some(vec![0xff; 40]),
            issued_at: Timestamp::from_millis(seen),
            access_expires_at: Timestamp::from_millis(seen + 1),
            scope: "atproto".to_owned(),
        },
        state: CredentialState::Ok,
        schedule: Schedule::default(),
    }
}

fn mark(whose: u64, stored: i64) -> HighMark {
    HighMark { connection: connection(whose), granted: Generation::FIRST, stored: Generation(stored) }
}

fn opened(folder: &Path) -> FileSpill {
    FileSpill::open(folder, SPILL_BYTES).unwrap()
}

async fn seen(spill: &FileSpill, whose: u64) -> Vec<SpillEntry> {
    spill.everywhere(connection(whose)).await.unwrap()
}

#[tokio::test]
async fn what_a_living_process_holds_is_seen_and_stays_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (opened(folder.path()), opened(folder.path()));
    for entry in [entry(1, 1, 10), entry(3, 4, 10)] {
        first.append(&entry).await.unwrap();
    }
    for entry in [entry(2, 9, 9000), entry(2, 3, 10), entry(3, 5, 10)] {
        second.append(&entry).await.unwrap();
    }
    for spill in [&first, &second] {
        assert_eq!(seen(spill, 1).await, [entry(1, 1, 10)]);
        assert_eq!(seen(spill, 2).await, [entry(2, 3, 10), entry(2, 9, 9000)], "the oldest first");
        assert_eq!(seen(spill, 3).await, [entry(3, 4, 10), entry(3, 5, 10)], "of both");
        assert_eq!(seen(spill, 4).await, []);
    }
    // Looking took no lock, and ended none.
    assert_eq!(first.unsettled().await.unwrap(), [entry(1, 1, 10), entry(3, 4, 10)]);
    let third = opened(folder.path());
    assert_eq!(third.unsettled().await.unwrap(), []);
    assert_eq!(seen(&third, 1).await, [entry(1, 1, 10)]);

    // Who only looked settles nothing.
    first.settle(connection(2), Generation(9)).await;
    assert_eq!(seen(&first, 2).await.len(), 2);
    second.settle(connection(2), Generation(9)).await;
    assert_eq!(seen(&first, 2).await, [entry(2, 3, 10)]);
    assert_eq!(second.unsettled().await.unwrap(), [entry(2, 3, 10), entry(3, 5, 10)]);
}

#[tokio::test]
async fn what_somebody_is_taking_over_is_seen_by_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let (dead, other, witness) = (opened(folder.path()), opened(folder.path()), opened(folder.path()));
    dead.append(&entry(1, 1, 10)).await.unwrap();
    other.append(&entry(2, 1, 10)).await.unwrap();
    dead.close().await;
    assert_eq!(seen(&witness, 1).await, [entry(1, 1, 10)], "nobody holds it");

    // A process starts, and the dead one's ring is its own now.
    let starting = opened(folder.path());
    other.close().await;
    // Another one takes over what nobody holds.
    assert_eq!(starting.unsettled().await.unwrap(), [entry(1, 1, 10), entry(2, 1, 10)]);
    assert_eq!(witness.unsettled().await.unwrap(), [], "both are out of reach");
    assert_eq!(seen(&witness, 1).await, [entry(1, 1, 10)]);
    assert_eq!(seen(&witness, 2).await, [entry(2, 1, 10)]);

    starting.settle(connection(1), Generation(1)).await;
    starting.settle(connection(2), Generation(1)).await;
    assert_eq!((seen(&witness, 1).await, seen(&witness, 2).await), (Vec::new(), Vec::new()));
}

#[tokio::test]
async fn a_ring_that_cannot_be_read_hides_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let ring = |number: usize| folder.path().join(format!("spill-{number}.ring"));
    let spill = opened(folder.path());
    spill.append(&entry(1, 1, 10)).await.unwrap();
    // Rings that are just being made.
    std::fs::write(ring(1), "").unwrap();
    std::fs::write(ring(2), vec![0; 10_000]).unwrap();
    assert_eq!((seen(&spill, 1).await.len(), seen(&spill, 2).await.len()), (1, 0));

    std::fs::write(ring(3), "somebody's notes").unwrap();
    assert_eq!(seen(&spill, 1).await, [entry(1, 1, 10)]);
    let unseen = spill.everywhere(connection(2)).await;
    assert!(matches!(unseen, Err(SpillError::Unwritable(_))), "nobody can say that there is nothing: {unseen:?}");
    assert_eq!(std::fs::read(ring(3)).unwrap(), b"somebody's notes");
}

#[tokio::test]
async fn of_the_rings_of_the_dead_each_of_several_that_start_knows_what_was_stored() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (opened(folder.path()), opened(folder.path()));
    for (spill, whose) in [(&first, 1), (&second, 2)] {
        spill.append(&entry(whose, 5, 10)).await.unwrap();
        spill.settle(connection(whose), Generation(5)).await;
    }
    second.append(&entry(3, 7, 10)).await.unwrap();
    first.close().await;
    second.close().await;

    let (third, fourth) = (opened(folder.path()), opened(folder.path()));
    assert_eq!(third.unsettled().await.unwrap(), []);
    let mut marks = third.high_marks().await.unwrap();
    marks.sort_unstable();
    let mut expected = [mark(1, 6), mark(2, 6), mark(3, 7)];
    expected.sort_unstable();
    assert_eq!(marks, expected, "what waits says how far its row was");
    let marks = fourth.high_marks().await.unwrap();
    assert!(marks.contains(&mark(1, 6)) && marks.contains(&mark(2, 6)), "{marks:?}");
    assert!(!marks.contains(&mark(3, 7)), "its own is for the replay to compare: {marks:?}");
}

/// While a process writes as fast as it can, whoever looks sees all that was written before the look, and nothing that
/// was not written.
#[test]
fn a_look_while_others_write_misses_nothing_and_sees_nothing_torn() {
    const ROUNDS: i64 = 1500;
    /// So many wait at once.
    const WAITING: i64 = 4;
    const KEPT: u64 = 1;
    const BUSY: u64 = 2;
    let size = |round: i64| usize::try_from(round * 3701 % 8000).unwrap();
    let folder = tempfile::tempdir().unwrap();
    // Small, so that it is gone round many times.
    let (writer, reader) = (FileSpill::open(folder.path(), 40 * 4096).unwrap(), opened(folder.path()));
    let (appended, settling, settled) = (AtomicI64::new(0), AtomicI64::new(0), AtomicI64::new(0));
    let ended = AtomicBool::new(false);
    let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (looks, found) = std::thread::scope(|scope| {
        scope.spawn(|| {
            runtime().block_on(async {
                writer.append(&entry(KEPT, 1, 6000)).await.unwrap();
                for round in 1..=ROUNDS {
                    writer.append(&entry(BUSY, round, size(round))).await.unwrap();
                    appended.store(round, Ordering::SeqCst);
                    let oldest = round - WAITING;
                    settling.store(oldest, Ordering::SeqCst);
                    writer.settle(connection(BUSY), Generation(oldest)).await;
                    settled.store(oldest, Ordering::SeqCst);
                }
                ended.store(true, Ordering::SeqCst);
            });
        });
        let looking = scope.spawn(|| {
            runtime().block_on(async {
                let (mut looks, mut found) = (0, 0);
                while !ended.load(Ordering::SeqCst) {
                    let gone = settled.load(Ordering::SeqCst);
                    let there = appended.load(Ordering::SeqCst);
                    let entries = seen(&reader, BUSY).await;
                    let going = settling.load(Ordering::SeqCst);
                    for entry_seen in &entries {
                        let round = entry_seen.seen.0;
                        assert_eq!(*entry_seen, entry(BUSY, round, size(round)), "as it was written");
                        assert!(round > gone, "{round} was settled before the look, as all up to {gone}");
                    }
                    let rounds: Vec<_> = entries.iter().map(|entry| entry.seen.0).collect();
                    for round in (going + 1).max(1)..=there {
                        assert!(rounds.contains(&round), "{round} waited before and after the look: {rounds:?}");
                    }
                    if there > 0 {
                        assert_eq!(seen(&reader, KEPT).await, [entry(KEPT, 1, 6000)]);
                    }
                    (looks, found) = (looks + 1, found + entries.len());
                }
                (looks, found)
            })
        });
        looking.join().unwrap()
    });
    println!("{looks} looks, {found} entries");
    assert!(looks >= 50 && found >= 10, "{looks} looks saw {found}");
}

/// A process of its own that opens the spill, writes an answer down, and then does nothing until it is let go or killed.
struct Holder {
    process: Child,
    said: BufReader<ChildStdout>,
}

impl Holder {
    fn start(folder: &Path, task: &str) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["in_a_process_of_its_own", "--exact", "--ignored", "--nocapture", "--test-threads=1"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut orders = process.stdin.take().unwrap();
        writeln!(orders, "{task} {}", folder.display()).unwrap();
        // Kept open: its end would end the process.
        process.stdin = Some(orders);
        let mut holder = Self { said: BufReader::new(process.stdout.take().unwrap()), process };
        holder.hears("done");
        holder
    }

    fn hears(&mut self, word: &str) {
        let mut line = String::new();
        while !line.contains(word) {
            line.clear();
            assert_ne!(self.said.read_line(&mut line).unwrap(), 0, "the process ended");
        }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

#[tokio::test]
#[ignore = "a part of `of_real_processes_the_living_and_the_dead_are_seen`"]
async fn in_a_process_of_its_own() {
    let mut order = String::new();
    std::io::stdin().read_line(&mut order).unwrap();
    let Some((task, folder)) = order.trim().split_once(' ') else { return };
    let spill = opened(Path::new(folder));
    match task {
        "write" => spill.append(&entry(1, 1, 5000)).await.unwrap(),
        "take" => assert_eq!(spill.unsettled().await.unwrap(), [entry(1, 1, 5000)]),
        task => assert_eq!(task, "write or take"),
    }
    println!("done");
    // Until whoever started it is gone, or ends it.
    std::io::stdin().read_line(&mut order).unwrap();
}

#[tokio::test]
async fn of_real_processes_the_living_and_the_dead_are_seen() {
    let folder = tempfile::tempdir().unwrap();
    let witness = opened(folder.path());
    let writer = Holder::start(folder.path(), "write");
    assert_eq!(witness.unsettled().await.unwrap(), [], "it lives");
    assert_eq!(seen(&witness, 1).await, [entry(1, 1, 5000)]);
    drop(writer);
    let taker = Holder::start(folder.path(), "take");
    assert_eq!(witness.unsettled().await.unwrap(), [], "taken by another one, which lives");
    assert_eq!(seen(&witness, 1).await, [entry(1, 1, 5000)]);
    drop(taker);
    assert_eq!(witness.unsettled().await.unwrap(), [entry(1, 1, 5000)]);
    witness.settle(connection(1), Generation(1)).await;
    assert_eq!(seen(&witness, 1).await, []);
}
