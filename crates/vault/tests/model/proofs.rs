//! The protocol as it is keeps every property, in every world.

use super::checker::{Explored, explore};
use super::properties::Property;
use super::world::{COARSE, Doubt, Excuse, FINE, Policy, RULES, Rules, Seen, Setup, Timing};

/// The world that the others are variations of.
pub(crate) const TWO: Setup = Setup {
    policy: Policy::NoGrace,
    timing: COARSE,
    rules: RULES,
    instances: 2,
    logins: false,
    late_by: 0,
    excuse: Excuse::OutOfReach,
    waived: None,
};
pub(crate) const ONE: Setup = Setup { instances: 1, logins: true, excuse: Excuse::Nothing, ..TWO };

/// At most two sends of a token that may have consumed it.
const LIMITED: Rules = Rules { sends: Some(2), ..RULES };

fn holds(name: &str, setup: &Setup) -> Explored {
    let explored = explore(setup);
    println!("{name}: {} states, {} steps, {:.1} s", explored.states, explored.steps, explored.seconds);
    if let Some((property, trace)) = &explored.violation {
        panic!("{name}: {property:?} is violated:\n{trace}");
    }
    explored
}

fn long() -> Option<Timing> {
    let asked = std::env::var("BOWERBIRD_LONG_TESTS").is_ok_and(|value| value == "1");
    if !asked {
        println!("the larger world is skipped; set BOWERBIRD_LONG_TESTS=1 to run it");
    }
    asked.then_some(FINE)
}

#[test]
fn two_instances_and_a_server_without_grace() {
    let explored = holds("two instances, no grace", &TWO);
    assert!(explored.lost, "a lost answer is part of this world");
    let trace = explored.out_of_reach.expect("the excused case is reached, or the excuse could go");
    println!("the excused case:\n{trace}");
}

/// A request of an instance that came too late may still find the token two sets old: grace covers one.
#[test]
fn two_instances_and_a_server_with_grace() {
    let explored = holds("two instances, grace", &Setup { policy: Policy::Grace, ..TWO });
    assert!(!explored.lost, "a lost answer is repeated");
}

/// A late run may drop the newest answer here, because the row is ahead of what it saw. The server gives it again.
#[test]
fn two_instances_and_a_server_that_repeats_itself() {
    let waived = Some(Property::NeverDropped);
    let setup = Setup { policy: Policy::Idempotent, excuse: Excuse::Nothing, waived, ..TWO };
    let explored = holds("two instances, idempotent", &setup);
    assert!(!explored.lost);
}

/// One instance needs no excuse: nothing of its own is ever out of its reach when it sends.
#[test]
fn one_instance_never_works_against_its_own_successor() {
    for policy in [Policy::NoGrace, Policy::Grace, Policy::Idempotent, Policy::Refuses] {
        let explored = holds(&format!("one instance, {policy:?}, logins"), &Setup { policy, ..ONE });
        assert!(explored.out_of_reach.is_none());
    }
}

/// Where every instance reads every spill file, what was spilled is never worked against: also when its holder is stopped,
/// cut off from the database, or has just taken it over from a dead one.
#[test]
fn with_a_shared_spill_only_what_is_in_memory_can_be_out_of_reach() {
    let rules = Rules { spills_seen: Seen::All, ..RULES };
    holds("two instances, shared spill", &Setup { rules, excuse: Excuse::OutOfReachInMemory, ..TWO });
}

/// With a limit, one token is sent twice at most. The price is in `mutants.rs`: sessions are given up that are alive.
#[test]
fn a_limit_of_resends_bounds_the_sends() {
    let waived = Some(Property::NeverGivenUpEarly);
    holds("one instance, one resend, logins", &Setup { rules: LIMITED, waived, ..ONE });
    if long().is_some() {
        holds("two instances, one resend", &Setup { rules: LIMITED, waived, ..TWO });
    }
}

/// The other way to wait after a doubt: sixty seconds from the note, whatever is left of the lease.
#[test]
fn a_quiet_time_from_the_note_of_the_doubt_is_enough() {
    let rules = Rules { doubt: Doubt::QuietFromNote, ..RULES };
    holds("one instance, quiet time from the note", &Setup { rules, ..ONE });
    if long().is_some() {
        holds("two instances, quiet time from the note", &Setup { rules, ..TWO });
    }
}

#[test]
fn two_instances_and_a_server_that_refuses_and_leaves_alone() {
    if long().is_some() {
        holds("two instances, refuses replays", &Setup { policy: Policy::Refuses, excuse: Excuse::Nothing, ..TWO });
    }
}

#[test]
fn two_instances_with_logins() {
    if long().is_some() {
        holds("two instances, no grace, logins", &Setup { logins: true, ..TWO });
    }
}

#[test]
fn two_instances_with_a_finer_clock() {
    if let Some(timing) = long() {
        holds("two instances, no grace, ticks of 15 s", &Setup { timing, ..TWO });
    }
}
