//! The world: one credential, up to two instances, one authorization server.
//!
//! Time is relative. A timer says how many ticks are left or gone and stops at its bound, and generations are counted
//! from the row's own, so that the states are finite although neither time nor the number of refreshes is.

use super::properties::Property;

/// A refresh token, by the number of the token set that it came with. The row's generation counts the same sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Token(pub(crate) u8);

impl Token {
    /// Of a grant that a newer login has replaced.
    pub(crate) const SUPERSEDED: Self = Self(u8::MAX);

    fn rebase(&mut self, by: u8) {
        if *self != Self::SUPERSEDED {
            self.0 = self.0.saturating_sub(by);
        }
    }
}

/// What the server does with a refresh token that was used before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    /// It ends the session (AT Protocol).
    NoGrace,
    /// The last one gets the same successor again; an older one ends the session.
    Grace,
    /// Every one gets the present successor.
    Idempotent,
    /// It is refused, and the session lives on.
    Refuses,
}

/// Durations in ticks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    /// 120 s.
    pub(crate) lease: u8,
    /// 60 s from the intent.
    pub(crate) quiet: u8,
    /// 60 s for an answer. A request reaches the server in less than that, or never.
    pub(crate) deadline: u8,
    /// So long after the intent a send may still begin: 75 s of the lease must be left.
    pub(crate) send_within: u8,
}

/// A tick of 30 s.
pub(crate) const COARSE: Timing = Timing { lease: 4, quiet: 2, deadline: 2, send_within: 1 };
/// A tick of 15 s.
pub(crate) const FINE: Timing = Timing { lease: 8, quiet: 4, deadline: 4, send_within: 3 };

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Intent {
    Written,
    /// A lease alone: after its end the row looks as if nothing had been sent.
    LeaseOnly,
    /// Nothing is written before the send.
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fence {
    /// Looked at together with the first byte.
    AtFirstByte,
    /// The process may be stopped between the look and the first byte.
    BeforeFirstByte,
    /// By a clock that stands still while the machine is suspended.
    StoppedClock,
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Swap {
    Generation,
    /// Only whoever has the lease may commit.
    Lease,
    /// Whoever comes, overwrites.
    Blind,
}

/// How long others must wait once a doubt is noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doubt {
    /// Until the lease ends and the quiet time after the intent has passed.
    KeepsLease,
    /// The lease ends; the quiet time is counted from the note.
    QuietFromNote,
    /// The lease ends; the quiet time is counted from the intent, which may be older than the send.
    QuietFromIntent,
}

/// Whose spill files are looked through before a second send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// One's own: each instance has a disk of its own.
    Own,
    /// Those of the dead as well, while nobody has taken them over.
    OfTheDead,
    /// All, whoever holds them.
    All,
}

/// The rules of the protocol, each of which a mutant breaks.
#[expect(clippy::struct_excessive_bools, reason = "each is a rule that can be switched off by itself")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) intent: Intent,
    pub(crate) fence: Fence,
    pub(crate) commit: Swap,
    pub(crate) doubt: Doubt,
    /// Once everybody has waited, an intent or a doubt that is left behind may be taken up.
    pub(crate) recovers: bool,
    pub(crate) quiet: bool,
    pub(crate) lease: bool,
    pub(crate) spill: bool,
    pub(crate) replay_spill_first: bool,
    /// Taking the lease compares the generation that was read.
    pub(crate) begin_compares: bool,
    /// A change of state other than a commit is written by the holder of the lease alone.
    pub(crate) state_fenced: bool,
    /// Before a second send, whoever holds a successor gets a moment to commit it, and the row is read again.
    pub(crate) late_holder_grace: bool,
    /// After a pause, an answer that waits in the socket is taken although the deadline has passed.
    pub(crate) answer_before_deadline: bool,
    /// "Not consumed" after an unknown outcome leaves the older doubt.
    pub(crate) keeps_doubt: bool,
    /// The spill files that are looked through before a second send.
    pub(crate) spills_seen: Seen,
    /// Whoever sees the successor in a spill file and cannot store it does not send.
    pub(crate) heeds_what_it_saw: bool,
    /// Sends of one token that may have consumed it, at most; None: until the server speaks.
    pub(crate) sends: Option<u8>,
}

