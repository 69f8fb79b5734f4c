//! Pages that name tests: each of these must exist, or the page claims what nobody checks.

use crate::workspace::Workspace;
use anyhow::{Context, Result};
use std::path::Path;

/// Pages whose words in code that look like the name of a test are ones.
const PAGES: &[&str] = &["docs/src/explanation/fault-matrix.md"];
/// Folders with sources.
const SOURCES: &[&str] = &["crates", "xtask"];

/// The names that lead nowhere.
pub(super) fn faults(workspace: &Workspace) -> Result<Vec<String>> {
    let mut sources = String::new();
    for folder in SOURCES {
        read(&workspace.root.join(folder), &mut sources)?;
    }
    let mut faults = Vec::new();
    for page in PAGES {
        let text = std::fs::read_to_string(workspace.root.join(page)).with_context(|| format!("there is no {page}"))?;
        let names = names(&text);
        if names.is_empty() {
            faults.push(format!("{page}: names no test"));
        }
        let missing = names.into_iter().filter(|name| !sources.contains(&format!("fn {name}(")));
        faults.extend(missing.map(|name| format!("{page}: there is no test {name}")));
    }
    Ok(faults)
}

/// Words in code with at least two underscores and nothing but small letters and digits.
fn names(text: &str) -> Vec<&str> {
    let is_name = |word: &&str| {
        word.matches('_').count() >= 2 && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    text.lines().flat_map(|line| line.split('`').skip(1).step_by(2)).filter(is_name).collect()
}

fn read(folder: &Path, sources: &mut String) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            read(&path, sources)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push_str(&std::fs::read_to_string(&path)?);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_tests_are_told_from_other_code() {
        let text = "| a | `a_test_of_it`, `BOWERBIRD_DATA_DIR`, `cargo xtask test` | `two_words` |\nand `row_01_b`";
        assert_eq!(names(text), ["a_test_of_it", "row_01_b"]);
    }
}
