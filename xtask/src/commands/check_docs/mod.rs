//! `cargo xtask check-docs`: the book without its builder: every page is listed, every link leads to a file, the
//! page of error codes has exactly those that the program can answer, and the tests that pages name exist.

mod error_codes;
mod named_tests;

use crate::ui::Ui;
use crate::workspace::Workspace;
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Pages outside the book that are checked for links too.
const BESIDE: &[&str] = &["README.md", "CHANGELOG.md", "testnet/README.md", "clients/typescript/README.md"];

/// Prints each fault; `true` when there is none.
pub(crate) fn run(ui: &Ui, workspace: &Workspace) -> Result<bool> {
    let book = workspace.root.join("docs/src");
    let listed = std::fs::read_to_string(book.join("SUMMARY.md")).context("the book has no docs/src/SUMMARY.md")?;
    let listed: BTreeSet<PathBuf> = targets(&listed).iter().map(|target| book.join(target)).collect();
    let pages = markdown(&book)?;

    let mut faults = Vec::new();
    for page in &pages {
        if page.file_name().is_some_and(|name| name != "SUMMARY.md") && !listed.contains(page) {
            faults.push(format!("{}: not listed in SUMMARY.md", page.display()));
        }
    }
    let beside = BESIDE.iter().map(|page| workspace.root.join(page)).filter(|page| page.exists());
    for page in pages.iter().cloned().chain(beside) {
        let text = std::fs::read_to_string(&page)?;
        let folder = page.parent().context("a page has no folder")?;
        for target in targets(&text) {
            if !folder.join(&target).exists() {
                faults.push(format!("{}: no file {target}", page.display()));
            }
        }
    }
    faults.extend(error_codes::faults(workspace)?);
    faults.extend(named_tests::faults(workspace)?);
    for fault in &faults {
        ui.line(fault);
    }
    ui.line(format_args!("{} pages, {} faults", pages.len(), faults.len()));
    Ok(faults.is_empty())
}

/// The files that a page links to: relative links only, without their fragments, and nothing inside code.
fn targets(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        // Between two backticks is code: only every other piece is prose.
        for prose in line.split('`').step_by(2) {
            found.extend(
                prose.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next()).filter_map(relative),
            );
        }
        // A link whose text is code, as in [`x`](y), begins a prose piece with its second half: `](` is still in it.
    }
    found
}

fn relative(target: &str) -> Option<String> {
    let path = target.split('#').next().unwrap_or_default();
    (!path.is_empty() && !path.contains("://") && !path.starts_with("mailto:")).then(|| path.to_owned())
}

fn markdown(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut pages = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            pages.extend(markdown(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            pages.push(path);
        }
    }
    pages.sort();
    Ok(pages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_relative_links_only() {
        let text = "[a](x.md#part) and [b](https://host/) [`c`](../y.svg \"title\") `[d](no.md)`\n```\n[e](no.md)\n```\n[f](#here)";
        assert_eq!(targets(text), ["x.md", "../y.svg"]);
    }
}
