//! The pure decision: is an access token fresh, due, or past use?
//!
//! A refresh is due at 80 % of the token's life (with jitter, by the sweep), and on checkout when less than 20 % or
//! 60 s is left, whichever comes first. A token that still has life may be used while a refresh is under way or in
//! doubt, and after the answer of a refresh was lost for good.

use crate::{CredentialState, NeedsReauth, Schedule, Timestamp};

/// An access token this close to its end is not handed out: the call it is for must still arrive in time. For a very
/// short life it is a fifth of that life.
const USABLE_MARGIN_SECONDS: i64 = 10;
/// On checkout, less than this left means due, unless that were more than half of the token's life.
const DUE_SECONDS: i64 = 60;
/// After an intent was written, nobody sends again before this has passed (REFRESH step 6).
pub const QUIET_SECONDS: i64 = 60;
/// How long a lease lasts.
pub const LEASE_SECONDS: i64 = 120;
/// No pause is longer, whatever an issuer asks for.
pub const LONGEST_PAUSE_SECONDS: i64 = 3600;
/// The pause after the first attempt that failed and may be repeated; it doubles with each.
const FIRST_PAUSE_SECONDS: i64 = 2;
const PAUSE_CAP_SECONDS: i64 = 60;
/// The pauses between attempts in doubt begin with the quiet time and double up to this.
const DOUBT_CAP_SECONDS: i64 = 900;
/// A refresh that nobody waits for begins between these parts of the access token's life, in percent. What was granted
/// together then does not come due together.
const DUE_PERCENT: std::ops::Range<i64> = 50..80;

/// What a checkout should do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshDecision {
    /// Use the access token.
    Fresh,
    /// Refresh first; the present access token still works if that must wait.
    Due,
    /// Refresh first; the present access token is past use.
    Expired,
    /// Use the access token; a refresh cannot be started now.
    UseWhileWaiting,
    /// No usable access token, and a refresh cannot be started before this point.
    WaitUntil(Timestamp),
    /// The outcome of an earlier refresh is unknown and its quiet time is over: send the same token once more.
    Recover,
    /// Use the access token while it lasts; after that only the person can repair it, and should be asked to now. When
    /// the access token is refused, this is [`RefreshDecision::Reauth`].
    UseUntilEnd(NeedsReauth),
    /// Only the person can repair it.
    Reauth(NeedsReauth),
}

/// Decides from what the row says and the clock. `not_before` is that of [`Schedule`]: until then no refresh is started.
pub fn decide(
    state: &CredentialState,
    not_before: Option<Timestamp>,
    issued_at: Timestamp,
    expires_at: Timestamp,
    has_refresh_token: bool,
    now: Timestamp,
) -> RefreshDecision {
    let pause = pause_until(not_before, now);
    let life = expires_at.millis_since(issued_at).max(0);
    let usable = expires_at.plus_millis(-(life / 5).min(USABLE_MARGIN_SECONDS * 1000)) > now;
    match state {
        CredentialState::NeedsReauth(reason) if usable && leaves_the_access_token(*reason) => {
            RefreshDecision::UseUntilEnd(*reason)
        }
        CredentialState::NeedsReauth(reason) => RefreshDecision::Reauth(*reason),
        CredentialState::Ok if !is_due(issued_at, expires_at, now) => RefreshDecision::Fresh,
        CredentialState::Ok if !has_refresh_token && usable => RefreshDecision::Fresh,
        CredentialState::Ok if !has_refresh_token => RefreshDecision::Reauth(NeedsReauth::NoRefreshToken),
        CredentialState::Ok => match pause {
            Some(_) if usable => RefreshDecision::UseWhileWaiting,
            Some(until) => RefreshDecision::WaitUntil(until),
            None if usable => RefreshDecision::Due,
            None => RefreshDecision::Expired,
        },
        CredentialState::Refreshing { lease_until, intent_at } => {
            let quiet = (*lease_until).max(intent_at.plus_seconds(QUIET_SECONDS));
            after_quiet(pause.map_or(quiet, |pause| pause.max(quiet)), usable, now)
        }
        CredentialState::Unknown { intent_at } => {
            let quiet = intent_at.plus_seconds(QUIET_SECONDS);
            after_quiet(pause.map_or(quiet, |pause| pause.max(quiet)), usable, now)
        }
    }
}

/// Until when a row's [`Schedule::not_before`] still holds a refresh back. What lies further ahead than any pause was
/// written by a clock that has been set back since, and holds nothing.
pub fn pause_until(not_before: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
    not_before.filter(|until| *until > now && *until <= now.plus_seconds(LONGEST_PAUSE_SECONDS))
}

/// The schedule after `attempts` attempts that certainly did not consume the token; `asked` is what the issuer asked for.
pub fn after_failure(attempts: u32, asked: Option<Timestamp>, now: Timestamp) -> Schedule {
    let until = match asked {
        Some(asked) => asked.clamp(now.plus_seconds(1), now.plus_seconds(LONGEST_PAUSE_SECONDS)),
        None => now.plus_seconds(doubled(FIRST_PAUSE_SECONDS, attempts, PAUSE_CAP_SECONDS)),
    };
    Schedule { attempts, not_before: Some(until), due_at: Some(until) }
}

