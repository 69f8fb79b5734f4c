//! What is tried again, how often, and after which pause (rows ).

use std::time::Duration;

/// Before the second, third and fourth try, where the server could not be reached.
pub const NETWORK_PAUSES: [Duration; 3] = [Duration::from_secs(2), Duration::from_secs(4), Duration::from_secs(8)];
/// Before the second and third try, where the server failed.
pub const SERVER_PAUSES: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(4)];
/// The longest pause that a server may ask for; beyond it the person is told at once.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Who failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The server was not reached, or its answer never came.
    Network,
    /// The server answered that it cannot; it may have said for how long.
    Server(Option<Duration>),
}

impl Trouble {
    /// How long to wait after the `failures`th failure in a row; `None` when it is enough.
    pub fn pause(self, failures: usize) -> Option<Duration> {
        let nth = failures.checked_sub(1)?;
        match self {
            Self::Network => NETWORK_PAUSES.get(nth).copied(),
            Self::Server(wanted) => {
                let pause = SERVER_PAUSES.get(nth).copied()?.max(wanted.unwrap_or_default());
                (pause <= LONGEST_PAUSE).then_some(pause)
            }
        }
    }
}

/// How one try went.
pub(crate) enum Try<T, E> {
    /// It is over, well or badly.
    Over(Result<T, E>),
    /// It may go better a little later; the error is for when it does not.
    Again(Trouble, E),
}

/// Tries until it is over or enough.
pub(crate) fn persevere<T, E>(pause: &dyn crate::ports::Pause, mut attempt: impl FnMut() -> Try<T, E>) -> Result<T, E> {
    let mut failures = 0;
    loop {
        match attempt() {
            Try::Over(result) => return result,
            Try::Again(trouble, error) => {
                failures += 1;
                match trouble.pause(failures) {
                    Some(duration) => pause.pause(duration),
                    None => return Err(error),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;
    use crate::ports::Pause;

    #[derive(Default)]
    struct Noted(Mutex<Vec<u64>>);

    impl Pause for Noted {
        fn pause(&self, duration: Duration) {
            self.0.lock().push(duration.as_secs());
        }
    }

    fn pauses(trouble: Trouble) -> (Vec<u64>, usize) {
        let (noted, mut tries) = (Noted::default(), 0);
        let result: Result<(), ()> = persevere(&noted, || {
            tries += 1;
            Try::Again(trouble, ())
        });
        assert!(result.is_err());
        (noted.0.into_inner(), tries)
    }

    #[test]
    fn the_documented_pauses_and_no_more() {
        assert_eq!(pauses(Trouble::Network), (vec![2, 4, 8], 4));
        assert_eq!(pauses(Trouble::Server(None)), (vec![2, 4], 3));
    }

    #[test]
    fn a_servers_wish_is_kept_within_reason() {
        assert_eq!(pauses(Trouble::Server(Some(Duration::from_secs(3)))), (vec![3, 4], 3));
        assert_eq!(pauses(Trouble::Server(Some(Duration::from_hours(1)))), (vec![], 1));
    }

    #[test]
    fn success_ends_it() {
        let (noted, mut tries) = (Noted::default(), 0);
        let result: Result<usize, ()> = persevere(&noted, || {
            tries += 1;
            if tries < 3 { Try::Again(Trouble::Network, ()) } else { Try::Over(Ok(tries)) }
        });
        assert_eq!((result, noted.0.into_inner()), (Ok(3), vec![2, 4]));
    }
}
