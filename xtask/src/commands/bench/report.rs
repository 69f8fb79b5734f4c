//! The figures as a table and as JSON.

use super::cases::{Bound, Case};
use super::runner::Figure;
use crate::ui::Ui;
use anyhow::Result;
use serde::Serialize;

/// All figures of a run.
#[derive(Serialize)]
pub(super) struct Report {
    /// Whether the rounds were few and short.
    short: bool,
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
    passed: Option<bool>,
    detail: String,
}

impl Report {
    pub(super) fn new(short: bool) -> Self {
        Self { short, cases: Vec::new() }
    }

    pub(super) fn add(&mut self, case: &Case, figure: Figure) {
        self.cases.push(Row {
            name: case.name,
            title: case.title,
            value: figure.value,
            unit: case.measure.unit(),
            bound: case.bound.map(words),
            passed: case.bound.map(|bound| bound.holds(figure.value)),
            detail: figure.detail,
        });
    }

    /// Whether every bound holds.
    pub(super) fn passed(&self) -> bool {
        self.cases.iter().all(|row| row.passed != Some(false))
    }

    pub(super) fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)?)
    }

    pub(super) fn print(&self, ui: &Ui) {
        let mut rows = vec![["case", "measured", "bound", "", "detail"].map(str::to_owned).to_vec()];
        for row in &self.cases {
            let verdict = match row.passed {
                Some(true) => ui.good("pass"),
                Some(false) => ui.bad("MISS"),
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