/// The schedule after `attempts` attempts, the last of which has an unknown outcome; its intent was written at `intent_at`.
pub fn after_doubt(attempts: u32, intent_at: Timestamp, now: Timestamp) -> Schedule {
    let quiet = intent_at.plus_seconds(QUIET_SECONDS);
    let first = (quiet.millis_since(now) / 1000).max(1);
    let until = quiet.max(now.plus_seconds(doubled(first, attempts, DOUBT_CAP_SECONDS)));
    Schedule { attempts, not_before: Some(until), due_at: Some(until) }
}

/// When a sweep should refresh a token in use: somewhere between half and four fifths of its life, by `spread`, of which
/// any value is as good as any other.
pub fn due_in_use(issued_at: Timestamp, expires_at: Timestamp, spread: u32) -> Timestamp {
    let life = expires_at.millis_since(issued_at).max(0);
    let (from, to) = (life / 100 * DUE_PERCENT.start, life / 100 * DUE_PERCENT.end);
    issued_at.plus_millis(from + scaled(to - from, spread))
}

/// When a sweep should refresh what nobody uses, so that the refresh token does not end of idleness: `every` seconds after
/// the last refresh, or up to a fifth of that sooner.
pub fn due_unused(issued_at: Timestamp, every: i64, spread: u32) -> Timestamp {
    let every = every.max(0).saturating_mul(1000);
    issued_at.plus_millis(every - scaled(every / 5, spread))
}

/// `millis` × `spread` / 2³².
fn scaled(millis: i64, spread: u32) -> i64 {
    i64::try_from((i128::from(millis) * i128::from(spread)) >> 32).unwrap_or(0)
}

fn doubled(seconds: i64, attempts: u32, cap: i64) -> i64 {
    seconds.saturating_mul(1 << attempts.saturating_sub(1).min(16)).min(cap)
}

/// Whether a checkout should refresh: less than 20 % of the life is left, or less than 60 s (half of the life, where
/// that is less: else a one-minute token would be refreshed by every call).
pub fn is_due(issued_at: Timestamp, expires_at: Timestamp, now: Timestamp) -> bool {
    let life = expires_at.millis_since(issued_at).max(0);
    let left = expires_at.millis_since(now);
    left < (life / 5) || left < (life / 2).min(DUE_SECONDS * 1000)
}

/// Whether the access token at hand may still be good although the grant is beyond repair (REFRESH step 6): the answer
/// that is lost took the refresh token with it, and perhaps nothing else. Every other reason speaks about the grant
/// itself, or about tokens that must not be used.
const fn leaves_the_access_token(reason: NeedsReauth) -> bool {
    match reason {
        NeedsReauth::LostResponse => true,
        NeedsReauth::Revoked
        | NeedsReauth::IssuerChanged
        | NeedsReauth::SubjectMismatch
        | NeedsReauth::ScopeLost
        | NeedsReauth::NoRefreshToken
        | NeedsReauth::Unreadable => false,
    }
}

