//! What became of every refresh token that went past the proxy. It keeps digests only.
//!
//! Nothing is judged while it happens: whether a token was known to be spent when it was shown again depends on when a process
//! was killed, and that is known afterwards.

use parking_lot::Mutex;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

/// Tells one refresh token from another without being one.
pub(super) type Mark = [u8; 16];

/// How much of an answer was handed to the kernel of the machine that asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Passed {
    Nothing,
    Part,
    Whole(Instant),
}

/// What came of a refresh token that was shown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Outcome {
    /// The proxy kept it from the server.
    Withheld,
    /// The server has it, and has not answered, or answered with nothing of use.
    Unknown,
    /// The server wants another nonce, and did not look at the token.
    Challenged,
    /// `invalid_grant`.
    Refused,
    /// The server gave this one in its place.
    Replaced(Mark),
}

struct Send {
    at: Instant,
    outcome: Outcome,
}

struct Token {
    owner: String,
    minted: Instant,
    passed: Passed,
    sends: Vec<Send>,
}

#[derive(Default)]
struct Book {
    tokens: HashMap<Mark, Token>,
    deaths: HashMap<String, Vec<Death>>,
    served: HashMap<String, Vec<Instant>>,
    strangers: u64,
}

/// From a kill to the start of the next process.
struct Death {
    at: Instant,
    until: Option<Instant>,
}

/// The ledger of a whole run.
#[derive(Default)]
pub(super) struct Ledger(Mutex<Book>);

/// Names one time that a token was shown.
#[derive(Clone, Copy)]
pub(super) struct Ticket(Mark, usize);

/// The sums over the tokens of some people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Sums {
    /// Tokens that the server replaced.
    pub(super) refreshes: u64,
    /// Tokens that were shown, each counted once: so many times an access token ended and was wanted.
    pub(super) expiries: u64,
    /// Token requests, without those that only fetched a nonce.
    pub(super) requests: u64,
    /// Requests that only fetched a nonce.
    pub(super) challenges: u64,
    /// A spent token was shown while its successor was known to us. Must be 0.
    pub(super) replays: u64,
    /// A spent token was shown again, once nothing else could tell what had become of it.
    pub(super) resent_spent: u64,
    /// A token was shown again that the server had not used.
    pub(super) resent_unspent: u64,
    /// A token was shown although its access token was too young to need it. Must be 0.
    pub(super) early: u64,
}

/// Why a person must sign in again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Loss {
    /// The server rotated, and no byte of its answer came back to a living process.
    NoByte,
    /// It rotated, and the answer was cut short.
    CutShort,
    /// The whole answer was handed over so long before the kill, and was not on the disk yet.
    Unwritten(Duration),
    /// Anything else.
    Ours,
}

/// How a kill and an answer must lie to each other for the kill to be to blame.
#[derive(Clone, Copy)]
pub(super) struct Rules {
    /// An answer that was passed longer than this before the kill must have been stored.
    pub(super) window: Duration,
    /// An access token younger than this is not renewed.
    pub(super) youngest: Duration,
}

/// The digest of a refresh token.
pub(super) fn mark(token: &str) -> Mark {
    let digest = Sha256::digest(token.as_bytes());
    let mut mark = Mark::default();
    mark.copy_from_slice(&digest[..16]);
    mark
}

impl Ledger {
    /// A sign-in: the first token of a grant.
    pub(super) fn granted(&self, owner: &str, token: Mark, minted: Instant) {
        let token_of = Token { owner: owner.to_owned(), minted, passed: Passed::Whole(minted), sends: Vec::new() };
        self.0.lock().tokens.insert(token, token_of);
    }

    /// A token was shown. None for one that nobody was seen to be given.
    pub(super) fn shown(&self, token: Mark, at: Instant) -> Option<(Ticket, String)> {
        let mut book = self.0.lock();
        let Some(known) = book.tokens.get_mut(&token) else {
            book.strangers += 1;
            return None;
        };
        known.sends.push(Send { at, outcome: Outcome::Unknown });
        Some((Ticket(token, known.sends.len() - 1), known.owner.clone()))
    }

