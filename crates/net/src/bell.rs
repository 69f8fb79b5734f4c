//! Who is woken when something happens on a connection that is driven by the task that waits for its answer.
//!
//! The two ends of such a connection live in one task and pass things to each other by channels. Each hand-over wakes
//! the other end, which is the task that is running just then: it would be run once more, from its outermost future
//! down, only to find that nothing is left to do. A bell keeps these wakings inside: the connection is looked at again
//! at once, and the task is woken for what comes from elsewhere alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

/// How often a connection is looked at in a row before its task is woken like any other.
const ROUNDS: usize = 4;

/// The bell of one connection.
pub(crate) struct Bell {
    wires: Arc<Wires>,
    /// The wires again, in the form that futures want.
    waker: Waker,
}

struct Wires {
    /// Somebody looks at the connection, and will see for itself.
    attended: AtomicBool,
    rung: AtomicBool,
    caller: AtomicWaker,
}

impl Bell {
    pub(crate) fn new() -> Self {
        let (attended, rung) = (AtomicBool::new(false), AtomicBool::new(false));
        let wires = Arc::new(Wires { attended, rung, caller: AtomicWaker::new() });
        Self { waker: Waker::from(Arc::clone(&wires)), wires }
    }

    /// Looks at the connection until nothing rings any more. The task of `cx` is woken when it rings later.
    pub(crate) fn attend<T>(&self, cx: &mut Context<'_>, mut look: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        self.wires.caller.register(cx.waker());
        let outcome = self.attended(|| {
            for _ in 0..ROUNDS {
                self.wires.rung.store(false, Ordering::SeqCst);
                let outcome = look(&mut Context::from_waker(&self.waker));
                if outcome.is_ready() || !self.wires.rung.load(Ordering::SeqCst) {
                    return outcome;
                }
            }
            Poll::Pending
        });
        // It may have rung between the last look and the end of attendance, or it does not stop (a task that has used up
        // its share of time is told so by a ring).
        if outcome.is_pending() && self.wires.rung.load(Ordering::SeqCst) {
            cx.waker().wake_by_ref();
        }
        outcome
    }

    /// Does something whose ringing means nothing, since the connection is attended to right after it.
    pub(crate) fn attended<T>(&self, act: impl FnOnce() -> T) -> T {
        self.wires.attended.store(true, Ordering::SeqCst);
        let done = act();
        self.wires.attended.store(false, Ordering::SeqCst);
        done
    }
}

impl Wake for Wires {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // In this order, and the other way round in `attend`: one of the two sees what the other has written.
        self.rung.store(true, Ordering::SeqCst);
        if !self.attended.load(Ordering::SeqCst) {
            self.caller.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Task(AtomicUsize);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Task {
        fn woken(&self) -> usize {
            self.0.swap(0, Ordering::Relaxed)
        }
    }

    #[test]
    fn a_ring_from_inside_is_looked_after_at_once_and_one_from_outside_wakes() {
        let (bell, task) = (Bell::new(), Arc::new(Task::default()));
        let waker = Waker::from(Arc::clone(&task));
        let mut cx = Context::from_waker(&waker);
        let (mut looks, mut kept) = (0, None);
        let outcome: Poll<()> = bell.attend(&mut cx, |cx| {
            looks += 1;
            kept = Some(cx.waker().clone());
            if looks == 1 {
                cx.waker().wake_by_ref();
            }
            Poll::Pending
        });
        assert_eq!((outcome, looks, task.woken()), (Poll::Pending, 2, 0));
        kept.unwrap().wake();
        assert_eq!(task.woken(), 1);
        bell.attended(|| bell.waker.wake_by_ref());
        assert_eq!(task.woken(), 0);
    }

    #[test]
    fn a_bell_that_does_not_stop_wakes_the_task() {
        let (bell, task) = (Bell::new(), Arc::new(Task::default()));
        let waker = Waker::from(Arc::clone(&task));
        let outcome: Poll<()> = bell.attend(&mut Context::from_waker(&waker), |cx| {
            cx.waker().wake_by_ref();
            Poll::Pending
        });
        assert_eq!((outcome, task.woken()), (Poll::Pending, 1));
    }

    #[test]
    fn no_ring_from_another_thread_is_lost() {
        let bell = Bell::new();
        for _ in 0..2_000 {
            let task = Arc::new(Task::default());
            let waker = Waker::from(Arc::clone(&task));
            let (done, ringing) = (AtomicBool::new(false), bell.waker.clone());
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    done.store(true, Ordering::SeqCst);
                    ringing.wake_by_ref();
                });
                let look =
                    |_: &mut Context<'_>| if done.load(Ordering::SeqCst) { Poll::Ready(()) } else { Poll::Pending };
                let outcome = bell.attend(&mut Context::from_waker(&waker), look);
                if outcome.is_pending() {
                    // What it waited for came afterwards, so it must be told.
                    while task.0.load(Ordering::Relaxed) == 0 {
                        std::thread::yield_now();
                    }
                }
            });
        }
    }
}
