//! `cargo xtask bench`: speed and memory of the built program, in one run, next to nginx and an empty axum route.
#![expect(clippy::cast_precision_loss, reason = "counts of requests and bytes are far below 2^52")]

mod cases;
mod figures;
mod lab;
mod process;
mod report;
mod runner;
mod wrk;

use crate::ui::Ui;
use crate::workspace::Workspace;
use crate::{exec, testnet::Testnet, tools};
use anyhow::{Result, ensure};
use cases::{CASES, Case, Judgement};
use figures::Figures;
use lab::Lab;
use report::Report;
use runner::Effort;
use std::path::PathBuf;

/// What `bench` is asked.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Two short rounds instead of five long ones, and no case that takes minutes: enough to see a bound missed by far
    #[arg(long)]
    short: bool,
    /// Print the figures as JSON instead of a table
    #[arg(long)]
    json: bool,
    /// List the cases and their bounds, and measure nothing
    #[arg(long)]
    list: bool,
    /// Measure this program instead of building one: an older build, to compare with
    #[arg(long, value_name = "PATH")]
    program: Option<PathBuf>,
    /// How strictly speed is judged; by hand always exactly
    #[arg(skip = Judgement::Exact)]
    judgement: Judgement,
    /// Measure only cases whose names contain one of these
    filter: Vec<String>,
}

impl Arguments {
    /// The form that belongs to `cargo xtask test`: short, and not red because a machine is busy.
    pub(crate) fn short() -> Self {
        let judgement = Judgement::Lenient;
        Self { short: true, json: false, list: false, program: None, judgement, filter: Vec::new() }
    }
}

/// Builds, starts, measures and reports; `false` when a bound was missed.
pub(crate) fn run(ui: &Ui, workspace: &Workspace, arguments: &Arguments) -> Result<bool> {
    let named = |name: &str| arguments.filter.iter().any(|part| name.contains(part));
    let by_default = |case: &Case| arguments.filter.is_empty() && !(arguments.short && case.measure.is_long());
    let cases: Vec<_> = CASES.iter().filter(|case| by_default(case) || named(case.name)).collect();
    ensure!(!cases.is_empty(), "no case is named so; `cargo xtask bench --list` names them");
    if arguments.list {
        report::list(ui, &cases);
        return Ok(true);
    }

    tools::ensure(ui, &[tools::BENCH])?;
    let testnet = Testnet::install(ui, workspace)?;
    let program = if let Some(program) = &arguments.program {
        std::path::absolute(program)?
    } else {
        build(ui, workspace, &["--package", "bowerbird"])?;
        workspace.program("release")
    };
    build(ui, workspace, &["--package", "xtask", "--features", "reference"])?;

    let figures = Figures::new(workspace)?;
    if cases.iter().any(|case| case.measure.needs_figures()) {
        build(ui, workspace, &["--package", "bowerbird-testkit", "--example", "figures"])?;
    }

    let pair = cases.iter().any(|case| case.measure.needs_postgres());
    if pair {
        tools::ensure(ui, &[tools::STORES])?;
    }
    let mut lab = Lab::open(ui, workspace, &testnet, program, pair)?;
    if cases.iter().any(|case| case.measure.needs_seals()) {
        lab.make_seals(&figures)?;
    }
    let effort = if arguments.short { Effort::SHORT } else { Effort::LONG };
    let mut report = Report::new(arguments.short, arguments.judgement);
    for case in cases {
        let progress = ui.progress(case.title);
        report.add(case, runner::measure(&mut lab, &figures, case, effort)?);
        progress.done(ui);
    }
    drop(lab);

    let file = workspace.scratch("bench")?.join("result.json");
    std::fs::write(&file, report.json()?)?;
    if arguments.json {
        ui.line(report.json()?);
    } else {
        report.print(ui);
        ui.line(format_args!("figures: {}", file.display()));
    }
    Ok(report.passed())
}

/// Builds as it is deployed: a figure of a debug build says nothing.
fn build(ui: &Ui, workspace: &Workspace, what: &[&str]) -> Result<()> {
    let label = format!("cargo build --release {}", what.join(" "));
    exec::quietly(ui, &label, workspace.cargo().args(["build", "--release"]).args(what))?;
    Ok(())
}
