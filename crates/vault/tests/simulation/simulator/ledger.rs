//! The books of the simulated issuer, and the oracle: what may never be, judged by what really happened and not by what
//! the engine says.
//!
//! Tokens are named `SIM-rt-S-N`: the Nth of session S. The scope of a grant carries the same numbers, so that a row says
//! in the clear which tokens it holds, without its keys.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bowerbird_core::{ConnectionId, CredentialRecord, CredentialState, NeedsReauth, RefreshClass, SealedTokens};

use super::life::Life;
use super::plan::{Plan, Policy};

/// The mark of every secret: it must never be found in a store.
pub(crate) const SECRET: &str = "SIM-";

/// So long before the first byte, at most, does whoever sends once more look into the spills.
const LAST_LOOK: Duration = Duration::from_secs(1);

/// A token's place: session and number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) session: usize,
    pub(crate) number: usize,
}

impl Place {
    pub(crate) fn scope(self) -> String {
        format!("atproto {} {}", self.session, self.number)
    }

    pub(crate) fn of_scope(scope: &str) -> Option<Self> {
        Self::parts(scope.strip_prefix("atproto ")?, ' ')
    }

    pub(crate) fn token(self, kind: &str) -> String {
        format!("{SECRET}{kind}-{}-{}", self.session, self.number)
    }

    pub(crate) fn of_token(token: &str) -> Option<Self> {
        Self::parts(token.strip_prefix(SECRET)?.split_once('-')?.1, '-')
    }

    fn parts(text: &str, by: char) -> Option<Self> {
        let (session, number) = text.split_once(by)?;
        Some(Self { session: session.parse().ok()?, number: number.parse().ok()? })
    }
}

/// Why a session is over, or out of reach for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum End {
    /// The person withdrew it.
    Withdrawn,
    /// The issuer rotated, and no byte of the answer reached anybody.
    LostUpstream,
    /// The answer was in a process that was killed before it could write it down.
    LostInCrash,
    /// The answer is in an instance that is stopped, cut off or dead with a disk of its own.
    OutOfReach,
    /// None of these: our fault.
    Ours,
}

/// A refresh token that was made.
#[derive(Clone, Copy, Debug, Default)]
struct Minted {
    /// The instance whose socket its answer reached, and whether the instance itself got it.
    reached: Option<usize>,
    taken: bool,
    /// The folder in which it was written down, and when.
    spilled: Option<(usize, Duration)>,
    stored: bool,
    /// Requests with it that the issuer has not answered yet.
    under_way: usize,
    /// When its access token ends, by the true clock.
    access_ends: Duration,
}

#[derive(Debug)]
struct Session {
    connection: ConnectionId,
    alive: bool,
    end: Option<End>,
    current: usize,
    minted: Vec<Minted>,
    quarantined: bool,
}

/// What the issuer says.
pub(crate) enum Verdict {
    New(Place),
    Refused,
}

/// Counts of what happened, by name.
pub(crate) type Counts = BTreeMap<&'static str, u64>;

pub(crate) struct Ledger {
    plan: Plan,
    sessions: Vec<Session>,
    /// Connections that somebody signed out.
    pub(crate) signed_out: Vec<ConnectionId>,
    pub(crate) counts: Counts,
    pub(crate) faults: Vec<String>,
}

impl Ledger {
    pub(crate) fn new(plan: Plan) -> Self {
        Self { plan, sessions: Vec::new(), signed_out: Vec::new(), counts: Counts::new(), faults: Vec::new() }
    }

    pub(crate) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    pub(crate) fn fault(&mut self, what: String) {
        self.faults.push(what);
    }

    /// A login.
    pub(crate) fn open_session(&mut self, connection: ConnectionId, now: Duration) -> Place {
        let first = Minted { access_ends: now + self.life(), taken: true, stored: true, ..Minted::default() };
        let session =
            Session { connection, alive: true, end: None, current: 0, minted: vec![first], quarantined: false };
        self.sessions.push(session);
        Place { session: self.sessions.len() - 1, number: 0 }
    }

    fn life(&self) -> Duration {
        Duration::from_secs(self.plan.life.unsigned_abs())
    }

    pub(crate) fn connection_of(&self, place: Place) -> ConnectionId {
        self.sessions[place.session].connection
    }

