//! How each kind of figure is taken.

use super::cases::{Case, Measure, Target};
use super::figures::Figures;
use super::lab::Lab;
use super::process;
use super::wrk::{self, Measured};
use crate::interrupt;
use anyhow::Result;
use std::time::Duration;

/// How long and how often load is sent.
#[derive(Clone, Copy)]
pub(super) struct Effort {
    rounds: usize,
    round: Duration,
}

impl Effort {
    pub(super) const SHORT: Self = Self { rounds: 2, round: Duration::from_secs(3) };
    pub(super) const LONG: Self = Self { rounds: 5, round: Duration::from_secs(10) };
}

/// A figure, and where it comes from in words.
pub(super) struct Figure {
    pub(super) value: f64,
    pub(super) detail: String,
}

/// Takes the figure of a case.
pub(super) fn measure(lab: &mut Lab, figures: &Figures, case: &Case, effort: Effort) -> Result<Figure> {
    match case.measure {
        Measure::ThroughputRatio { ours, reference } => throughput_ratio(lab, effort, ours, reference),
        Measure::LatencyAdded { ours, reference } => latency_added(lab, effort, ours, reference),
        Measure::CpuPerCall(target) => cpu_per_call(lab, effort, target),
        Measure::TimeAlone(target) => time_alone(lab, effort, target),
        Measure::IdleMemory => idle_memory(lab),
        Measure::LoadedMemory => Ok(Figure { value: process::resident(lab.bowerbird()?)?, detail: String::new() }),
        Measure::Ready => ready(lab),
        Measure::Vault(_) => figures.measure(case.name),
        Measure::IdleAccounts => idle_accounts(lab, figures),
        Measure::ProgramSize => {
            let bytes = std::fs::metadata(&lab.program)?.len();
            Ok(Figure { value: bytes as f64 / 1e6, detail: format!("{bytes} bytes") })
        }
    }
}

/// Rounds in turn, so that a machine that slows down slows both; the median of the rounds' ratios.
fn throughput_ratio(lab: &Lab, effort: Effort, ours: Target, reference: Target) -> Result<Figure> {
    warm_up(lab, &[ours, reference])?;
    let mut rounds = Vec::new();
    for _ in 0..effort.rounds {
        rounds.push((load(lab, ours, effort)?.throughput(), load(lab, reference, effort)?.throughput()));
    }
    let ratio = median(rounds.iter().map(|(ours, reference)| ours / reference));
    let ours = median(rounds.iter().map(|(ours, _)| *ours));
    let reference = median(rounds.iter().map(|(_, reference)| *reference));
    Ok(Figure { value: ratio, detail: format!("{ours:.0}/s against {reference:.0}/s") })
}

/// The same pace for both, half of what ours can carry; the median of the rounds' differences.
fn latency_added(lab: &Lab, effort: Effort, ours: Target, reference: Target) -> Result<Figure> {
    warm_up(lab, &[ours, reference])?;
    let rate = load(lab, ours, effort)?.throughput() / 2.0;
    let paced = |target| {
        interrupt::check()?;
        wrk::paced(&lab.folder, &lab.load(target), effort.round, rate)
    };
    let mut added = Vec::new();
    let mut detail = String::new();
    for _ in 0..effort.rounds {
        let (slower, faster) = (paced(ours)?, paced(reference)?);
        added.push((slower.p99 - faster.p99) / 1e3);
        detail = format!("at {:.0}/s: {} against {}", slower.throughput(), slower.latency(), faster.latency());
    }
    Ok(Figure { value: median(added.into_iter()), detail })
}

fn cpu_per_call(lab: &Lab, effort: Effort, target: Target) -> Result<Figure> {
    warm_up(lab, &[target])?;
    let before = process::cpu(lab.bowerbird()?)?;
    let measured = load(lab, target, effort)?;
    let used = process::cpu(lab.bowerbird()?)?.saturating_sub(before);
    let each = used.as_secs_f64() * 1e3 / measured.requests as f64;
    Ok(Figure { value: each, detail: format!("{:.2} s for {} calls", used.as_secs_f64(), measured.requests) })
}

/// The median of the rounds' medians.
fn time_alone(lab: &Lab, effort: Effort, target: Target) -> Result<Figure> {
    warm_up(lab, &[target])?;
    let mut rounds = Vec::new();
    let mut detail = String::new();
    for _ in 0..effort.rounds {
        interrupt::check()?;
        let measured = wrk::alone(&lab.folder, &lab.load(target), effort.round)?;
        detail = format!("{}, {} calls", measured.latency(), measured.requests);
        rounds.push(measured.p50 / 1e3);
    }
    Ok(Figure { value: median(rounds.into_iter()), detail })
}

fn idle_memory(lab: &mut Lab) -> Result<Figure> {
    lab.restart()?;
    interrupt::sleep(Duration::from_secs(2))?;
    Ok(Figure { value: process::resident(lab.bowerbird()?)?, detail: "two seconds after a start".to_owned() })
}

/// The same database before and after it is filled, each time on a fresh start with time for a first sweep.
fn idle_accounts(lab: &mut Lab, figures: &Figures) -> Result<Figure> {
    const ACCOUNTS: u32 = 1_000_000;
    let settled = |lab: &mut Lab| {
        lab.restart()?;
        interrupt::sleep(Duration::from_secs(15))?;
        process::resident(lab.bowerbird()?)
    };
    let one = settled(lab)?;
    lab.stop();
    figures.fill(&lab.database(), ACCOUNTS)?;
    let many = settled(lab)?;
    Ok(Figure { value: many - one, detail: format!("{many:.1} MB with {ACCOUNTS} more accounts, {one:.1} MB without") })
}

fn ready(lab: &mut Lab) -> Result<Figure> {
    let mut starts = Vec::new();
    for _ in 0..5 {
        starts.push(lab.restart()?.as_secs_f64() * 1e3);
    }
    let slowest = starts.iter().copied().fold(0.0, f64::max);
    Ok(Figure { value: median(starts.into_iter()), detail: format!("median of 5 starts, slowest {slowest:.1} ms") })
}

fn load(lab: &Lab, target: Target, effort: Effort) -> Result<Measured> {
    interrupt::check()?;
    wrk::flat_out(&lab.folder, &lab.load(target), effort.round)
}

/// Connections to the upstream and caches are there before anything is measured.
fn warm_up(lab: &Lab, targets: &[Target]) -> Result<()> {
    for target in targets {
        load(lab, *target, Effort { rounds: 1, round: Duration::from_secs(1) })?;
    }
    Ok(())
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        even if even % 2 == 0 => f64::midpoint(values[middle - 1], values[middle]),
        _ => values[middle],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_is_between_the_two_in_the_middle() {
        assert!((median([4.0, 1.0, 3.0, 2.0].into_iter()) - 2.5).abs() < 1e-9);
        assert!((median([9.0, 1.0, 5.0].into_iter()) - 5.0).abs() < 1e-9);
    }
}
