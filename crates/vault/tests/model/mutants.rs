//! The model can fail: with one rule switched off, the search finds the harm that the rule is there for. And what no rule
//! of ours prevents, shown the same way.

use super::checker::explore;
use super::proofs::{ONE, TWO};
use super::properties::Property;
use super::world::{Doubt, Excuse, Fence, Intent, Policy, RULES, Rules, Seen, Setup, Swap};

/// Searches until a violation, which must be one of those expected.
fn harms(name: &str, setup: &Setup, expected: &[Property]) {
    let explored = explore(setup);
    let (property, trace) = explored.violation.unwrap_or_else(|| panic!("{name}: nothing was found"));
    println!("{name}: {property:?} after {} states, {:.1} s\n{trace}", explored.states, explored.seconds);
    assert!(expected.contains(&property), "{name}: {property:?}");
}

fn without(rules: Rules) -> Setup {
    Setup { rules, ..TWO }
}

#[test]
fn no_intent() {
    let rules = Rules { intent: Intent::None, ..RULES };
    harms("nothing is written before the send", &without(rules), &[Property::NeverTwoAtOnce]);
}

#[test]
fn a_lease_without_an_intent() {
    let rules = Rules { intent: Intent::LeaseOnly, ..RULES };
    harms("after a crash nobody knows that a token was sent", &Setup { rules, ..ONE }, &[Property::NeverBlamed]);
}

#[test]
fn no_quiet_time() {
    // A lease that outlasts a doubt covers the quiet time, as it is longer. Where the note of the doubt ends the lease,
    // the quiet time is all there is.
    let rules = Rules { doubt: Doubt::QuietFromNote, quiet: false, ..RULES };
    harms("a broken connection is followed by the next send", &without(rules), &[Property::NeverTwoAtOnce]);
}

#[test]
fn a_doubt_that_ends_the_lease() {
    let rules = Rules { doubt: Doubt::QuietFromIntent, ..RULES };
    let expected = [Property::NeverTwoAtOnce];
    harms("the send was much younger than the intent, and is still on its way", &without(rules), &expected);
}

#[test]
fn a_resend_before_the_lease_ends() {
    let rules = Rules { lease: false, ..RULES };
    harms("the lease keeps nobody out", &without(rules), &[Property::NeverTwoAtOnce]);
}

#[test]
fn a_commit_that_compares_the_lease() {
    let rules = Rules { commit: Swap::Lease, ..RULES };
    let expected = [Property::NeverDropped, Property::NeverAgainstASuccessor];
    harms("a late holder of the successor is turned away", &without(rules), &expected);
}

#[test]
fn a_commit_that_compares_nothing() {
    let rules = Rules { commit: Swap::Blind, ..RULES };
    harms("a late answer overwrites a login", &Setup { rules, ..ONE }, &[Property::NeverOverALogin]);
}

#[test]
fn no_fence() {
    let rules = Rules { fence: Fence::None, ..RULES };
    let expected = [Property::NeverSpent, Property::NeverTwoAtOnce, Property::NeverAgainstASuccessor];
    harms("an instance that was stopped sends when it goes on", &without(rules), &expected);
}

#[test]
fn no_spill() {
    let rules = Rules { spill: false, ..RULES };
    harms("a crash while the database is away", &Setup { rules, ..ONE }, &[Property::NeverDropped]);
}

#[test]
fn a_spill_that_is_not_replayed_first() {
    let rules = Rules { replay_spill_first: false, ..RULES };
    harms(
        "an instance sends while its own spill has the successor",
        &Setup { rules, ..ONE },
        &[Property::NeverAgainstASuccessor],
    );
}

#[test]
fn only_the_spills_of_the_dead_are_looked_into() {
    let rules = Rules { spills_seen: Seen::OfTheDead, ..RULES };
    harms(
        "the holder of the file is stopped, or has just taken it over",
        &Setup { rules, excuse: Excuse::OutOfReachInMemory, ..TWO },
        &[Property::NeverAgainstASuccessor],
    );
}