    /// The person ends the newest session of a connection at the issuer.
    pub(crate) fn withdraw(&mut self, connection: ConnectionId) {
        if let Some(session) = self.sessions.iter_mut().rev().find(|session| session.connection == connection) {
            session.alive = false;
            session.end.get_or_insert(End::Withdrawn);
        }
    }

    /// The first byte of a refresh goes out.
    ///
    /// Gives where its living successor is, if it has one: what counts is this moment, not when the issuer reads it.
    pub(crate) fn first_byte(
        &mut self,
        place: Place,
        life: &Life,
        row: Option<&CredentialRecord>,
        now: Duration,
        lives: &[Arc<Life>],
    ) -> End {
        self.count("sends");
        let single_use = self.plan.class == RefreshClass::SingleUse;
        let session = &mut self.sessions[place.session];
        let mut faults = Vec::new();
        let minted = &mut session.minted[place.number];
        if minted.under_way > 0 && single_use {
            faults.push("two sends of one token are under way at once");
        }
        minted.under_way += 1;
        // One that may be shown again for a while does no harm then.
        if single_use && session.minted.iter().skip(place.number + 1).any(|minted| minted.stored) {
            faults.push("a token was sent after its successor was stored");
        }
        if let Some(row) = row
            && Place::of_scope(&row.tokens.scope) == Some(place)
            && !matches!(row.state, CredentialState::Refreshing { .. })
        {
            faults.push("a token was sent without an intent in its row");
        }
        if life.forbids_sending() {
            faults.push("a token was sent by an instance that is suspended or draining");
        }
        if life.begin_sending() > self.plan.in_flight {
            faults.push("more refreshes are in flight than allowed");
        }
        for fault in faults {
            self.fault(format!("{fault}: {place:?} by instance {}", life.number));
        }
        let current = Place { number: self.sessions[place.session].current, ..place };
        if current == place { End::Ours } else { self.blame(current, now, life, lives) }
    }

    /// The request is with the issuer no more.
    pub(crate) fn ended(&mut self, place: Place) {
        self.sessions[place.session].minted[place.number].under_way -= 1;
    }

    /// What the issuer makes of a token; `blame` is what its first byte gave.
    pub(crate) fn process(&mut self, place: Place, now: Duration, blame: End) -> Verdict {
        let life = self.life();
        let policy = match self.plan.class {
            RefreshClass::SingleUse => self.plan.policy,
            RefreshClass::Graceful => Policy::Idempotent,
        };
        let session = &mut self.sessions[place.session];
        if !session.alive {
            return Verdict::Refused;
        }
        if place.number == session.current {
            session.current += 1;
            session.minted.push(Minted { access_ends: now + life, ..Minted::default() });
            self.count("rotations");
            return Verdict::New(Place { number: place.number + 1, ..place });
        }
        let current = Place { number: session.current, ..place };
        self.count("spent tokens presented");
        let forgiven = match policy {
            Policy::Idempotent => true,
            Policy::Grace => place.number + 1 == current.number,
            Policy::NoGrace | Policy::Refused => false,
        };
        if forgiven {
            self.sessions[place.session].minted[current.number].access_ends = now + life;
            return Verdict::New(current);
        }
        let session = &mut self.sessions[place.session];
        session.alive = policy == Policy::Refused;
        session.end.get_or_insert(blame);
        match blame {
            End::Withdrawn => {}
            End::LostUpstream => self.count("lost: no byte of the answer came"),
            End::LostInCrash => self.count("lost: killed before it was written down"),
            End::OutOfReach => {
                self.count("lost: the holder was out of reach");
                if self.plan.instances == 1 {
                    self.fault(format!("a single instance lost {current:?} to itself"));
                }
            }
            End::Ours => self.fault(format!("{place:?} was sent while {current:?} was within reach")),
        }
        Verdict::Refused
    }

    /// Where the living successor was when the spent token came.
    fn blame(&self, current: Place, now: Duration, sender: &Life, lives: &[Arc<Life>]) -> End {
        let minted = self.sessions[current.session].minted[current.number];
        let Some(holder) = minted.reached.map(|number| &lives[number]) else { return End::LostUpstream };
        if minted.stored {
            return End::Ours;
        }
        let connection = self.sessions[current.session].connection;
        let sees = |(folder, at): (usize, Duration)| {
            folder == sender.folder && at + LAST_LOOK < now && !sender.is_blind_for(connection)
        };
        match (minted.spilled, holder.is_dead()) {
            // On a disk that the sender reads before it sends a second time, whoever holds the file.
            (Some(spilled), _) if sees(spilled) => End::Ours,
            (Some(_), true) => End::OutOfReach,
            (None, true) => End::LostInCrash,
            (_, false) if holder.is_out_of_reach(now) => End::OutOfReach,
            (_, false) => End::Ours,
        }
    }