    /// What came of it; a successor is entered with nothing of its answer passed on.
    pub(super) fn ended(&self, ticket: Ticket, outcome: Outcome, at: Instant) {
        let mut book = self.0.lock();
        let Some(token) = book.tokens.get_mut(&ticket.0) else { return };
        token.sends[ticket.1].outcome = outcome;
        let owner = token.owner.clone();
        if let Outcome::Replaced(successor) = outcome {
            let token = Token { owner, minted: at, passed: Passed::Nothing, sends: Vec::new() };
            book.tokens.insert(successor, token);
        }
    }

    /// How much of the answer with this token was passed on.
    pub(super) fn passed(&self, token: Mark, passed: Passed) {
        if let Some(token) = self.0.lock().tokens.get_mut(&token) {
            token.passed = passed;
        }
    }

    /// The process that acts for these people was killed.
    pub(super) fn killed(&self, owners: &[String], at: Instant) {
        let mut book = self.0.lock();
        for owner in owners {
            book.deaths.entry(owner.clone()).or_default().push(Death { at, until: None });
        }
    }

    /// It is about to be started again: what comes from now on is from the new process.
    pub(super) fn restarted(&self, owners: &[String], at: Instant) {
        let mut book = self.0.lock();
        for owner in owners {
            if let Some(death) = book.deaths.get_mut(owner).and_then(|deaths| deaths.last_mut()) {
                death.until.get_or_insert(at);
            }
        }
    }

    /// Somebody got an answer for which a stored access token was needed.
    pub(super) fn served(&self, owner: &str, at: Instant) {
        self.0.lock().served.entry(owner.to_owned()).or_default().push(at);
    }

    /// Tokens that came from nowhere: the proxy missed something, and the figures are worth nothing.
    pub(super) fn strangers(&self) -> u64 {
        self.0.lock().strangers
    }

    /// Adds up over these people.
    pub(super) fn sums(&self, owners: &HashSet<String>, rules: Rules) -> Sums {
        let book = self.0.lock();
        let mut sums = Sums::default();
        for token in book.tokens.values().filter(|token| owners.contains(&token.owner)) {
            let sends: Vec<&Send> = token.sends.iter().filter(|send| send.outcome != Outcome::Challenged).collect();
            sums.challenges += (token.sends.len() - sends.len()) as u64;
            sums.requests += sends.len() as u64;
            sums.refreshes += u64::from(sends.iter().any(|send| matches!(send.outcome, Outcome::Replaced(_))));
            let Some(first) = sends.first() else { continue };
            sums.expiries += 1;
            sums.early += u64::from(first.at.duration_since(token.minted) < rules.youngest);
            for (number, send) in sends.iter().enumerate().skip(1) {
                match book.replacement(&sends[..number]) {
                    Some((asked, successor)) if book.knew(successor, asked, send.at, rules) => sums.replays += 1,
                    Some(_) => sums.resent_spent += 1,
                    None => sums.resent_unspent += 1,
                }
            }
        }
        sums
    }

    /// What happened to the last token that was shown for somebody, in milliseconds from then.
    pub(super) fn story(&self, owner: &str) -> String {
        let book = self.0.lock();
        let shown = book.tokens.values().filter(|token| token.owner == owner && !token.sends.is_empty());
        let Some(newest) = shown.max_by_key(|token| token.sends.last().map(|send| send.at)) else {
            return format!("{owner}: no token was ever shown");
        };
        let from = newest.sends[0].at;
        let millis = |at: Instant| match at.checked_duration_since(from) {
            Some(after) => format!("+{:.1}", after.as_secs_f64() * 1e3),
            None => format!("-{:.1}", from.duration_since(at).as_secs_f64() * 1e3),
        };
        let mut story = vec![format!("{owner}: minted {}", millis(newest.minted))];
        for send in &newest.sends {
            let what = match send.outcome {
                Outcome::Withheld => "withheld".to_owned(),
                Outcome::Unknown => "no outcome".to_owned(),
                Outcome::Challenged => "nonce wanted".to_owned(),
                Outcome::Refused => "refused".to_owned(),
                Outcome::Replaced(successor) => match book.tokens.get(&successor).map(|token| token.passed) {
                    Some(Passed::Whole(at)) => format!("replaced, passed on whole {}", millis(at)),
                    Some(Passed::Part) => "replaced, passed on in part".to_owned(),
                    Some(Passed::Nothing) | None => "replaced, not passed on".to_owned(),
                },
            };
            story.push(format!("shown {} ({what})", millis(send.at)));
        }
        for death in book.deaths.get(owner).into_iter().flatten() {
            let until = death.until.map_or_else(|| "never".to_owned(), millis);
            story.push(format!("killed {} and started {until}", millis(death.at)));
        }
        story.extend(book.served.get(owner).into_iter().flatten().map(|at| format!("served {}", millis(*at))));
        story.join(", ")
    }

