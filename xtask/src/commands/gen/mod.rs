//! `cargo xtask gen`: the reference pages, made by the program that they describe, and the bindings of the kit on the device.

mod bindings;
mod http_api;
mod typescript;

use crate::exec;
use crate::ui::Ui;
use crate::workspace::Workspace;
use anyhow::{Context, Result};
use std::path::PathBuf;
use std::process::Command;

/// What the hidden command `bowerbird generate` can print, and the page that keeps it.
const PAGES: &[(&str, &str)] = &[
    ("configuration", "docs/src/reference/configuration.md"),
    ("cli", "docs/src/reference/cli.md"),
    ("openapi", OPENAPI),
];

const OPENAPI: &str = "docs/src/reference/openapi.json";
/// Made from the `OpenAPI` document, for people.
const HTTP_API: &str = "docs/src/reference/http-api.md";
/// Made from the same, for the compiler of the TypeScript client.
const TYPESCRIPT: &str = "clients/typescript/src/schema.ts";

/// What `gen` is asked.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Change nothing; fail and show the difference when a page is out of date
    #[arg(long)]
    check: bool,
}

/// How the program is built before it is asked.
#[derive(Clone, Copy)]
pub(crate) enum Build {
    /// Only the program: the shortest way on a developer's machine.
    Alone,
    /// With the whole workspace: reuses what the tests have built.
    WithEverything,
}

/// Writes the pages, or compares them.
pub(crate) fn run(ui: &Ui, workspace: &Workspace, arguments: &Arguments) -> Result<bool> {
    if arguments.check {
        return check(ui, workspace, Build::Alone);
    }
    for (path, text) in generated(ui, workspace, Build::Alone)? {
        let changed = std::fs::read_to_string(&path).ok().as_deref() != Some(&text);
        if changed {
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        ui.line(format_args!("{} {}", if changed { "wrote" } else { "unchanged" }, path.display()));
    }
    Ok(true)
}

/// Whether there is a page to compare with.
pub(crate) fn any(workspace: &Workspace) -> bool {
    PAGES.iter().any(|(_, page)| workspace.root.join(page).exists())
}

/// Compares the pages with what the program would print now; `false`, after showing the difference, when one is out of date.
pub(crate) fn check(ui: &Ui, workspace: &Workspace, build: Build) -> Result<bool> {
    let fresh = workspace.scratch("xtask/generated")?;
    let mut same = true;
    for (path, text) in generated(ui, workspace, build)? {
        if std::fs::read_to_string(&path).ok().as_deref() == Some(&text) {
            continue;
        }
        same = false;
        let candidate = fresh.join(path.file_name().context("a page has no name")?);
        std::fs::write(&candidate, text)?;
        ui.line(format_args!("{} is out of date; `cargo xtask gen` writes it:", path.display()));
        let before = if path.exists() { path } else { PathBuf::from("/dev/null") };
        // `git diff` ends with 1 when it finds a difference, which is no failure here.
        exec::openly(Command::new("git").args(["--no-pager", "diff", "--no-index"]).arg(before).arg(candidate))?;
    }
    Ok(same)
}

fn generated(ui: &Ui, workspace: &Workspace, build: Build) -> Result<Vec<(PathBuf, String)>> {
    let arguments: &[&str] = match build {
        Build::Alone => &["build", "--package", "bowerbird"],
        Build::WithEverything => {
            &["build", "--workspace", "--bins", "--features", "xtask/reference,bowerbird/os-keyring"]
        }
    };
    exec::quietly(ui, "building bowerbird", workspace.cargo().args(arguments))?;
    let mut pages = Vec::new();
    for (name, page) in PAGES {
        let mut text = exec::output(Command::new(workspace.program("debug")).args(["generate", name]))?;
        anyhow::ensure!(!text.trim().is_empty(), "`bowerbird generate {name}` printed nothing");
        text.truncate(text.trim_end().len());
        text.push('\n');
        if *page == OPENAPI {
            pages.push((workspace.root.join(HTTP_API), http_api::page(&text)?));
            pages.push((workspace.root.join(TYPESCRIPT), typescript::file(&text)?));
        }
        pages.push((workspace.root.join(page), text));
    }
    pages.extend(bindings::generated(ui, workspace)?);
    Ok(pages)
}