    /// An answer is in an instance's socket.
    pub(crate) fn reached(&mut self, place: Place, life: &Life) {
        self.sessions[place.session].minted[place.number].reached = Some(life.number);
    }

    /// The instance has it.
    pub(crate) fn taken(&mut self, place: Place) {
        self.sessions[place.session].minted[place.number].taken = true;
    }

    pub(crate) fn quarantine(&mut self, place: Place) {
        self.sessions[place.session].quarantined = true;
    }

    /// Tokens were written down in a folder.
    pub(crate) fn spilled(&mut self, tokens: &SealedTokens, folder: usize, now: Duration) {
        self.look_for_secrets(tokens);
        if let Some(place) = Place::of_scope(&tokens.scope) {
            self.sessions[place.session].minted[place.number].spilled = Some((folder, now));
        }
    }

    /// A refresh was stored.
    pub(crate) fn stored(&mut self, before: &CredentialRecord, tokens: &SealedTokens) {
        self.look_for_secrets(tokens);
        let (Some(old), Some(new)) = (Place::of_scope(&before.tokens.scope), Place::of_scope(&tokens.scope)) else {
            return self.fault("a row without its marks".to_owned());
        };
        if old.session != new.session || new.number < old.number {
            self.fault(format!("{new:?} took the place of {old:?}"));
        }
        let minted = &mut self.sessions[new.session].minted[new.number];
        if !minted.taken {
            self.fault(format!("{new:?} was stored before anybody had it"));
        }
        self.sessions[new.session].minted[new.number].stored = true;
    }

    /// A login is stored. The life of its access token counts from here: the vault cannot know when the code was exchanged.
    pub(crate) fn stored_login(&mut self, tokens: &SealedTokens, now: Duration) {
        self.look_for_secrets(tokens);
        let ends = now + self.life();
        if let Some(place) = Place::of_scope(&tokens.scope) {
            self.sessions[place.session].minted[0].access_ends = ends;
        }
    }

    fn look_for_secrets(&mut self, tokens: &SealedTokens) {
        let holds = |bytes: &[u8]| bytes.windows(SECRET.len()).any(|part| part == SECRET.as_bytes());
        if holds(&tokens.access_token) || tokens.refresh_token.as_deref().is_some_and(holds) {
            self.fault("a token was stored in the clear".to_owned());
        }
    }

    /// Whether an access token works, by the true clock.
    pub(crate) fn access_works(&self, place: Place, now: Duration) -> bool {
        let session = &self.sessions[place.session];
        // Where old refresh tokens stay good, the access tokens that came with them do, too.
        let is_current = session.current == place.number || self.plan.class == RefreshClass::Graceful;
        session.alive && is_current && now < session.minted[place.number].access_ends
    }

    pub(crate) fn has_ended(&self, place: Place, now: Duration) -> bool {
        now >= self.sessions[place.session].minted[place.number].access_ends
    }

    /// Judges a row when every fault is over and time has passed. `Ok(false)` when it may still settle.
    pub(crate) fn judge(&self, connection: ConnectionId, row: Option<&CredentialRecord>) -> Result<bool, String> {
        let Some(row) = row else {
            let known = self.signed_out.contains(&connection);
            return if known { Ok(true) } else { Err("a row is gone that nobody signed out".to_owned()) };
        };
        let place = Place::of_scope(&row.tokens.scope).ok_or("a row without its marks")?;
        let session = &self.sessions[place.session];
        let reason = match row.state {
            CredentialState::Ok => return Ok(session.alive && session.current == place.number),
            CredentialState::Refreshing { .. } | CredentialState::Unknown { .. } => return Ok(false),
            CredentialState::NeedsReauth(reason) => reason,
        };
        let agreed = match reason {
            NeedsReauth::ScopeLost => session.quarantined,
            NeedsReauth::LostResponse => session.end.is_some(),
            NeedsReauth::Revoked => matches!(session.end, Some(End::Withdrawn | End::OutOfReach)),
            _ => false,
        };
        if agreed {
            return Ok(true);
        }
        Err(format!("{place:?} needs a person for {reason:?}, but its session is {session:?}"))
    }
}