    /// Why a person must sign in again, by the newest token that was shown for them.
    pub(super) fn loss(&self, owner: &str, rules: Rules) -> Loss {
        let book = self.0.lock();
        let shown = book.tokens.values().filter(|token| token.owner == owner && !token.sends.is_empty());
        let Some(newest) = shown.max_by_key(|token| token.sends.last().map(|send| send.at)) else { return Loss::Ours };
        let sends: Vec<&Send> = newest.sends.iter().collect();
        let Some((asked, successor)) = book.replacement(&sends) else { return Loss::Ours };
        match book.fate(successor, asked, rules) {
            Fate::NoByte => Loss::NoByte,
            Fate::CutShort => Loss::CutShort,
            Fate::Unwritten(gap) => Loss::Unwritten(gap),
            Fate::Ours => Loss::Ours,
        }
    }
}

/// Whose hands an answer was in when its process was killed.
#[derive(PartialEq)]
enum Fate {
    NoByte,
    CutShort,
    Unwritten(Duration),
    Ours,
}

impl Book {
    /// When the server replaced a token, and by which.
    fn replacement<'a>(&'a self, sends: &[&Send]) -> Option<(Instant, &'a Token)> {
        sends.iter().find_map(|send| match send.outcome {
            Outcome::Replaced(successor) => Some((send.at, self.tokens.get(&successor)?)),
            _ => None,
        })
    }

    /// Whether we held a successor when its predecessor was shown once more.
    fn knew(&self, successor: &Token, asked: Instant, at: Instant, rules: Rules) -> bool {
        successor.sends.iter().any(|send| send.at < at) || self.fate(successor, asked, rules) == Fate::Ours
    }

    fn fate(&self, successor: &Token, asked: Instant, rules: Rules) -> Fate {
        let passed = match successor.passed {
            Passed::Nothing => return Fate::NoByte,
            Passed::Part => return Fate::CutShort,
            Passed::Whole(at) => at,
        };
        // The first death that ended after the token was seen is the one that met its answer. It may have begun before: what a
        // process sent with its last breath is read here when it is dead.
        let met = |death: &&Death| death.until.is_none_or(|until| until > asked);
        let deaths = self.deaths.get(&successor.owner);
        let Some(kill) = deaths.and_then(|deaths| deaths.iter().find(met)).map(|death| death.at) else {
            return Fate::Ours;
        };
        let served = self.served.get(&successor.owner);
        if served.is_some_and(|served| served.iter().any(|at| (passed..kill).contains(at))) {
            // An answer that needed the new access token says that it was stored.
            return Fate::Ours;
        }
        match kill.checked_duration_since(passed) {
            // The kernel took the bytes, and had nobody left to give them to.
            None => Fate::NoByte,
            Some(gap) if gap <= rules.window => Fate::Unwritten(gap),
            Some(_) => Fate::Ours,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules { window: Duration::from_millis(500), youngest: Duration::from_secs(1) };
    const OWNER: &str = "did:plc:one";

    /// A grant whose token `a` was sent after two seconds and replaced by `b` a tenth of a second later.
    struct Story {
        ledger: Ledger,
        begun: Instant,
    }

    impl Story {
        fn new(passed: fn(Instant) -> Passed) -> Self {
            let story = Self { ledger: Ledger::default(), begun: Instant::now() };
            story.ledger.granted(OWNER, mark("a"), story.begun);
            story.send("a", 2000, Some(Outcome::Replaced(mark("b"))));
            story.ledger.passed(mark("b"), passed(story.at(2100)));
            story
        }

        fn at(&self, millis: u64) -> Instant {
            self.begun + Duration::from_millis(millis)
        }

        fn send(&self, token: &str, millis: u64, outcome: Option<Outcome>) {
            let (ticket, owner) = self.ledger.shown(mark(token), self.at(millis)).unwrap();
            assert_eq!(owner, OWNER);
            if let Some(outcome) = outcome {
                self.ledger.ended(ticket, outcome, self.at(millis + 100));
            }
        }

        fn kill(&self, millis: u64) {
            self.ledger.killed(&[OWNER.to_owned()], self.at(millis));
        }

        fn sums(&self) -> Sums {
            self.ledger.sums(&HashSet::from([OWNER.to_owned()]), RULES)
        }

        fn loss(&self) -> Loss {
            self.ledger.loss(OWNER, RULES)
        }
    }

    #[test]
    fn a_plain_life_is_one_request_for_each_expiry() {
        let story = Story::new(Passed::Whole);
        story.send("b", 5000, Some(Outcome::Challenged));
        story.send("b", 5100, Some(Outcome::Replaced(mark("c"))));
        let wanted = Sums { refreshes: 2, expiries: 2, requests: 2, challenges: 1, ..Sums::default() };
        assert_eq!(story.sums(), wanted);
        assert!(story.ledger.shown(mark("nobody's"), story.at(1)).is_none());
        assert_eq!(story.ledger.strangers(), 1);
        assert_eq!(story.ledger.sums(&HashSet::new(), RULES), Sums::default());
    }

    #[test]
    fn a_spent_token_beside_its_successor_is_a_replay() {
        let alive = Story::new(Passed::Whole);
        alive.send("a", 9000, Some(Outcome::Refused));
        assert_eq!((alive.sums().replays, alive.loss()), (1, Loss::Ours));

        let used = Story::new(|_| Passed::Nothing);
        used.send("b", 5000, Some(Outcome::Replaced(mark("c"))));
        used.send("a", 9000, Some(Outcome::Refused));
        assert_eq!(used.sums().replays, 1, "whoever shows the successor has it");

        let stored = Story::new(Passed::Whole);
        stored.kill(2601);
        stored.send("a", 9000, Some(Outcome::Refused));
        assert_eq!((stored.sums().replays, stored.loss()), (1, Loss::Ours), "it had half a second to store it");

        let earlier = Story::new(Passed::Whole);
        earlier.kill(1000);
        earlier.ledger.restarted(&[OWNER.to_owned()], earlier.at(1900));
        earlier.send("a", 9000, Some(Outcome::Refused));
        assert_eq!(
            (earlier.sums().replays, earlier.loss()),
            (1, Loss::Ours),
            "a kill before has nothing to do with it"
        );

        let answered = Story::new(Passed::Whole);
        answered.ledger.served(OWNER, answered.at(2110));
        answered.kill(2120);
        answered.send("a", 9000, Some(Outcome::Refused));
        assert_eq!((answered.sums().replays, answered.loss()), (1, Loss::Ours), "it was stored: somebody was served");
    }

    #[test]
    fn what_a_kill_took_is_no_replay() {
        let nothing = Story::new(|_| Passed::Nothing);
        let part = Story::new(|_| Passed::Part);
        let dead = Story::new(Passed::Whole);
        dead.kill(2050);
        let breath = Story::new(Passed::Whole);
        breath.kill(1990);
        breath.ledger.restarted(&[OWNER.to_owned()], breath.at(3000));
        let unwritten = Story::new(Passed::Whole);
        unwritten.kill(2107);
        let expected = [
            (nothing, Loss::NoByte),
            (part, Loss::CutShort),
            (dead, Loss::NoByte),
            (breath, Loss::NoByte),
            (unwritten, Loss::Unwritten(Duration::from_millis(7))),
        ];
        for (story, loss) in expected {
            story.send("a", 150_000, Some(Outcome::Refused));
            assert_eq!((story.sums().replays, story.sums().resent_spent, story.loss()), (0, 1, loss));
        }
    }

    #[test]
    fn a_token_that_the_server_never_used_may_be_sent_again() {
        let story = Story::new(Passed::Whole);
        story.send("b", 5000, Some(Outcome::Withheld));
        story.kill(5000);
        story.send("b", 130_000, Some(Outcome::Replaced(mark("c"))));
        let sums = story.sums();
        assert_eq!((sums.resent_unspent, sums.resent_spent, sums.replays, sums.refreshes), (1, 0, 0, 2));
    }

    #[test]
    fn a_token_that_was_not_due_is_noticed() {
        let story = Story::new(Passed::Whole);
        story.send("b", 3050, None);
        assert_eq!(story.sums().early, 1);
    }
}
