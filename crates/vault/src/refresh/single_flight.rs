//! At most one refresh per connection in this process.

use std::collections::HashMap;
use std::sync::Arc;

use bowerbird_core::ConnectionId;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::{Delay, FlightEnd, Later};

/// How far a refresh is.
#[derive(Clone)]
pub(crate) enum Progress {
    /// Under way.
    Running,
    /// An answer is here and the store does not take it; the task goes on trying.
    Unsaved,
    /// Over.
    Ended(FlightEnd),
}

/// The refreshes under way. Each runs on a task of its own: whoever waits holds a receiver and nothing else, so that a
/// caller who gives up cannot take the answer of a server down with them.
#[derive(Default)]
pub(crate) struct SingleFlight {
    flights: Mutex<HashMap<ConnectionId, watch::Receiver<Progress>>>,
    landed: Notify,
}

/// The task's side of a refresh.
pub(crate) struct Flight {
    progress: watch::Sender<Progress>,
    // The entry goes when the task ends, however it ends: a panic too lets the next caller start anew (and then wait
    // out the quiet time, like after a crash).
    _landing: Landing,
}

struct Landing {
    flights: Arc<SingleFlight>,
    connection: ConnectionId,
}

impl SingleFlight {
    /// Joins the flight of a connection, or starts one.
    pub(crate) fn join<F, R>(self: &Arc<Self>, connection: ConnectionId, run: F) -> watch::Receiver<Progress>
    where
        F: FnOnce(Arc<Flight>) -> R + Send + 'static,
        R: Future<Output = FlightEnd> + Send + 'static,
    {
        let (progress, receiver) = watch::channel(Progress::Running);
        {
            let mut flights = self.flights.lock();
            if let Some(running) = flights.get(&connection) {
                return running.clone();
            }
            flights.insert(connection, receiver.clone());
        }
        let landing = Landing { flights: Arc::clone(self), connection };
        let flight = Arc::new(Flight { progress, _landing: landing });
        tokio::spawn(async move {
            let end = run(Arc::clone(&flight)).await;
            flight.progress.send_replace(Progress::Ended(end));
        });
        receiver
    }

    /// The flight of a connection, if one is under way.
    pub(crate) fn current(&self, connection: ConnectionId) -> Option<watch::Receiver<Progress>> {
        self.flights.lock().get(&connection).cloned()
    }

    /// How many are under way.
    pub(crate) fn count(&self) -> usize {
        self.flights.lock().len()
    }

    /// Waits until none is under way.
    pub(crate) async fn all_landed(&self) {
        loop {
            let landed = self.landed.notified();
            tokio::pin!(landed);
            // Registered before the count is read, or a landing between the two would be missed.
            landed.as_mut().enable();
            if self.count() == 0 {
                return;
            }
            landed.await;
        }
    }
}

impl Flight {
    /// Tells everyone who waits that the answer is here but not stored.
    pub(crate) fn tell_unsaved(&self) {
        self.progress.send_replace(Progress::Unsaved);
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.flights.flights.lock().remove(&self.connection);
        self.flights.landed.notify_waiters();
    }
}

/// Waits for the end of a flight, or for the news that its answer cannot be stored for now.
pub(crate) async fn outcome(mut flight: watch::Receiver<Progress>) -> FlightEnd {
    match flight.wait_for(|progress| !matches!(progress, Progress::Running)).await.as_deref() {
        Ok(Progress::Ended(end)) => end.clone(),
        Ok(Progress::Unsaved) => FlightEnd::Unsaved(Later::because(Delay::Unsaved)),
        Ok(Progress::Running) | Err(_) => FlightEnd::Later(Later::because(Delay::NoOutcome)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bowerbird_core::testing::SeededEntropy;

    use super::*;

    #[tokio::test]
    async fn who_joins_a_flight_starts_none_and_gets_its_end() {
        let flights = Arc::new(SingleFlight::default());
        let connection = ConnectionId::random(&SeededEntropy::new(1));
        let runs = Arc::new(AtomicUsize::new(0));
        let join = || {
            let runs = Arc::clone(&runs);
            flights.join(connection, move |_| async move {
                runs.fetch_add(1, Ordering::SeqCst);
                FlightEnd::Gone
            })
        };
        let joined = [join(), join(), join()];
        assert_eq!(flights.count(), 1);
        for flight in joined {
            assert!(matches!(outcome(flight).await, FlightEnd::Gone));
        }
        flights.all_landed().await;
        assert_eq!((runs.load(Ordering::SeqCst), flights.count()), (1, 0));
        assert!(matches!(outcome(join()).await, FlightEnd::Gone));
        assert_eq!(runs.load(Ordering::SeqCst), 2, "a later caller starts anew");
    }
}
