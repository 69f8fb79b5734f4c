//! The closing lines of test runners, read and added up.

use crate::ui;
use std::fmt;
use std::ops::AddAssign;

/// How many tests passed, failed and were left out.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Totals {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Totals {
    /// The closing line of nextest, or the sum of those that `cargo test` prints for each program. Where nextest is the
    /// runner, the latter stand in what a failed test printed, and count nothing. Else the closing lines of Node.
    pub(crate) fn of(lines: &[String]) -> Self {
        let lines: Vec<String> = lines.iter().map(|line| ui::plain(line)).collect();
        let summary = lines.iter().rev().find_map(|line| Self::summary_of_nextest(line));
        summary.unwrap_or_else(|| {
            let mut totals = Self::default();
            lines.iter().filter_map(|line| Self::result_of_a_program(line)).for_each(|program| totals += program);
            lines.iter().filter_map(|line| Self::count_of_node(line)).for_each(|count| totals += count);
            totals
        })
    }

    /// `ℹ pass 78`, one line for each count, at the very beginning of the line: what a test prints is indented.
    fn count_of_node(line: &str) -> Option<Self> {
        let (what, number) = line.strip_prefix("ℹ ")?.split_once(' ')?;
        let number = number.parse().ok()?;
        match what {
            "pass" => Some(Self { passed: number, ..Self::default() }),
            "fail" | "cancelled" => Some(Self { failed: number, ..Self::default() }),
            "skipped" | "todo" => Some(Self { skipped: number, ..Self::default() }),
            _ => None,
        }
    }

    /// `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.01s`
    fn result_of_a_program(line: &str) -> Option<Self> {
        let counts = line.trim().strip_prefix("test result: ")?.split_once(". ")?.1;
        Some(Self::counted(counts.split("; ")))
    }

    /// `     Summary [   0.005s] 4/5 tests run: 2 passed (1 slow), 1 failed, 1 timed out, 3 skipped`
    fn summary_of_nextest(line: &str) -> Option<Self> {
        let counts = line.trim().strip_prefix("Summary [")?.split_once(" run: ")?.1;
        Some(Self::counted(counts.split(", ")))
    }

    fn counted<'a>(counts: impl Iterator<Item = &'a str>) -> Self {
        let mut totals = Self::default();
        for count in counts {
            let Some((number, what)) = count.split_once(' ') else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            match what.split(" (").next().unwrap_or(what) {
                "passed" => totals.passed += number,
                "failed" | "timed out" | "exec failed" => totals.failed += number,
                "skipped" | "ignored" => totals.skipped += number,
                _ => {}
            }
        }
        totals
    }
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(text: &str) -> Totals {
        Totals::of(&text.lines().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn reads_nextest_in_colour() {
        let text =
            "     Summary [   0.005s] 5/7 tests run: 3 passed (1 slow, 1 flaky), 1 failed, 1 timed out, 2 skipped";
        let coloured = "\x1b[31;1m     Summary\x1b[0m [   1.0s] \x1b[1m2\x1b[0m tests run: \x1b[1m2\x1b[0m \x1b[32;1mpassed\x1b[0m, \x1b[1m0\x1b[0m \x1b[33;1mskipped\x1b[0m";
        assert_eq!(totals(text), Totals { passed: 3, failed: 2, skipped: 2 });
        assert_eq!(totals(coloured), Totals { passed: 2, failed: 0, skipped: 0 });
    }

    #[test]
    fn a_failed_tests_own_output_counts_nothing() {
        let text = "    FAIL [   0.371s] (1/2) a b\n    test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 9 filtered out; finished in 0.34s\n\
                         Summary [   1.0s] 2 tests run: 1 passed, 1 failed, 0 skipped\n\
                        test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 9 filtered out; finished in 0.34s";
        assert_eq!(totals(text), Totals { passed: 1, failed: 1, skipped: 0 });
    }

    #[test]
    fn adds_up_the_programs_of_cargo_test() {
        let text = "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.01s\n\
                    noise: 7 passed\n\
                    test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        assert_eq!(totals(text), Totals { passed: 4, failed: 2, skipped: 1 });
    }

    #[test]
    fn adds_up_what_node_counts() {
        let text = "✔ a test (1.5ms)\n  ℹ pass 7\nℹ tests 9\nℹ suites 0\nℹ pass 5\nℹ fail 1\nℹ cancelled 1\nℹ skipped 1\nℹ todo 1\nℹ duration_ms 12.5";
        assert_eq!(totals(text), Totals { passed: 5, failed: 2, skipped: 2 });
    }

    #[test]
    fn prints_the_line_that_every_tool_understands() {
        let totals = Totals { passed: 1, failed: 2, skipped: 3 };
        assert_eq!(totals.to_string(), "1 passed, 2 failed, 3 skipped");
    }
}
