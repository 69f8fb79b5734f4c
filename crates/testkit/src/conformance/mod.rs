//! The contract of `bowerbird_core::ports::stores`, as properties that every implementation must have.
//!
//! ```text
//! bowerbird_testkit::conformance_tests!(make_stores);
//!
//! /// Empty stores, and whatever must live as long as they are used. None skips the test.
//! async fn make_stores() -> Option<(Stores, ())> { … }
//! ```
//!
//! makes one test of each property, so that a failure has a name; [`run_all`] checks them in turn, for where setting up
//! is expensive.

pub mod accounts;
pub mod alerts;
pub mod authorization_requests;
pub mod connections;
pub mod credentials;
pub mod data_keys;
pub mod device_sessions;
mod fixtures;
pub mod handoffs;
pub mod leases;
pub mod older_contract;
pub mod renewals;
pub mod security_events;
pub mod text;

use std::panic::AssertUnwindSafe;

use bowerbird_core::ports::Stores;
use futures_util::FutureExt as _;

pub use self::fixtures::{T0, granted, signed_in};

/// Names every property, once, for whoever expands it.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_properties {
    ([$($callback:tt)+], $make:expr) => {
        $($callback)+! { $make;
            accounts {
                sign_in_adds_then_updates_and_keeps_the_id,
                concurrent_sign_ins_make_one_account,
                a_taken_id_is_refused,
                unknown_accounts_are_none,
                a_profile_is_replaced_and_survives_a_login,
                pages_are_stable_and_whole,
                going_on_after_a_removed_account_is_refused,
                removing_takes_everything_along,
                removing_moves_the_active_place,
            }
            alerts {
                an_incident_is_opened_once_and_closed_once,
                one_of_many_opens_and_one_of_many_closes,
                an_incident_of_another_kind_is_told_and_one_of_the_same_is_not,
                no_incident_of_an_access_that_works_or_is_gone,
                an_incident_goes_with_its_credential,
                what_nobody_told_is_found,
                a_delivery_is_claimed_once_and_comes_back_when_the_claim_ends,
                a_claim_that_is_over_changes_nothing,
                deliveries_are_of_one_endpoint_and_in_order,
                deliveries_of_an_account_go_with_it,
                a_refused_delivery_keeps_the_incident_from_opening,
                waiting_is_counted_up_to_a_number_and_old_ones_are_purged,
                the_census_counts_by_state_and_age,
            }
            connections {
                ensure_keeps_the_first,
                concurrent_ensures_make_one,
                ensure_needs_the_account,
                find_is_exact_and_list_is_oldest_first,
            }
            credentials {
                every_field_and_state_comes_back,
                a_key_beside_the_row_is_its_accounts,
                a_first_grant_is_added_once,
                a_grant_replaces_only_what_was_seen,
                a_grant_needs_its_own_connection,
                a_stale_generation_changes_nothing,
                a_state_is_all_that_set_state_changes,
                counts_are_by_reason_and_by_client_key,
                removing_is_told_once,
                removing_takes_only_what_was_seen,
                a_removal_never_takes_a_racing_login_along,
                due_is_by_time_and_in_pages,
                a_use_only_moves_forward,
            }
            leases {
                one_of_many_begins,
                begin_writes_the_intent_and_gives_the_row_before,
                a_running_lease_or_a_quiet_time_keeps_others_out,
                begin_needs_the_seen_generation_and_no_person,
                a_commit_adds_a_generation_and_releases,
                a_commit_lands_even_after_the_lease_was_lost,
                a_commit_loses_against_a_new_grant,
                one_of_many_commits,
                a_lost_lease_does_not_end_the_next_one,
            }
            data_keys {
                ensure_keeps_the_first,
                concurrent_ensures_agree,
                ensure_needs_the_account,
                rewrap_names_the_key_that_it_saw,
                pages_hold_what_is_left_to_rewrap,
            }
            authorization_requests {
                one_of_fifty_takes_it,
                it_comes_back_as_it_was,
                expired_is_gone_to_the_millisecond,
                purge_removes_what_expired_and_counts,
                the_cap_counts_live_records,
                a_taken_state_is_refused_and_kept,
            }
            device_sessions {
                it_comes_back_as_it_was,
                inconsistent_sessions_are_refused_whole,
                expired_is_invisible_and_purged,
                rotate_moves_everything_and_kills_the_old_name,
                one_of_many_rotates,
                rotate_needs_a_live_session,
                a_refused_rotate_changes_nothing,
                activate_takes_only_accounts_of_the_device,
                the_active_place_goes_to_the_one_used_last,
                the_last_account_takes_the_session_along,
                touch_moves_forward_only_and_revives_nothing,
                lists_are_last_used_first,
            }
            handoffs {
                it_comes_back_once_as_it_was,
                one_of_fifty_redeems,
                three_wrong_verifiers_burn_it,
                a_proof_is_exact_also_where_none_is_expected,
                expired_is_unknown_and_purged,
                it_goes_with_its_account,
                one_that_is_withdrawn_is_gone,
            }
            renewals {
                each_string_has_one_successor,
                everybody_with_one_string_gets_one_successor,
                a_string_whose_successor_was_used_is_superseded,
                a_line_follows_its_session_and_ends_with_it,
                a_new_line_ends_the_old_one,
                a_string_ahead_of_a_restored_row_counts,
            }
            security_events {
                they_come_back_latest_first_and_in_pages,
                those_of_an_account_are_its_own_and_go_with_it,
                only_the_latest_are_kept,
                old_ones_are_purged,
            }
            older_contract {
                each_address_is_counted_by_itself,
                none_is_lost_at_the_same_moment,
            }
            text {
                hostile_text_is_kept_or_refused,
                hostile_text_finds_only_itself,
            }
        }
    };
}

/// Makes one `#[tokio::test]` of every property. The argument names an async function without arguments that gives
/// `Option<(Stores, Guard)>`: empty stores and what must outlive their use, or None to skip (having said why).
#[macro_export]
macro_rules! conformance_tests {
    ($make:path) => {
        $crate::conformance_properties! { [$crate::conformance_test_functions], $make }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! conformance_test_functions {
    ($make:expr; $($module:ident { $($property:ident),* $(,)? })*) => {
        $(mod $module {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $property() {
                use super::*;
                if let Some((stores, _guard)) = $make().await {
                    $crate::conformance::$module::$property(stores).await;
                }
            })*
        })*
    };
}

macro_rules! run_in_turn {
    ($run:expr; $($module:ident { $($property:ident),* $(,)? })*) => {
        $($($run.check(concat!(stringify!($module), "::", stringify!($property)), $module::$property).await;)*)*
    };
}

/// Checks every property in turn, each on fresh stores; panics at the end with the names of those that failed.
pub async fn run_all(make: impl AsyncFn() -> Stores) {
    let mut run = Run { make, failed: Vec::new() };
    conformance_properties! { [run_in_turn], run }
    assert!(run.failed.is_empty(), "these properties of a store do not hold: {:?}", run.failed);
}

struct Run<M> {
    make: M,
    failed: Vec<&'static str>,
}

impl<M: AsyncFn() -> Stores> Run<M> {
    async fn check<F: Future<Output = ()>>(&mut self, name: &'static str, property: impl Fn(Stores) -> F) {
        let stores = (self.make)().await;
        if AssertUnwindSafe(property(stores)).catch_unwind().await.is_err() {
            self.failed.push(name);
        }
    }
}
