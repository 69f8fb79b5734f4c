//! Threads that serve, each by itself.
//!
//! A request stays on the thread that its connection was given to: it is read, answered and, when it is passed on,
//! waited for there. With one scheduler over all threads a small call is handed back and forth between them several
//! times, and waking a thread costs more than anything else that is done for it.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use tokio::runtime::Builder;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

type Visit = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Makes the future of a visit; called on the thread that will run it, so that the sockets in it belong there.
type Arrival = Box<dyn FnOnce() -> Visit + Send>;

/// The threads. Work that a visit leaves behind (a refresh that must run to its end) lives on its thread: keep the crew
/// until nothing of that is left.
#[derive(Debug)]
pub struct Crew {
    members: Vec<Member>,
    next: AtomicUsize,
}

#[derive(Debug)]
struct Member {
    arrivals: Option<UnboundedSender<Arrival>>,
    thread: Option<JoinHandle<()>>,
}

impl Crew {
    /// Starts threads, at least one.
    pub fn start(threads: usize) -> io::Result<Self> {
        let members = (0..threads.max(1)).map(Member::start).collect::<io::Result<_>>()?;
        Ok(Self { members, next: AtomicUsize::new(0) })
    }

    /// Gives a visit to the next thread in turn.
    pub(super) fn receive(&self, arrival: Arrival) {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.members.len();
        if let Some(arrivals) = &self.members[turn].arrivals {
            // A thread that is gone has panicked; the visitor sees a closed connection and comes back.
            if arrivals.send(arrival).is_err() {
                tracing::error!(turn, "a serving thread is gone");
            }
        }
    }
}

impl Member {
    fn start(number: usize) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (arrivals, mut waiting) = unbounded_channel::<Arrival>();
        let serve = move || {
            runtime.block_on(async move {
                while let Some(arrival) = waiting.recv().await {
                    tokio::spawn(arrival());
                }
            });
        };
        let thread = std::thread::Builder::new().name(format!("serve-{number}")).spawn(serve)?;
        Ok(Self { arrivals: Some(arrivals), thread: Some(thread) })
    }
}

impl Drop for Crew {
    /// Ends the threads and whatever still runs on them.
    fn drop(&mut self) {
        for member in &mut self.members {
            member.arrivals = None;
        }
        for member in &mut self.members {
            if let Some(thread) = member.thread.take()
                && thread.join().is_err()
            {
                tracing::error!("a serving thread had panicked");
            }
        }
    }
}