#[test]
fn an_answer_that_was_seen_and_not_stored_is_worked_against() {
    let rules = Rules { spills_seen: Seen::All, heeds_what_it_saw: false, ..RULES };
    harms(
        "the database fails between the spill and the row",
        &Setup { rules, excuse: Excuse::OutOfReachInMemory, ..TWO },
        &[Property::NeverAgainstASuccessor],
    );
}

#[test]
fn a_lease_taken_without_looking_at_the_generation() {
    let rules = Rules { begin_compares: false, ..RULES };
    harms("what was read before is sent after a commit", &without(rules), &[Property::NeverSpent]);
}

#[test]
fn a_state_that_is_written_without_the_lease() {
    let rules = Rules { state_fenced: false, ..RULES };
    let expected = [Property::NeverTwoAtOnce, Property::NeverSpent, Property::NeverAgainstASuccessor];
    harms("an instance that was stopped ends the lease of another", &without(rules), &expected);
}

#[test]
fn no_moment_for_a_late_holder() {
    let rules = Rules { late_holder_grace: false, ..RULES };
    let expected = [Property::NeverAgainstASuccessor];
    harms("after an outage of the database, the second sender is faster", &without(rules), &expected);
}

#[test]
fn a_deadline_that_is_looked_at_before_the_socket() {
    let rules = Rules { answer_before_deadline: false, ..RULES };
    harms("an answer that waited through a pause is thrown away", &without(rules), &[Property::NeverDropped]);
}

#[test]
fn a_doubt_that_is_forgotten() {
    let rules = Rules { keeps_doubt: false, ..RULES };
    harms("a nonce makes a lost answer look like a revocation", &Setup { rules, ..ONE }, &[Property::NeverBlamed]);
}

#[test]
fn a_doubt_that_nobody_takes_up() {
    let rules = Rules { recovers: false, ..RULES };
    harms("a crash leaves a row that stays as it is", &Setup { rules, ..ONE }, &[Property::AlwaysAWayOut]);
}

/// What a limit of resends costs, and why the engine has none.
#[test]
fn a_limit_of_resends_gives_up_sessions_that_are_alive() {
    let rules = Rules { sends: Some(2), ..RULES };
    harms("two lost requests end a sign-in", &Setup { rules, ..ONE }, &[Property::NeverGivenUpEarly]);
}

// Risks that remain: no rule of ours prevents them.

#[test]
fn residual_the_excused_case_is_real() {
    let setup = Setup { excuse: Excuse::Nothing, ..TWO };
    harms("an instance out of reach held the successor", &setup, &[Property::NeverAgainstASuccessor]);
    let rules = Rules { spills_seen: Seen::All, ..RULES };
    harms("also with a shared spill: in memory", &Setup { rules, ..setup }, &[Property::NeverAgainstASuccessor]);
}

#[test]
fn residual_a_pause_between_the_fence_and_the_first_byte() {
    let rules = Rules { fence: Fence::BeforeFirstByte, ..RULES };
    let expected = [Property::NeverSpent, Property::NeverTwoAtOnce, Property::NeverAgainstASuccessor];
    harms("stopped in the microseconds before the first byte", &without(rules), &expected);
}

#[test]
fn residual_a_clock_that_stands_still() {
    let rules = Rules { fence: Fence::StoppedClock, ..RULES };
    let expected = [Property::NeverSpent, Property::NeverTwoAtOnce, Property::NeverAgainstASuccessor];
    harms("a suspended machine whose monotonic clock does not count", &without(rules), &expected);
}

#[test]
fn residual_a_request_that_is_on_its_way_for_too_long() {
    let setup = Setup { late_by: 3, policy: Policy::NoGrace, ..TWO };
    harms(
        "a request that the server takes after the lease",
        &setup,
        &[Property::NeverTwoAtOnce, Property::NeverAgainstASuccessor],
    );
}
