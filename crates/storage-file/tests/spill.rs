//! What the spill must keep, on real files.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::{Path, PathBuf};

use bowerbird_core::ports::{HighMark, SpillEntry, SpillError, SpillStore as _};
use bowerbird_core::testing::SeededEntropy;
use bowerbird_core::{ConnectionId, CredentialState, Generation, Schedule, SealedTokens, Timestamp};
use bowerbird_storage_file::{FileSpill, SPILL_BYTES};
use proptest::prelude::*;
use tempfile::TempDir;

fn entry(whose: u64, seen: i64, size: usize) -> SpillEntry {
    SpillEntry {
        connection: ConnectionId::random(&SeededEntropy::new(whose)),
        seen: Generation(seen),
        granted: Generation::FIRST,
        tokens: SealedTokens {
            access_token: vec![u8::try_from(whose % 256).unwrap(); size],
            refresh_token: Some(vec![0xff; 40]),
            issued_at: Timestamp::from_millis(seen),
            access_expires_at: Timestamp::from_millis(seen + 1),
            scope: "atproto".to_owned(),
        },
        state: CredentialState::Ok,
        schedule: Schedule::default(),
    }
}

fn mark(connection: ConnectionId, stored: i64) -> HighMark {
    HighMark { connection, granted: Generation::FIRST, stored: Generation(stored) }
}

fn opened(folder: &Path) -> FileSpill {
    FileSpill::open(folder, SPILL_BYTES).unwrap()
}

fn ring(folder: &TempDir, number: usize) -> PathBuf {
    folder.path().join(format!("spill-{number}.ring"))
}

fn rings(folder: &TempDir) -> usize {
    std::fs::read_dir(folder.path()).unwrap().count()
}

#[tokio::test]
async fn what_was_appended_is_there_after_a_restart_until_it_is_settled() {
    let folder = tempfile::tempdir().unwrap();
    let spill = opened(folder.path());
    spill.ready().await.unwrap();
    assert_eq!(spill.unsettled().await.unwrap(), []);
    let entries = [entry(1, 1, 10), entry(2, 5, 9000), entry(3, 9, 40_000)];
    for entry in &entries {
        spill.append(entry).await.unwrap();
    }
    assert_eq!(spill.unsettled().await.unwrap(), entries);
    spill.close().await;
    assert!(matches!(spill.append(&entries[0]).await, Err(SpillError::Unwritable(_))));

    let spill = opened(folder.path());
    assert_eq!(spill.unsettled().await.unwrap(), entries);
    assert_eq!(spill.high_marks().await.unwrap(), []);
    spill.settle(entries[1].connection, Generation(4)).await;
    spill.settle(entries[1].connection, Generation(5)).await;
    let left = [entries[0].clone(), entries[2].clone()];
    assert_eq!(spill.unsettled().await.unwrap(), left);
    spill.close().await;

    let spill = opened(folder.path());
    assert_eq!(spill.unsettled().await.unwrap(), left);
    assert_eq!(spill.high_marks().await.unwrap(), [mark(entries[1].connection, 6)]);
    spill.close().await;
    assert_eq!(rings(&folder), 1);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(ring(&folder, 0)).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[tokio::test]
async fn a_full_ring_says_so_and_overwrites_only_what_is_settled() {
    let folder = tempfile::tempdir().unwrap();
    let spill = opened(folder.path());
    let first = entry(1, 1, 100);
    spill.append(&first).await.unwrap();
    let mut kept = vec![first.clone()];
    for number in 2.. {
        let next = entry(number, 1, 8000);
        match spill.append(&next).await {
            Ok(()) => kept.push(next),
            Err(error) => {
                assert!(matches!(error, SpillError::Full), "{error:?}");
                break;
            }
        }
    }
    assert!(matches!(spill.ready().await, Err(SpillError::Full)));
    assert!(kept.len() > 80, "{}", kept.len());
    let by_name = |mut entries: Vec<SpillEntry>| {
        entries.sort_by_key(|entry| entry.connection);
        entries
    };
    assert_eq!(by_name(spill.unsettled().await.unwrap()), by_name(kept.clone()));

    // Round and round: the one that is never settled stays, whatever comes after it.
    for settled in kept.drain(1..) {
        spill.settle(settled.connection, settled.seen).await;
    }
    for round in 0..1000 {
        let next = entry(10_000 + round, 2, usize::try_from(round * 37 % 20_000).unwrap());
        spill.append(&next).await.unwrap();
        spill.settle(next.connection, next.seen).await;
    }
    spill.ready().await.unwrap();
    assert_eq!(spill.unsettled().await.unwrap(), std::slice::from_ref(&first));
    let marks = spill.high_marks().await.unwrap();
    assert!(marks.len() > 20 && marks.len() < 256, "{}", marks.len());
    spill.close().await;
    let spill = opened(folder.path());
    assert_eq!(spill.unsettled().await.unwrap(), [first]);
    assert_eq!(spill.high_marks().await.unwrap(), marks);
    assert_eq!(std::fs::metadata(ring(&folder, 0)).unwrap().len(), SPILL_BYTES as u64);
    assert!(matches!(spill.append(&entry(1, 1, 64 * 1024)).await, Err(SpillError::Full)), "too long for any ring");
}

#[tokio::test]
async fn each_process_has_a_ring_and_orphans_are_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (opened(folder.path()), opened(folder.path()));
    first.append(&entry(1, 1, 10)).await.unwrap();
    second.append(&entry(2, 1, 10)).await.unwrap();
    assert_eq!(first.unsettled().await.unwrap(), [entry(1, 1, 10)], "the other one lives");
    second.close().await;
    assert_eq!(first.unsettled().await.unwrap().len(), 2, "the other one is gone");

    let third = opened(folder.path());
    assert_eq!(third.unsettled().await.unwrap(), [], "taken over already");
    first.settle(entry(2, 1, 10).connection, Generation(1)).await;
    first.close().await;
    let fourth = opened(folder.path());
    assert_eq!(fourth.unsettled().await.unwrap(), [entry(1, 1, 10)]);
    assert_eq!(fourth.high_marks().await.unwrap(), [mark(entry(2, 1, 10).connection, 2)]);
    assert_eq!(rings(&folder), 3);
}

