//! The simulation by hand: `cargo xtask simulate --seeds 1000000`, or
//! `cargo run --release -p bowerbird-vault --example simulate -- [--seeds N] [--from S] [--trace] [--mistake NAME]`.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a program to be run by hand; virtual time is read from the runtime"
)]

#[path = "../tests/simulation/simulator/mod.rs"]
mod simulator;

use std::process::ExitCode;

use simulator::{Mutant, campaign, play};

struct Arguments {
    seeds: u64,
    from: u64,
    trace: bool,
    mistake: Option<Mutant>,
}

fn arguments() -> Result<Arguments, String> {
    let mut parsed = Arguments { seeds: 10_000, from: 0, trace: false, mistake: None };
    let mut given = std::env::args().skip(1);
    while let Some(name) = given.next() {
        let mut value = || given.next().ok_or_else(|| format!("{name} needs a value"));
        let number = |text: String| text.parse().map_err(|_| format!("{text} is no number"));
        match name.as_str() {
            "--seeds" => parsed.seeds = number(value()?)?,
            "--from" => parsed.from = number(value()?)?,
            "--trace" => parsed.trace = true,
            "--mistake" => {
                let wanted = value()?;
                let known = Mutant::ALL.into_iter().find(|mutant| format!("{mutant:?}") == wanted);
                parsed.mistake = Some(known.ok_or_else(|| format!("the mistakes are {:?}", Mutant::ALL))?);
            }
            _ => return Err(format!("{name} is not known; there are --seeds, --from, --trace and --mistake")),
        }
    }
    Ok(parsed)
}

fn main() -> ExitCode {
    let Arguments { seeds, from, trace, mistake } = match arguments() {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let seeds = from..from.saturating_add(seeds);
    if trace {
        return follow(seeds, mistake);
    }
    println!("seeds {} to {}", seeds.start, seeds.end.saturating_sub(1));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let progress = |done: u64| {
        if done.is_multiple_of(50_000) {
            println!("{done} done");
        }
    };
    let campaign = campaign(seeds, mistake, 20, threads, progress);
    println!("{campaign}");
    if campaign.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Each seed with all that happens in it.
fn follow(seeds: std::ops::Range<u64>, mistake: Option<Mutant>) -> ExitCode {
    let mut sound = true;
    for seed in seeds {
        let outcome = play(seed, mistake, true);
        println!("seed {seed}");
        for line in outcome.trace {
            println!("{line}");
        }
        for fault in &outcome.faults {
            println!("FAULT: {fault}");
        }
        sound &= outcome.faults.is_empty();
    }
    if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
