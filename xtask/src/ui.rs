//! What a person sees: headings, progress and tables. Results go to standard output, progress to standard error.

use indicatif::{ProgressBar, ProgressStyle};
use std::fmt::Display;
use std::io::{IsTerminal, Stderr, Stdout, Write, stderr, stdout};
use std::time::{Duration, Instant};

/// The one writer to the terminal; honours `NO_COLOR` and shows no moving parts when nobody watches.
pub(crate) struct Ui {
    colour: bool,
    watched: bool,
    results: Stdout,
    beside: Stderr,
}

impl Ui {
    /// Looks at the terminal and at `NO_COLOR` once.
    pub(crate) fn new() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let (results, beside) = (stdout(), stderr());
        Self { colour: !refused && results.is_terminal(), watched: beside.is_terminal(), results, beside }
    }

    /// Whether programs that are started should colour their output.
    pub(crate) fn colour(&self) -> bool {
        self.colour
    }

    /// Writes one line of a result.
    pub(crate) fn line(&self, text: impl Display) {
        // A closed pipe (`| head`) is no reason to fail.
        drop(writeln!(self.results.lock(), "{text}"));
    }

    /// Writes one line beside the results.
    pub(crate) fn note(&self, text: impl Display) {
        drop(writeln!(self.beside.lock(), "{text}"));
    }

    /// Starts a new part of a long task.
    pub(crate) fn heading(&self, title: &str) {
        self.line(format_args!("\n{}", self.paint("1;36", &format!("── {title}"))));
    }

    /// Writes an error with all that caused it.
    pub(crate) fn error(&self, error: &anyhow::Error) {
        self.note(format_args!("{} {error:#}", self.paint("1;31", "error:")));
    }

    /// A word in green, for what is in order.
    pub(crate) fn good(&self, text: &str) -> String {
        self.paint("32", text)
    }

    /// A word in red, for what is not.
    pub(crate) fn bad(&self, text: &str) -> String {
        self.paint("1;31", text)
    }

    /// A word in yellow, for what was left out.
    pub(crate) fn faint(&self, text: &str) -> String {
        self.paint("33", text)
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Writes rows in aligned columns; the first row is the head. Columns of figures are the caller's to align.
    pub(crate) fn table(&self, rows: &[Vec<String>]) {
        let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| visible(cell)).max();
        let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
        for (index, row) in rows.iter().enumerate() {
            let cells = row.iter().zip(&widths).map(|(cell, width)| {
                let pad = " ".repeat(width - visible(cell));
                format!("{cell}{pad}")
            });
            self.line(cells.collect::<Vec<_>>().join("  ").trim_end());
            if index == 0 {
                self.line(widths.iter().map(|width| "─".repeat(*width)).collect::<Vec<_>>().join("  "));
            }
        }
    }

    /// Shows that something long is under way.
    pub(crate) fn progress(&self, label: &str) -> Progress {
        let bar = if self.watched {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix} [{elapsed}] {wide_msg}") {
                bar.set_style(style);
            }
            bar.set_prefix(label.to_owned());
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        } else {
            self.note(format_args!("{label} …"));
            ProgressBar::hidden()
        };
        Progress { bar, label: label.to_owned(), since: Instant::now() }
    }
}

/// Something long under way; dropping it takes the moving line away.
pub(crate) struct Progress {
    bar: ProgressBar,
    label: String,
    since: Instant,
}

impl Progress {
    /// Shows the latest line that the work printed.
    pub(crate) fn detail(&self, text: &str) {
        self.bar.set_message(text.to_owned());
    }

    /// Replaces the moving line by one that tells how long it took.
    pub(crate) fn done(self, ui: &Ui) {
        self.bar.finish_and_clear();
        ui.note(format_args!("{}: {}", self.label, seconds(self.since.elapsed())));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// A duration as a person reads it: `0.4 s`, `12.0 s`, `3 min 05 s`.
pub(crate) fn seconds(duration: Duration) -> String {
    let whole = duration.as_secs();
    if whole < 60 {
        format!("{:.1} s", duration.as_secs_f64())
    } else {
        format!("{} min {:02} s", whole / 60, whole % 60)
    }
}

/// Text without the colour codes in it.
pub(crate) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character == '\x1b' {
            // A control sequence ends with its first letter.
            characters.by_ref().find(char::is_ascii_alphabetic);
        } else {
            plain.push(character);
        }
    }
    plain
}

fn visible(text: &str) -> usize {
    plain(text).chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_codes_take_no_room() {
        assert_eq!(plain("\x1b[32;1m ok \x1b[0m\x1b[1m3\x1b[0m"), " ok 3");
        assert_eq!(visible("\x1b[31mrot\x1b[0m"), 3);
    }

    #[test]
    fn durations_are_readable() {
        assert_eq!(seconds(Duration::from_millis(420)), "0.4 s");
        assert_eq!(seconds(Duration::from_secs(185)), "3 min 05 s");
    }
}
