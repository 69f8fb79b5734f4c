use async_trait::async_trait;
use bowerbird_core::ports::StoreError;
use bowerbird_core::testing::{SeededEntropy, TestClock};

use super::*;

/// Answers what it is told to, and notes what it was asked.
#[derive(Default)]
struct Told {
    changes: Mutex<DeviceChanges>,
    asked: Mutex<Vec<i64>>,
}

#[async_trait]
impl DeviceChangeLog for Told {
    async fn since(&self, revision: i64) -> Result<DeviceChanges, StoreError> {
        self.asked.lock().push(revision);
        Ok(self.changes.lock().clone())
    }

    async fn purge(&self) -> Result<u64, StoreError> {
        Ok(0)
    }
}

const SECOND: Duration = Duration::from_secs(1);

fn bench() -> (Arc<Told>, Arc<TestClock>, DeviceLog, DeviceSessionId) {
    let (told, clock) = (Arc::new(Told::default()), Arc::new(TestClock::new()));
    let log = DeviceLog::new(told.clone(), clock.clone());
    (told, clock, log, DeviceSessionId::random(&SeededEntropy::new(1)))
}

fn says(told: &Told, head: i64, floor: i64, changed: &[(&DeviceSessionId, i64)]) {
    let changed = changed.iter().map(|(id, revision)| ((*id).clone(), *revision)).collect();
    *told.changes.lock() = DeviceChanges { head, floor, changed };
}

#[tokio::test]
async fn a_copy_counts_between_floor_and_head_unless_it_changed() {
    let (told, clock, log, id) = bench();
    assert!(!log.counts(&id, 0), "nothing is known yet");
    says(&told, 50, 10, &[(&id, 30)]);
    assert_eq!(log.reading(SECOND).await, Some(Reading { head: 50, at: 0 }));
    let counting: Vec<i64> =
        [0, 9, 10, 29, 30, 50, 51].into_iter().filter(|&revision| log.counts(&id, revision)).collect();
    assert_eq!(counting, [30, 50]);
    let other = DeviceSessionId::random(&SeededEntropy::new(2));
    let counting: Vec<i64> = [0, 9, 10, 50, 51].into_iter().filter(|&revision| log.counts(&other, revision)).collect();
    assert_eq!(counting, [10, 50]);

    clock.advance(SECOND);
    says(&told, 70, 40, &[(&id, 70)]);
    log.reading(SECOND).await.unwrap();
    assert_eq!(*told.asked.lock(), [0, 50], "asked for what is new");
    assert!(!log.counts(&id, 50) && log.counts(&id, 70) && !log.counts(&other, 30) && log.counts(&other, 50));
}

#[tokio::test]
async fn it_is_asked_four_times_a_second_at_most() {
    let (told, clock, log, _) = bench();
    for _ in 0..1000 {
        assert!(log.reading(SECOND).await.is_some());
        clock.advance(Duration::from_millis(5));
    }
    assert_eq!(told.asked.lock().len(), 20);
}

#[tokio::test]
async fn news_count_before_the_log_is_asked() {
    let (told, clock, log, id) = bench();
    says(&told, 5, 0, &[]);
    log.reading(SECOND).await.unwrap();
    assert!(log.counts(&id, 5));
    log.heard(&id);
    assert!(!log.counts(&id, 5));
    clock.advance(SECOND);
    says(&told, 6, 0, &[(&id, 6)]);
    log.reading(SECOND).await.unwrap();
    assert!(log.counts(&id, 6) && !log.counts(&id, 5), "asked, so the log decides again");

    for number in 0..=HEARD as u64 {
        log.heard(&DeviceSessionId::random(&SeededEntropy::new(number)));
    }
    assert_eq!(log.known.lock().heard.len(), 1, "news do not pile up");
    log.reading(SECOND).await.unwrap();
    assert_eq!(told.asked.lock().len(), 3, "asked before its time");

    log.missed();
    log.reading(SECOND).await.unwrap();
    assert_eq!(told.asked.lock().len(), 4, "asked before its time");
}

#[tokio::test]
async fn too_many_changes_are_forgotten_with_every_copy_of_before() {
    let (told, _clock, log, id) = bench();
    let many: Vec<_> =
        (0..=REMEMBERED as u64).map(|number| DeviceSessionId::random(&SeededEntropy::new(number))).collect();
    let changed = many.into_iter().zip(1..).collect();
    *told.changes.lock() = DeviceChanges { head: 900_000, floor: 0, changed };
    log.reading(SECOND).await.unwrap();
    assert!(!log.counts(&id, 899_999) && log.counts(&id, 900_000));
    assert!(log.known.lock().changed.is_empty());
}
