//! Row 66 of the attack catalogue: what a stopwatch tells somebody who guesses. A client like `dudect`'s sends requests of two
//! classes, and of the first one twice as a control, in random order over one connection, and compares.
//!
//! Two kinds of questions are asked. Of a *secret* that is compared, whether the time depends on how much of a guess is right:
//! that would give it away piece by piece, so no difference may be found at all. Of a *valid* session against an invalid one,
//! which openly do different things, whether the medians are less than a millisecond apart.
//!
//! `BOWERBIRD_LONG_TESTS=1` takes ten thousand of each; the figures are in the book, under "What a stopwatch tells".

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests; figures are what this one is for")]

mod client;
mod house;
mod statistics;

use std::net::SocketAddr;

use crate::client::{Clock, Timed};
use crate::house::House;
use crate::statistics::{Comparison, compare, quantile};

/// The bound of `dudect` for "there is a difference".
const T: f64 = 4.5;
/// The bound for medians, in nanoseconds.
const MILLISECOND: f64 = 1_000_000.0;
/// A difference must be found this often, in the same direction, before it counts: once in a while chance finds one.
const ROUNDS: usize = 3;

/// Numbers for an order that nobody can have guessed, the same in every run.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// A number below `sides` (xorshift64*).
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16) % sides
    }
}

/// Two classes of requests to one address.
pub(crate) struct Pair<'a> {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    /// Makes the next request of the first class, or of the second.
    pub(crate) request: Box<dyn FnMut(bool) -> Vec<u8> + 'a>,
}

/// What came of a round.
struct Round {
    control: Comparison,
    compared: Comparison,
    median: f64,
    /// What the classes were openly told.
    told: [Timed; 2],
}

/// How many of each class.
fn count() -> usize {
    #[expect(clippy::disallowed_methods, reason = "the long form of a test is asked for so")]
    let asked = std::env::var("BOWERBIRD_LONG_TESTS").is_ok_and(|value| value == "1");
    if asked { 10_000 } else { 250 }
}

fn measure(pair: &mut Pair<'_>, count: usize, seed: u64) -> Round {
    let (mut clock, mut dice) = (Clock::open(pair.address), Dice(seed));
    let mut samples: [Vec<u64>; 3] = Default::default();
    let mut told = [None, None];
    // The first ones fill caches, and count for nothing.
    for turn in 0..count + 20 {
        let mut order = [0, 1, 2];
        for place in [2, 1] {
            order.swap(place, usize::try_from(dice.roll(place as u64 + 1)).unwrap());
        }
        for class in order {
            let second = class == 2;
            let timed = clock.time(&(pair.request)(second));
            if turn >= 20 {
                samples[class].push(timed.nanos);
            }
            let told = &mut told[usize::from(second)];
            let before = told.get_or_insert_with(|| timed.clone());
            assert_eq!(before.told, timed.told, "{}: a class has one answer", pair.name);
        }
    }
    let [first, control, second] = samples;
    let told = told.map(Option::unwrap);
    let median = quantile(&first, 0.5);
    Round { control: compare(&first, &control), compared: compare(&first, &second), median, told }
}

fn report(name: &str, count: usize, round: &Round) {
    let Round { control, compared, median, .. } = round;
    println!(
        "{name}: n {count}, median {:.0} µs, Δ median {:+.2} µs, t {:+.2}; control Δ {:+.2} µs, t {:+.2}",
        median / 1e3,
        compared.delta / 1e3,
        compared.t,
        control.delta / 1e3,
        control.t
    );
}

/// Guesses of a secret that are right to a different extent: nothing may tell them apart.
fn must_be_the_same(mut pair: Pair<'_>) {
    let count = count();
    let mut found = Vec::new();
    for seed in 1..=ROUNDS {
        let round = measure(&mut pair, count, seed as u64);
        report(pair.name, count, &round);
        assert_eq!(round.told[0].told, round.told[1].told, "{}: both are told the same", pair.name);
        assert!(round.compared.delta.abs() < MILLISECOND, "{}: {:?}", pair.name, round.compared);
        // A machine on which a class differs from itself says nothing.
        if round.compared.t.abs() < T || round.control.t.abs() >= T {
            return;
        }
        found.push(round.compared.t);
    }
    let one_way = found.iter().all(|t| *t > 0.0) || found.iter().all(|t| *t < 0.0);
    assert!(!one_way, "{}: a stopwatch tells them apart: t {found:?}", pair.name);
}

/// Answers that are meant to differ: less than a millisecond apart.
fn must_be_near(pair: &mut Pair<'_>, seed: u64) -> Comparison {
    let count = count();
    let round = measure(pair, count, seed);
    report(pair.name, count, &round);
    assert!(round.compared.delta.abs() < MILLISECOND, "{}: {:?}", pair.name, round.compared);
    round.compared
}

/// The same for a difference that this client must find, or the tests for secrets are of no use. A machine may be too busy to
/// show it at once.
fn must_be_found(pair: &mut Pair<'_>) {
    let mut looked = Vec::new();
    while looked.len() < ROUNDS && looked.last().is_none_or(|seen: &Comparison| seen.t <= T) {
        looked.push(must_be_near(pair, looked.len() as u64 + 1));
    }
    assert!(looked.iter().any(|seen| seen.t > T), "this client sees nothing: {looked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_66_no_secret_is_given_away_piece_by_piece() {
    let house = House::open().await;
    let wrong_verifiers = house.wrong_verifiers((count() + 20) * 3 * ROUNDS).await;
    tokio::task::block_in_place(|| {
        must_be_the_same(house.seal_with_a_wrong_mac());
        must_be_the_same(house.refresh_string_with_a_wrong_mac());
        must_be_the_same(house.wrong_admin_token());
        must_be_the_same(house.wrong_form_token());
        must_be_the_same(house.account_of_somebody_or_of_nobody_by_id());
        must_be_the_same(house.account_of_somebody_or_of_nobody_by_did());
        must_be_the_same(house.wrong_verifier(wrong_verifiers));
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn row_66_valid_and_invalid_are_less_than_a_millisecond_apart() {
    let house = House::open().await;
    tokio::task::block_in_place(|| {
        must_be_near(&mut house.seal_that_is_forged_or_good(), 7);
        must_be_near(&mut house.refresh_string_that_is_forged_or_of_a_session_that_is_over(), 7);
        // The row of an authentic one is looked for.
        must_be_found(&mut house.seal_that_is_forged_or_of_a_session_that_is_over());
    });
}
