//! One renewal at a time for each account, however many callers want it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

/// Work under way, by key. Who comes while it is under way waits, and takes its outcome.
#[derive(Debug)]
pub(crate) struct Flights<K, T>(Mutex<HashMap<K, Arc<Flight<T>>>>);

#[derive(Debug)]
struct Flight<T> {
    outcome: Mutex<Outcome<T>>,
    landed: Condvar,
}

#[derive(Debug)]
enum Outcome<T> {
    UnderWay,
    Landed(T),
    /// The one who did it panicked.
    Crashed,
}

impl<K, T> Default for Flights<K, T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Copy + Eq + Hash, T: Clone> Flights<K, T> {
    /// Does the work, or waits for whoever is doing it. After a crash, one of those who waited does it.
    pub(crate) fn join(&self, key: K, work: impl Fn() -> T) -> T {
        loop {
            let mut flights = self.0.lock();
            if let Some(flight) = flights.get(&key).cloned() {
                drop(flights);
                let mut outcome = flight.outcome.lock();
                while matches!(*outcome, Outcome::UnderWay) {
                    flight.landed.wait(&mut outcome);
                }
                if let Outcome::Landed(result) = &*outcome {
                    return result.clone();
                }
                continue;
            }
            let flight = Arc::new(Flight { outcome: Mutex::new(Outcome::UnderWay), landed: Condvar::new() });
            flights.insert(key, flight.clone());
            drop(flights);
            let landing = Landing { flights: self, key, flight, outcome: Outcome::Crashed };
            return landing.with(work());
        }
    }
}

/// Ends the flight when it is dropped, whatever became of it.
struct Landing<'a, K: Copy + Eq + Hash, T: Clone> {
    flights: &'a Flights<K, T>,
    key: K,
    flight: Arc<Flight<T>>,
    outcome: Outcome<T>,
}

impl<K: Copy + Eq + Hash, T: Clone> Landing<'_, K, T> {
    fn with(mut self, result: T) -> T {
        self.outcome = Outcome::Landed(result.clone());
        result
    }
}

impl<K: Copy + Eq + Hash, T: Clone> Drop for Landing<'_, K, T> {
    fn drop(&mut self) {
        self.flights.0.lock().remove(&self.key);
        *self.flight.outcome.lock() = std::mem::replace(&mut self.outcome, Outcome::Crashed);
        self.flight.landed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_crowd_makes_one_flight_and_two_keys_make_two() {
        let (flights, flown, start) = (Flights::<u8, usize>::default(), AtomicUsize::new(0), Barrier::new(16));
        std::thread::scope(|scope| {
            for seat in 0..16_u8 {
                let (flights, flown, start) = (&flights, &flown, &start);
                scope.spawn(move || {
                    start.wait();
                    flights.join(seat % 2, || {
                        // Long enough for all others to come.
                        std::thread::sleep(Duration::from_millis(300));
                        flown.fetch_add(1, Ordering::SeqCst)
                    })
                });
            }
        });
        assert_eq!(flown.load(Ordering::SeqCst), 2);
        assert!(flights.0.lock().is_empty(), "nothing is left behind");
    }

    #[test]
    fn after_a_crash_another_takes_over() {
        let (flights, start) = (Flights::<(), u8>::default(), Barrier::new(2));
        std::thread::scope(|scope| {
            let crashing = scope.spawn(|| {
                flights.join((), || {
                    start.wait();
                    std::thread::sleep(Duration::from_millis(100));
                    panic!("on purpose")
                })
            });
            start.wait();
            assert_eq!(flights.join((), || 7), 7);
            assert!(crashing.join().is_err());
        });
    }
}