#[tokio::test]
async fn a_ring_in_which_nothing_waits_is_let_go_for_the_next_process() {
    let folder = tempfile::tempdir().unwrap();
    let first = opened(folder.path());
    for round in 1..=100 {
        // Another process comes, is killed with something in its hands, and the first takes it over.
        let other = opened(folder.path());
        let left = entry(round, 1, 10);
        other.append(&left).await.unwrap();
        other.close().await;
        assert_eq!(first.unsettled().await.unwrap(), std::slice::from_ref(&left));
        first.settle(left.connection, left.seen).await;
    }
    assert_eq!(first.unsettled().await.unwrap(), []);
    assert_eq!(first.high_marks().await.unwrap().len(), 100, "and what was stored is remembered");
    assert_eq!(rings(&folder), 2, "not one for each that died");
}

#[tokio::test]
async fn discarding_forgets_what_no_living_process_holds() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (opened(folder.path()), opened(folder.path()));
    first.append(&entry(1, 1, 10)).await.unwrap();
    second.append(&entry(2, 1, 10)).await.unwrap();
    first.close().await;
    assert_eq!(FileSpill::discard(folder.path()).unwrap(), 1);
    assert_eq!(second.unsettled().await.unwrap(), [entry(2, 1, 10)]);
    second.close().await;
    assert_eq!(FileSpill::discard(folder.path()).unwrap(), 1);
    assert_eq!(rings(&folder), 0);
    let fresh = opened(folder.path());
    assert_eq!(fresh.unsettled().await.unwrap(), []);
    assert_eq!(fresh.high_marks().await.unwrap(), []);
}

#[tokio::test]
async fn many_at_once_are_all_kept() {
    let folder = tempfile::tempdir().unwrap();
    let spill = opened(folder.path());
    let entries: Vec<_> = (0..150).map(|number| entry(number, 1, 1000)).collect();
    let outcomes = futures_util::future::join_all(entries.iter().map(|entry| spill.append(entry))).await;
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    assert_eq!(spill.unsettled().await.unwrap().len(), entries.len());
}

#[tokio::test]
async fn what_is_no_spill_is_not_overwritten_and_a_removed_one_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(ring(&folder, 0), "somebody's notes").unwrap();
    let error = FileSpill::open(folder.path(), SPILL_BYTES).unwrap_err();
    assert!(error.to_string().contains("cannot be used"), "{error}");
    assert_eq!(std::fs::read(ring(&folder, 0)).unwrap(), b"somebody's notes");

    std::fs::remove_file(ring(&folder, 0)).unwrap();
    let spill = opened(folder.path());
    spill.append(&entry(1, 1, 10)).await.unwrap();
    std::fs::remove_file(ring(&folder, 0)).unwrap();
    assert!(matches!(spill.ready().await, Err(SpillError::Unwritable(_))));
    assert!(matches!(spill.append(&entry(2, 1, 10)).await, Err(SpillError::Unwritable(_))));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]
    /// Whatever happens to the bytes, what is read was written, or the file is refused.
    #[test]
    fn damage_never_makes_an_entry(
        sizes in proptest::collection::vec(0usize..20_000, 1..12),
        settled in any::<prop::sample::Index>(),
        cut in proptest::option::of(any::<prop::sample::Index>()),
        flips in proptest::collection::vec((0usize..200_000, 0u8..8), 0..4),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let spill = opened(folder.path());
            let entries: Vec<_> = (0..).zip(&sizes).map(|(number, size)| entry(number, 1, *size)).collect();
            for entry in &entries {
                spill.append(entry).await.unwrap();
            }
            let done = settled.index(entries.len());
            spill.settle(entries[done].connection, Generation(1)).await;
            spill.close().await;

            let mut bytes = std::fs::read(ring(&folder, 0)).unwrap();
            for (byte, bit) in &flips {
                bytes[*byte] ^= 1 << bit;
            }
            if let Some(cut) = cut {
                bytes.truncate(cut.index(200_000));
            }
            std::fs::write(ring(&folder, 0), &bytes).unwrap();
            let Ok(spill) = FileSpill::open(folder.path(), SPILL_BYTES) else { return };
            let found = spill.unsettled().await.unwrap();
            assert!(found.iter().all(|found| entries.contains(found)));
            for entry in &entries {
                let of_it = found.iter().filter(|found| found.connection == entry.connection).cloned();
                let seen = spill.everywhere(entry.connection).await.unwrap();
                assert_eq!(seen, of_it.collect::<Vec<_>>(), "whoever only looks sees the same");
            }
            if flips.is_empty() && cut.is_none() {
                assert_eq!(found.len(), entries.len() - 1);
            }
            // And it goes on working.
            spill.append(&entry(99, 7, 10)).await.unwrap();
            assert!(spill.unsettled().await.unwrap().contains(&entry(99, 7, 10)));
            spill.close().await;
        });
    }
}