fn after_quiet(quiet_until: Timestamp, usable: bool, now: Timestamp) -> RefreshDecision {
    if now >= quiet_until {
        RefreshDecision::Recover
    } else if usable {
        RefreshDecision::UseWhileWaiting
    } else {
        RefreshDecision::WaitUntil(quiet_until)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const T0: Timestamp = Timestamp::from_seconds(1_000_000);

    fn at(seconds: i64) -> Timestamp {
        T0.plus_seconds(seconds)
    }

    fn ok_at(now: i64) -> RefreshDecision {
        decide(&CredentialState::Ok, None, T0, at(3600), true, at(now))
    }

    #[test]
    fn an_hour_long_token_is_due_at_eighty_percent() {
        assert_eq!(ok_at(0), RefreshDecision::Fresh);
        assert_eq!(ok_at(2880), RefreshDecision::Fresh);
        assert_eq!(ok_at(2881), RefreshDecision::Due);
        assert_eq!(ok_at(3589), RefreshDecision::Due);
        assert_eq!(ok_at(3590), RefreshDecision::Expired);
    }

    #[test]
    fn a_short_token_is_due_with_a_minute_left() {
        let decision = decide(&CredentialState::Ok, None, T0, at(120), true, at(61));
        assert_eq!(decision, RefreshDecision::Due);
    }

    #[test]
    fn without_a_refresh_token_it_is_used_to_the_end() {
        let with = |now| decide(&CredentialState::Ok, None, T0, at(300), false, at(now));
        assert_eq!(with(289), RefreshDecision::Fresh);
        assert_eq!(with(290), RefreshDecision::Reauth(NeedsReauth::NoRefreshToken));
    }

    #[test]
    fn nobody_sends_twice_before_the_quiet_time() {
        let state = CredentialState::Refreshing { lease_until: at(120), intent_at: T0 };
        assert_eq!(decide(&state, None, T0, at(3600), true, at(119)), RefreshDecision::UseWhileWaiting);
        assert_eq!(decide(&state, None, T0, at(60), true, at(119)), RefreshDecision::WaitUntil(at(120)));
        assert_eq!(decide(&state, None, T0, at(60), true, at(120)), RefreshDecision::Recover);
        let state = CredentialState::Unknown { intent_at: T0 };
        assert_eq!(decide(&state, None, T0, at(3600), true, at(59)), RefreshDecision::UseWhileWaiting);
        assert_eq!(decide(&state, None, T0, at(3600), true, at(60)), RefreshDecision::Recover);
    }

    #[test]
    fn after_a_lost_response_the_access_token_is_used_to_its_end() {
        let with = |reason, now| decide(&CredentialState::NeedsReauth(reason), None, T0, at(3600), true, at(now));
        for now in [0, 3000, 3589] {
            let decision = with(NeedsReauth::LostResponse, now);
            assert_eq!(decision, RefreshDecision::UseUntilEnd(NeedsReauth::LostResponse), "never due, either");
        }
        for now in [3590, 3600, 99_999] {
            assert_eq!(with(NeedsReauth::LostResponse, now), RefreshDecision::Reauth(NeedsReauth::LostResponse));
        }
        for reason in NeedsReauth::ALL.into_iter().filter(|reason| *reason != NeedsReauth::LostResponse) {
            for now in [0, 3000, 3600] {
                assert_eq!(with(reason, now), RefreshDecision::Reauth(reason));
            }
        }
    }

    #[test]
    fn a_pause_holds_a_refresh_back_and_not_the_token() {
        let with = |state: &CredentialState, now| decide(state, Some(at(3595)), T0, at(3600), true, at(now));
        assert_eq!(with(&CredentialState::Ok, 0), RefreshDecision::Fresh);
        assert_eq!(with(&CredentialState::Ok, 3000), RefreshDecision::UseWhileWaiting);
        assert_eq!(with(&CredentialState::Ok, 3594), RefreshDecision::WaitUntil(at(3595)));
        assert_eq!(with(&CredentialState::Ok, 3595), RefreshDecision::Expired);
        let doubt = CredentialState::Unknown { intent_at: at(3000) };
        assert_eq!(with(&doubt, 3060), RefreshDecision::UseWhileWaiting);
        assert_eq!(with(&doubt, 3595), RefreshDecision::Recover);
        assert_eq!(pause_until(Some(at(3601)), T0), None, "a clock that was set back");
    }

    #[test]
    fn pauses_double_within_their_bounds() {
        let seconds = |schedule: Schedule| schedule.not_before.unwrap().millis_since(T0) / 1000;
        let failures: Vec<i64> = (1..8).map(|attempts| seconds(after_failure(attempts, None, T0))).collect();
        assert_eq!(failures, [2, 4, 8, 16, 32, 60, 60]);
        let asked: Vec<i64> =
            [120, -5, 1_000_000].iter().map(|asked| seconds(after_failure(3, Some(at(*asked)), T0))).collect();
        assert_eq!(asked, [120, 1, 3600]);
        let doubts: Vec<i64> = (1..7).map(|attempts| seconds(after_doubt(attempts, T0, T0))).collect();
        assert_eq!(doubts, [60, 120, 240, 480, 900, 900]);
    }

    fn states() -> impl Strategy<Value = CredentialState> {
        prop_oneof![
            Just(CredentialState::Ok),
            Just(CredentialState::Refreshing { lease_until: at(120), intent_at: T0 }),
            Just(CredentialState::Unknown { intent_at: T0 }),
            proptest::sample::select(NeedsReauth::ALL.to_vec()).prop_map(CredentialState::NeedsReauth),
        ]
    }

    proptest! {
        #[test]
        fn a_token_past_its_end_is_never_handed_out(life in 0i64..100_000, now in -1000i64..200_000, refresh: bool, state in states()) {
            let decision = decide(&state, None, T0, at(life), refresh, at(now));
            if now >= life {
                prop_assert!(!matches!(
                    decision,
                    RefreshDecision::Fresh
                        | RefreshDecision::Due
                        | RefreshDecision::UseWhileWaiting
                        | RefreshDecision::UseUntilEnd(_)
                ));
            }
        }

        #[test]
        fn what_needs_a_person_is_never_refreshed(life in 0i64..100_000, now in -1000i64..200_000, refresh: bool, state in states()) {
            let decision = decide(&state, None, T0, at(life), refresh, at(now));
            if let CredentialState::NeedsReauth(reason) = state {
                prop_assert!([RefreshDecision::Reauth(reason), RefreshDecision::UseUntilEnd(reason)].contains(&decision));
            }
        }

        #[test]
        fn a_sweep_comes_while_the_token_is_fresh(life in 0i64..1_000_000, spread: u32) {
            let due = due_in_use(T0, at(life), spread).millis_since(T0);
            prop_assert!((life * 10 * 49..=life * 10 * 80).contains(&due), "{due} of {life}");
            let kept = due_unused(T0, life, spread).millis_since(T0);
            prop_assert!((life * 800..=life * 1000).contains(&kept));
        }
    }
}
