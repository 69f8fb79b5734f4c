//! The pure decision: is an access token fresh, due, or past use?
//!
//! A refresh is due at 80 % of the token's life (with jitter, by the sweep), and on checkout when less than 20 % or
//! 60 s is left, whichever comes first. A token that still has life may be used while a refresh is under way or in
//! doubt, and after the answer of a refresh was lost for good.

use crate::{CredentialState, NeedsReauth, Timestamp};

/// An access token this close to its end is not handed out: the call it is for must still arrive in time. For a very
/// short life it is a fifth of that life.
const USABLE_MARGIN_SECONDS: i64 = 10;
/// On checkout, less than this left means due, unless that were more than half of the token's life.
const DUE_SECONDS: i64 = 60;
/// After an intent was written, nobody sends again before this has passed (REFRESH step 6).
pub const QUIET_SECONDS: i64 = 60;
/// How long a lease lasts.
pub const LEASE_SECONDS: i64 = 120;

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

/// Decides from what the row says and the clock.
pub fn decide(
    state: &CredentialState,
    issued_at: Timestamp,
    expires_at: Timestamp,
    has_refresh_token: bool,
    now: Timestamp,
) -> RefreshDecision {
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
        CredentialState::Ok if usable => RefreshDecision::Due,
        CredentialState::Ok => RefreshDecision::Expired,
        CredentialState::Refreshing { lease_until, intent_at } => {
            let quiet = (*lease_until).max(intent_at.plus_seconds(QUIET_SECONDS));
            after_quiet(quiet, usable, now)
        }
        CredentialState::Unknown { intent_at } => after_quiet(intent_at.plus_seconds(QUIET_SECONDS), usable, now),
    }
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
        decide(&CredentialState::Ok, T0, at(3600), true, at(now))
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
        let decision = decide(&CredentialState::Ok, T0, at(120), true, at(61));
        assert_eq!(decision, RefreshDecision::Due);
    }

    #[test]
    fn without_a_refresh_token_it_is_used_to_the_end() {
        let with = |now| decide(&CredentialState::Ok, T0, at(300), false, at(now));
        assert_eq!(with(289), RefreshDecision::Fresh);
        assert_eq!(with(290), RefreshDecision::Reauth(NeedsReauth::NoRefreshToken));
    }

    #[test]
    fn nobody_sends_twice_before_the_quiet_time() {
        let state = CredentialState::Refreshing { lease_until: at(120), intent_at: T0 };
        assert_eq!(decide(&state, T0, at(3600), true, at(119)), RefreshDecision::UseWhileWaiting);
        assert_eq!(decide(&state, T0, at(60), true, at(119)), RefreshDecision::WaitUntil(at(120)));
        assert_eq!(decide(&state, T0, at(60), true, at(120)), RefreshDecision::Recover);
        let state = CredentialState::Unknown { intent_at: T0 };
        assert_eq!(decide(&state, T0, at(3600), true, at(59)), RefreshDecision::UseWhileWaiting);
        assert_eq!(decide(&state, T0, at(3600), true, at(60)), RefreshDecision::Recover);
    }

    #[test]
    fn after_a_lost_response_the_access_token_is_used_to_its_end() {
        let with = |reason, now| decide(&CredentialState::NeedsReauth(reason), T0, at(3600), true, at(now));
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
            let decision = decide(&state, T0, at(life), refresh, at(now));
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
            let decision = decide(&state, T0, at(life), refresh, at(now));
            if let CredentialState::NeedsReauth(reason) = state {
                prop_assert!([RefreshDecision::Reauth(reason), RefreshDecision::UseUntilEnd(reason)].contains(&decision));
            }
        }
    }
}
