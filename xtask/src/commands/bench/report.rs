//! The figures as a table and as JSON.

use super::cases::{ALLOWANCE, Bound, Case, Judgement, Verdict};
use super::runner::Figure;
use crate::ui::Ui;
use anyhow::Result;
use serde::Serialize;

/// All figures of a run.
#[derive(Serialize)]
pub(super) struct Report {
    /// Whether the rounds were few and short.
    short: bool,
    #[serde(skip)]
    judgement: Judgement,
    cases: Vec<Row>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    name: &'static str,
    title: &'static str,
    value: f64,
    unit: &'static str,
    bound: Option<String>,
    /// Absent where there is no bound.
    verdict: Option<Verdict>,
    detail: String,
}

impl Report {
    pub(super) fn new(short: bool, judgement: Judgement) -> Self {
        Self { short, judgement, cases: Vec::new() }
    }

    pub(super) fn add(&mut self, case: &Case, figure: Figure) {
        self.cases.push(Row {
            name: case.name,
            title: case.title,
            value: figure.value,
            unit: case.measure.unit(),
            bound: case.bound.map(words),
            verdict: case.bound.map(|bound| self.judgement.verdict(case.measure, bound, figure.value)),
            detail: figure.detail,
        });
    }

    /// Whether no bound was missed.
    pub(super) fn passed(&self) -> bool {
        self.cases.iter().all(|row| row.verdict != Some(Verdict::Miss))
    }

    pub(super) fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)?)
    }

    pub(super) fn print(&self, ui: &Ui) {
        let mut rows = vec![["case", "measured", "bound", "", "detail"].map(str::to_owned).to_vec()];
        for row in &self.cases {
            let verdict = match row.verdict {
                Some(Verdict::Pass) => ui.good("pass"),
                Some(Verdict::Near) => ui.bad("near MISS"),
                Some(Verdict::Miss) => ui.bad("MISS"),
                None => String::new(),
            };
            let measured = format!("{:>8.3} {}", row.value, row.unit);
            rows.push(vec![
                row.title.to_owned(),
                measured,
                row.bound.clone().unwrap_or_default(),
                verdict,
                row.detail.clone(),
            ]);
        }
        ui.table(&rows);
        for row in self.cases.iter().filter(|row| row.verdict == Some(Verdict::Near)) {
            ui.line(format_args!(
                "{} {}: {}, bound {}. A miss of speed by up to {:.0} % does not fail this run, since the machine may be \
                 busy; `cargo xtask bench` decides.",
                ui.bad("WARNING"),
                row.title,
                format!("{:.3} {}", row.value, row.unit).trim_end(),
                row.bound.as_deref().unwrap_or_default(),
                ALLOWANCE * 100.0,
            ));
        }
    }
}

/// Names the cases and their bounds.
pub(super) fn list(ui: &Ui, cases: &[&Case]) {
    let mut rows = vec![["name", "bound", "unit", "what"].map(str::to_owned).to_vec()];
    for case in cases {
        let bound = case.bound.map(words).unwrap_or_default();
        rows.push(vec![case.name.to_owned(), bound, case.measure.unit().to_owned(), case.title.to_owned()]);
    }
    ui.table(&rows);
}

fn words(bound: Bound) -> String {
    match bound {
        Bound::AtLeast(limit) => format!("≥ {limit}"),
        Bound::AtMost(limit) => format!("≤ {limit}"),
    }
}
