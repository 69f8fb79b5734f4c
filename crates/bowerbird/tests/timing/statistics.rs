//! Two samples of durations: how far apart they are, and whether that can be chance.

/// What the slowest twentieth is: the scheduler and the disk, not the server's code. Cut off for the test of means, as
/// `dudect` does; medians need no cut.
const KEPT: f64 = 0.95;

/// How two classes of requests compare.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Comparison {
    /// The median of the second minus that of the first, in nanoseconds.
    pub(crate) delta: f64,
    /// Welch's t of the two, without the slowest.
    pub(crate) t: f64,
}

/// Compares two samples of nanoseconds.
pub(crate) fn compare(first: &[u64], second: &[u64]) -> Comparison {
    let limit = quantile(&[first, second].concat(), KEPT);
    let kept = |sample: &[u64]| sample.iter().map(|value| as_f64(*value)).filter(|value| *value <= limit).collect();
    let (one, two): (Vec<f64>, Vec<f64>) = (kept(first), kept(second));
    Comparison { delta: quantile(second, 0.5) - quantile(first, 0.5), t: welch(&one, &two) }
}

/// The value that this part of a sample does not exceed.
pub(crate) fn quantile(sample: &[u64], part: f64) -> f64 {
    let mut sorted = sample.to_vec();
    sorted.sort_unstable();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a part of a length is a place in the sample"
    )]
    let place = (as_f64(sorted.len() as u64 - 1) * part) as usize;
    as_f64(sorted[place])
}

fn welch(one: &[f64], two: &[f64]) -> f64 {
    let (mean_one, error_one) = mean_and_error(one);
    let (mean_two, error_two) = mean_and_error(two);
    (mean_two - mean_one) / (error_one + error_two).sqrt()
}

/// The mean, and its variance.
fn mean_and_error(sample: &[f64]) -> (f64, f64) {
    let count = as_f64(sample.len() as u64);
    let mean = sample.iter().sum::<f64>() / count;
    let squares = sample.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
    (mean, squares / (count - 1.0) / count)
}

#[expect(clippy::cast_precision_loss, reason = "nanoseconds of a request are far below 2^52")]
fn as_f64(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Around 100 µs, with a tail.
    fn noise(seed: u64, count: usize, shift: u64) -> Vec<u64> {
        let mut dice = crate::Dice(seed);
        (0..count)
            .map(|_| {
                let tail = if dice.roll(50) == 0 { 5_000_000 } else { 0 };
                100_000 + shift + dice.roll(20_000) + dice.roll(20_000) + tail
            })
            .collect()
    }

    #[test]
    fn the_numbers_are_those_of_the_formula() {
        let compared = compare(&[1, 2, 3, 4, 5, 6], &[3, 4, 5, 6, 7, 8]);
        assert!((compared.delta - 2.0).abs() < 1e-9, "{compared:?}");
        // Without the one value above the 95th part (8): means 3.5 and 5.0, variances of them 3.5/6 and 2.5/5.
        let expected = 1.5 / (3.5_f64 / 6.0 + 2.5 / 5.0).sqrt();
        assert!((compared.t - expected).abs() < 1e-9, "{compared:?}, not {expected}");
        assert!((quantile(&[5, 1, 3], 0.5) - 3.0).abs() < 1e-9);
    }

    #[test]
    fn a_microsecond_is_found_among_ten_thousand_and_none_is_not() {
        let same = compare(&noise(1, 10_000, 0), &noise(2, 10_000, 0));
        assert!(same.t.abs() < 4.5, "{same:?}");
        let shifted = compare(&noise(1, 10_000, 0), &noise(2, 10_000, 1_000));
        assert!(shifted.t > 4.5, "{shifted:?}");
        assert!((shifted.delta - 1_000.0).abs() < 500.0, "{shifted:?}");
    }
}
