//! The only place that writes to the terminal: text for people, or JSON.

use std::io::{self, IsTerminal as _, Write as _};

use serde_json::Value;

/// Writes to standard output and standard error. Colours only on a terminal, and never with `NO_COLOR`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Printer {
    json: bool,
    colour: bool,
}

/// How a line of a check turned out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Good,
    Warning,
    Bad,
}

impl Printer {
    /// `no_colour`: whether `NO_COLOR` is set to something.
    pub(crate) fn new(json: bool, no_colour: bool) -> Self {
        Self { json, colour: !no_colour && io::stdout().is_terminal() }
    }

    /// Whether JSON was asked for.
    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// Writes a line to standard output. A closed pipe is not an error of ours.
    #[expect(clippy::unused_self, reason = "whoever holds a printer may print, nobody else")]
    pub(crate) fn line(self, text: &str) {
        let _closed = writeln!(io::stdout().lock(), "{text}");
    }

    /// Writes a JSON value to standard output, on several lines.
    pub(crate) fn value(self, value: &Value) {
        self.line(&format!("{value:#}"));
    }

    /// Writes an error with its causes and a hint to standard error.
    pub(crate) fn error(self, error: &dyn std::error::Error, hint: Option<&str>) {
        if self.json {
            let causes: Vec<String> = causes(error).collect();
            let body = serde_json::json!({"error": error.to_string(), "causes": causes, "hint": hint});
            let _closed = writeln!(io::stderr().lock(), "{body}");
            return;
        }
        let mut out = io::stderr().lock();
        let _closed = writeln!(out, "error: {error}");
        for cause in causes(error) {
            let _closed = writeln!(out, "  because: {cause}");
        }
        if let Some(hint) = hint {
            let _closed = writeln!(out, "  hint: {hint}");
        }
    }

    /// Tells how far something is, on one line of a terminal that is written over; nothing elsewhere.
    pub(crate) fn progress(self, what: &str, done: u64, total: u64) {
        const WIDTH: u64 = 30;
        if self.json || !io::stderr().is_terminal() {
            return;
        }
        let total = total.max(done).max(1);
        let filled = usize::try_from(WIDTH * done / total).unwrap_or_default();
        let end = if done == total { "\n" } else { "" };
        let _closed = write!(io::stderr().lock(), "\r[{:<30}] {done} of {total} {what}{end}", "#".repeat(filled));
    }

    /// Writes rows below a header, in columns.
    pub(crate) fn table(self, header: &[&str], rows: &[Vec<String>]) {
        let width = |column: usize| {
            let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
            cells.chain([header[column].chars().count()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..header.len()).map(width).collect();
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            let padded: Vec<String> = cells.zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            self.line(padded.join("  ").trim_end());
        };
        line(&mut header.iter().copied());
        for row in rows {
            line(&mut row.iter().map(String::as_str));
        }
    }

    /// A mark for the start of a line.
    pub(crate) fn mark(self, tone: Tone) -> String {
        let (word, colour) = match tone {
            Tone::Good => ("ok", "32"),
            Tone::Warning => ("warn", "33"),
            Tone::Bad => ("FAIL", "31"),
        };
        if self.colour { format!("\u{1b}[{colour}m{word:<4}\u{1b}[0m") } else { format!("{word:<4}") }
    }
}

fn causes(error: &dyn std::error::Error) -> impl Iterator<Item = String> {
    std::iter::successors(error.source(), |cause| cause.source()).map(ToString::to_string)
}