pub(crate) const RULES: Rules = Rules {
    intent: Intent::Written,
    fence: Fence::AtFirstByte,
    commit: Swap::Generation,
    doubt: Doubt::KeepsLease,
    recovers: true,
    quiet: true,
    lease: true,
    spill: true,
    replay_spill_first: true,
    begin_compares: true,
    state_fenced: true,
    late_holder_grace: true,
    answer_before_deadline: true,
    keeps_doubt: true,
    spills_seen: Seen::Own,
    heeds_what_it_saw: true,
    sends: None,
};

/// Which successors a replay may end without that counting as a violation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Excuse {
    /// None.
    Nothing,
    /// One that is only in the memory (or the socket) of an instance that is stopped or cut off from the database.
    OutOfReachInMemory,
    /// One in the memory or the spill file of an instance that is stopped, dead or cut off from the database.
    OutOfReach,
}

/// What is explored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) policy: Policy,
    pub(crate) timing: Timing,
    pub(crate) rules: Rules,
    pub(crate) instances: usize,
    /// A person signs in again, at any time.
    pub(crate) logins: bool,
    /// A request may stay on its way for longer than the deadline, by this many ticks.
    pub(crate) late_by: u8,
    pub(crate) excuse: Excuse,
    /// Not asked for in this setup.
    pub(crate) waived: Option<Property>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Reason {
    Revoked,
    LostResponse,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum RowState {
    Ok,
    Refreshing,
    Unknown,
    NeedsReauth(Reason),
}

/// The row. Durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Row {
    pub(crate) generation: u8,
    pub(crate) token: Token,
    pub(crate) state: RowState,
    /// Whose run wrote the newest intent: what the fence number tells.
    pub(crate) holder: Option<u8>,
    /// Ticks until the lease ends.
    pub(crate) lease: u8,
    /// Ticks until the quiet time ends.
    pub(crate) quiet: u8,
    /// Intents with the present token; counted only where sends are limited.
    pub(crate) attempts: u8,
}

/// What the server said, or what stands for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Outcome {
    Granted(Token),
    Refused,
    NotConsumed,
    Unknown,
}

/// What an instance remembers of a refresh. In memory only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Run {
    pub(crate) seen: u8,
    pub(crate) token: Token,
    /// An earlier send of this token has an unknown outcome.
    pub(crate) recovering: bool,
    /// The second send after "not consumed".
    pub(crate) again: bool,
    /// Ticks since the intent, by this instance's clock.
    pub(crate) since_intent: u8,
    /// Ticks since the first byte.
    pub(crate) since_send: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Not running.
    Down,
    /// Started, with something in the spill file.
    Replaying,
    Idle,
    /// The row is read and everything is ready.
    Prepared(Run),
    /// The lease is taken.
    Leased(Run),
    /// The fence was looked at and nothing is sent yet (only with [`Fence::BeforeFirstByte`]).
    Fenced(Run),
    Awaiting(Run),
    /// The outcome is in the socket or in memory; nothing was done with it.
    Answered(Run, Outcome),
    /// Appended to the spill file, and not committed.
    Holding(Run, Token),
}

/// A successor in a spill file, with the generation that it succeeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Spilled {
    pub(crate) seen: u8,
    pub(crate) token: Token,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Instance {
    pub(crate) phase: Phase,
    /// SIGSTOP: does nothing, while time passes.
    pub(crate) paused: bool,
    /// Cannot reach the database.
    pub(crate) cut_off: bool,
    /// On this instance's disk. Durable.
    pub(crate) spill: Option<Spilled>,
}

/// A request on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Request {
    pub(crate) token: Token,
    pub(crate) age: u8,
    /// Who waits for the answer.
    pub(crate) owner: Option<u8>,
    /// When it was sent, an instance out of reach held a successor.
    pub(crate) excused: bool,
}

/// Why a session has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Ended {
    ByPerson,
    /// A spent token was presented and no successor was left.
    SuccessorLost,
    /// A spent token was presented while an instance out of reach held the successor.
    SuccessorOutOfReach,
}

/// The server's books.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Server {
    pub(crate) current: Token,
    pub(crate) ended: Option<Ended>,
}

