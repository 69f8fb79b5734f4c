//! Measures what one DPoP proof costs: `cargo run --release -p bowerbird-oauth --example proof_cost`.
#![expect(clippy::disallowed_methods, clippy::print_stdout, reason = "a measurement reads the clock and prints")]

use std::{hint::black_box, time::Instant};

use bowerbird_oauth::{DpopNonce, Secret, SigningKey, Timestamp, dpop};

const ROUNDS: u32 = 20_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let key = SigningKey::from_scalar(&[1; 32])?;
    let url = url::Url::parse("https://pds.example/xrpc/app.bsky.feed.getTimeline?limit=50")?;
    let nonce = DpopNonce::parse("n0nce-of-a-usual-length-4711-abcdefghij");
    let access_token = Secret::new("a".repeat(800));
    let started = Instant::now();
    for round in 0..ROUNDS {
        let jti = u128::from(round).to_be_bytes();
        let now = Timestamp::from_seconds(i64::from(round));
        black_box(dpop::proof(&key, &http::Method::GET, &url, now, &jti, nonce.as_ref(), Some(&access_token)));
    }
    let whole = started.elapsed();
    let started = Instant::now();
    for round in 0..ROUNDS {
        black_box(key.sign(&round.to_be_bytes()));
    }
    let signature = started.elapsed();
    let started = Instant::now();
    for round in 1..=ROUNDS {
        let mut scalar = [1; 32];
        scalar[..4].copy_from_slice(&round.to_be_bytes());
        black_box(SigningKey::from_scalar(&scalar)?);
    }
    let parse = started.elapsed();
    println!("proof: {:.1} µs, of which the signature: {:.1} µs", per_round(whole), per_round(signature));
    println!("reading a key from its scalar: {:.1} µs", per_round(parse));
    Ok(())
}

fn per_round(time: std::time::Duration) -> f64 {
    time.as_secs_f64() * 1e6 / f64::from(ROUNDS)
}
