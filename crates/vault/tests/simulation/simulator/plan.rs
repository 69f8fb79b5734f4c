//! What a seed decides beforehand: how many instances there are, what their issuer is like, and what may go wrong.

use bowerbird_core::RefreshClass;

use super::rng::Rng;

/// What an issuer makes of a refresh token that was used before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    /// It ends the session (what the PDS does).
    NoGrace,
    /// The last one gets the present successor again; an older one ends the session.
    Grace,
    /// Every one gets the present successor.
    Idempotent,
    /// It is refused, and nothing else happens.
    Refused,
}

/// A deliberate mistake in what surrounds the engine. Each must be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// The spill says that it wrote, and did not.
    SpillForgets,
    /// A commit takes the place of whatever is in the row.
    CommitIgnoresGeneration,
    /// An intent may be written although another one's lease is running.
    LeaseIgnored,
    /// The monotonic clock does not count the time in which an instance was stopped.
    ClockStandsStill,
    /// An answer that was lost is taken for "certainly not consumed".
    LossTakenForNotConsumed,
    /// An error of the issuer is taken for a refusal.
    ErrorTakenForRefusal,
    /// What is said of a lost answer is forgotten: the row says that all is well.
    DoubtForgotten,
    /// A refresh token is written into the row as it is.
    StoredInTheClear,
    /// Before a second send, only those spills are looked at that no other living process holds.
    HeldSpillsUnseen,
}

impl Mutant {
    pub(crate) const ALL: [Self; 9] = [
        Self::SpillForgets,
        Self::CommitIgnoresGeneration,
        Self::LeaseIgnored,
        Self::ClockStandsStill,
        Self::LossTakenForNotConsumed,
        Self::ErrorTakenForRefusal,
        Self::DoubtForgotten,
        Self::StoredInTheClear,
        Self::HeldSpillsUnseen,
    ];
}

/// The world of one seed.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fault that this world has or has not")]
pub(crate) struct Plan {
    pub(crate) instances: usize,
    pub(crate) connections: usize,
    pub(crate) policy: Policy,
    pub(crate) class: RefreshClass,
    /// The life of access tokens, in seconds.
    pub(crate) life: i64,
    /// Whether all instances keep their spill in one folder.
    pub(crate) shared_folder: bool,
    /// Whether the account's server tells if an access token is good.
    pub(crate) probes: bool,
    /// Whether each instance sweeps by itself.
    pub(crate) sweeps: bool,
    /// Whether grants have DPoP keys.
    pub(crate) dpop: bool,
    pub(crate) in_flight: usize,
    /// Whether opened credentials are kept in memory.
    pub(crate) cached: bool,
    /// In a thousand: calls of the store that fail, of the spill, preparations, and sends with another fate than new tokens.
    pub(crate) store_fails: u64,
    pub(crate) spill_fails: u64,
    pub(crate) preparation_fails: u64,
    pub(crate) send_fails: u64,
    /// Whether crashes, stops, logins and jumps of the clock happen.
    pub(crate) crashes: bool,
    pub(crate) stops: bool,
    pub(crate) people: bool,
    pub(crate) clocks: bool,
    /// The store's clock against the true one, in milliseconds.
    pub(crate) store_offset: i64,
    pub(crate) steps: u64,
}

impl Plan {
    pub(crate) fn of(rng: &mut Rng) -> Self {
        let clocks = rng.permille(200);
        let sweeps = rng.permille(150);
        let class = rng.weighted(&[(11, RefreshClass::SingleUse), (1, RefreshClass::Graceful)]);
        Self {
            instances: rng.weighted(&[(3, 1), (6, 2), (1, 3)]),
            connections: rng.index(3) + 1,
            policy: rng.weighted(&[
                (7, Policy::NoGrace),
                (1, Policy::Grace),
                (1, Policy::Idempotent),
                (1, Policy::Refused),
            ]),
            class,
            life: rng.weighted(&[(2, 120), (3, 300), (2, 900), (1, 3600)]),
            shared_folder: rng.permille(500),
            probes: rng.permille(500),
            sweeps,
            // App-password sessions have none.
            dpop: class == RefreshClass::SingleUse && rng.permille(30),
            in_flight: rng.index(4) + 1,
            cached: rng.permille(660),
            store_fails: rng.weighted(&[(4, 0), (3, 10), (2, 50), (1, 200)]),
            spill_fails: rng.weighted(&[(5, 0), (2, 20), (1, 300)]),
            preparation_fails: rng.weighted(&[(3, 0), (3, 50), (1, 300)]),
            send_fails: rng.weighted(&[(1, 0), (2, 150), (4, 400), (2, 800)]),
            crashes: rng.permille(600),
            stops: rng.permille(500),
            people: rng.permille(300),
            clocks,
            store_offset: if clocks { i64::try_from(rng.below(7_200_000)).unwrap_or(0) - 3_600_000 } else { 0 },
            steps: rng.between(8, 48),
        }
    }
}