/// How many requests may be on their way at once. More than that is reached only after a property was violated.
pub(crate) const ON_THE_WAY: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct World {
    pub(crate) row: Row,
    pub(crate) instances: [Instance; 2],
    pub(crate) requests: [Option<Request>; ON_THE_WAY],
    pub(crate) server: Server,
    /// Kept by the observer: somebody has handled the answer with the current token, so that it must outlive a crash.
    pub(crate) kept: bool,
    /// Kept by the observer where sends are limited: sends of the row's token that may have consumed it.
    pub(crate) sends: u8,
}

impl World {
    pub(crate) fn first() -> Self {
        let idle = Instance { phase: Phase::Idle, paused: false, cut_off: false, spill: None };
        Self {
            row: Row {
                generation: 1,
                token: Token(1),
                state: RowState::Ok,
                holder: None,
                lease: 0,
                quiet: 0,
                attempts: 0,
            },
            instances: [idle; 2],
            requests: [None; ON_THE_WAY],
            server: Server { current: Token(1), ended: None },
            kept: true,
            sends: 0,
        }
    }

    pub(crate) fn alive(&self) -> bool {
        self.server.ended.is_none()
    }

    /// Whether the lease may be taken: the rule of the store's one update.
    pub(crate) fn may_begin(&self) -> bool {
        match self.row.state {
            RowState::Ok => true,
            RowState::Refreshing | RowState::Unknown => self.row.lease == 0 && self.row.quiet == 0,
            RowState::NeedsReauth(_) => false,
        }
    }

    pub(crate) fn in_doubt(&self) -> bool {
        matches!(self.row.state, RowState::Refreshing | RowState::Unknown)
    }

    /// The run of an instance, whatever it is doing.
    pub(crate) fn run_mut(&mut self, who: usize) -> Option<&mut Run> {
        match &mut self.instances[who].phase {
            Phase::Prepared(run)
            | Phase::Leased(run)
            | Phase::Fenced(run)
            | Phase::Awaiting(run)
            | Phase::Answered(run, _)
            | Phase::Holding(run, _) => Some(run),
            Phase::Down | Phase::Replaying | Phase::Idle => None,
        }
    }

    /// A successor that an instance has in its memory or its socket.
    pub(crate) fn in_memory(&self, who: usize) -> Option<Spilled> {
        match self.instances[who].phase {
            Phase::Answered(run, Outcome::Granted(token)) | Phase::Holding(run, token) => {
                Some(Spilled { seen: run.seen, token })
            }
            _ => None,
        }
    }

    /// Counts from the row's generation again, orders what has no order, and forgets what cannot matter any more, so
    /// that states which behave alike are one state.
    pub(crate) fn normalise(&mut self) {
        let by = self.row.generation.saturating_sub(1);
        self.row.generation -= by;
        self.row.token.rebase(by);
        self.server.current.rebase(by);
        for request in self.requests.iter_mut().flatten() {
            request.token.rebase(by);
        }
        for who in 0..self.instances.len() {
            if let Some(run) = self.run_mut(who) {
                run.seen = run.seen.saturating_sub(by);
                run.token.rebase(by);
            }
            let instance = &mut self.instances[who];
            match &mut instance.phase {
                Phase::Answered(run, Outcome::Granted(token)) => {
                    token.rebase(by);
                    run.since_intent = 0;
                }
                Phase::Holding(run, token) => {
                    token.rebase(by);
                    (run.since_intent, run.since_send) = (0, 0);
                }
                Phase::Answered(run, Outcome::Refused | Outcome::Unknown) => {
                    (run.since_intent, run.since_send) = (0, 0);
                }
                // Whoever does nothing is neither paused nor cut off in a way that shows.
                Phase::Idle | Phase::Down => (instance.paused, instance.cut_off) = (false, false),
                _ => {}
            }
            // Whoever goes on may find itself cut off at once.
            if instance.paused || matches!(instance.phase, Phase::Prepared(_)) {
                instance.cut_off = false;
            }
            if let Some(spilled) = &mut instance.spill {
                spilled.seen = spilled.seen.saturating_sub(by);
                spilled.token.rebase(by);
            }
        }
        self.requests.sort_unstable();
    }

    /// The same world with the two instances exchanged.
    pub(crate) fn exchanged(&self) -> Self {
        let mut other = *self;
        other.instances.swap(0, 1);
        other.row.holder = self.row.holder.map(|who| 1 - who);
        for request in other.requests.iter_mut().flatten() {
            request.owner = request.owner.map(|who| 1 - who);
        }
        other.requests.sort_unstable();
        other
    }
}
