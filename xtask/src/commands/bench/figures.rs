//! The figures of the vault: an example of the testkit takes them, in release mode.

use super::runner::Figure;
use crate::exec;
use crate::workspace::Workspace;
use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The example, and where it may write.
pub(super) struct Figures {
    program: PathBuf,
    folder: PathBuf,
}

/// What it prints of each figure.
#[derive(Deserialize)]
struct Line {
    value: f64,
    detail: String,
}

impl Figures {
    pub(super) fn new(workspace: &Workspace) -> Result<Self> {
        Ok(Self { program: workspace.target.join("release/examples/figures"), folder: workspace.scratch("bench")? })
    }

    /// Takes the figure of that name.
    pub(super) fn measure(&self, name: &str) -> Result<Figure> {
        let printed = exec::output(Command::new(&self.program).arg(&self.folder).arg(name))?;
        let Line { value, detail } = parse(&printed)?;
        Ok(Figure { value, detail })
    }

    /// Adds idle accounts to a database that nobody uses.
    pub(super) fn fill(&self, database: &Path, accounts: u32) -> Result<()> {
        exec::output(Command::new(&self.program).arg(database).arg("fill").arg(accounts.to_string()))?;
        Ok(())
    }
}

impl Figures {
    /// Puts the first account of a database on devices of their own, and gives the seals of these; `data` is the folder
    /// with the database and the secret.
    pub(super) fn seals(&self, data: &Path, count: usize) -> Result<Vec<String>> {
        let printed = exec::output(Command::new(&self.program).arg(data).arg("seals").arg(count.to_string()))?;
        let seals: Vec<String> = printed.lines().map(str::to_owned).collect();
        ensure!(seals.len() == count, "the example made {} seals, not {count}", seals.len());
        Ok(seals)
    }
}

fn parse(printed: &str) -> Result<Line> {
    let line = printed.lines().last().context("the example printed no figure")?;
    serde_json::from_str(line).with_context(|| format!("the example printed a figure of an unknown form: {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_figure() {
        let line = parse("{\"name\":\"x\",\"value\":0.5,\"detail\":\"d\"}\n").unwrap();
        assert!((line.value - 0.5).abs() < 1e-9 && line.detail == "d");
        assert!(parse("").is_err() && parse("0.5").is_err());
    }
}
