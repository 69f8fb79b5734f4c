//! `cargo xtask simulate`: the refresh engine in many small histories, built as it is deployed. The seeds are printed, and
//! how to see one that failed.

use crate::exec;
use crate::ui::Ui;
use crate::workspace::Workspace;
use anyhow::Result;

/// What `simulate` is asked.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How many seeds
    #[arg(long, default_value_t = 1_000_000)]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Print all that happens in each; for one seed or a few
    #[arg(long)]
    trace: bool,
    /// Build a deliberate mistake in, by its name, to see it found
    #[arg(long, value_name = "NAME")]
    mistake: Option<String>,
}

/// Plays the seeds; `false` when one of them broke a promise.
pub(crate) fn run(ui: &Ui, workspace: &Workspace, arguments: &Arguments) -> Result<bool> {
    ui.heading("simulate");
    let mut command = workspace.cargo();
    // Not all of a release's optimizations: linking would take longer than most campaigns.
    command.args(["run", "--release", "--config", "profile.release.lto=false"]);
    command.args(["--config", "profile.release.codegen-units=16"]);
    command.args(["--package", "bowerbird-vault", "--example", "simulate", "--"]);
    command.args(["--seeds", &arguments.seeds.to_string(), "--from", &arguments.from.to_string()]);
    if arguments.trace {
        command.arg("--trace");
    }
    if let Some(mistake) = &arguments.mistake {
        command.args(["--mistake", mistake]);
    }
    Ok(exec::openly(&mut command)?.success)
}
