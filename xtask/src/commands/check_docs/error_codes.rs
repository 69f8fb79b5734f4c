//! The codes of error answers, read from the sources and compared with the page that explains them.

use crate::workspace::Workspace;
use anyhow::{Context, Result, ensure};
use std::collections::BTreeSet;
use std::path::Path;

const PAGE: &str = "docs/src/reference/errors.md";
/// Where error answers are made.
const SOURCES: &[&str] =
    &["crates/server/src", "crates/atproto/src/app_password", "crates/atproto/src/login", "crates/atproto/src/proxy"];
/// Where the reasons of `needs_reauth` are.
const REASONS: &str = "crates/core/src/credential.rs";
/// What stands right before a code, in any wrapping of the line.
const MAKERS: &[&str] = &[
    "bad_request(",
    "forbidden(",
    "ApiError::new(",
    "Self::new(",
    "fault(",
    "into_answer(",
    "ERROR_HEADER, HeaderValue::from_static(",
];

/// What the page lacks, and what it explains although nothing answers it.
pub(super) fn faults(workspace: &Workspace) -> Result<Vec<String>> {
    let mut codes = BTreeSet::new();
    for folder in SOURCES {
        for source in rust_files(&workspace.root.join(folder))? {
            codes.extend(codes_of(&source));
        }
    }
    let reasons =
        std::fs::read_to_string(workspace.root.join(REASONS)).context("the reasons are not where they were")?;
    codes.extend(codes_of(reasons.split("pub enum RefreshClass").next().unwrap_or_default()));
    // Where the sources changed their form, this check must not pass by finding nothing.
    ensure!(codes.len() > 40, "only {} error codes were found in the sources: see {}", codes.len(), file!());
    let page = std::fs::read_to_string(workspace.root.join(PAGE)).with_context(|| format!("there is no {PAGE}"))?;
    let explained = explained(&page);
    let missing = codes.difference(&explained).map(|code| format!("{PAGE}: does not explain `{code}`"));
    let stale = explained.difference(&codes).map(|code| format!("{PAGE}: explains `{code}`, which nothing answers"));
    Ok(missing.chain(stale).collect())
}

/// The first cell of each row of a table.
fn explained(page: &str) -> BTreeSet<String> {
    let cells = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    cells.map(|(code, _)| code.to_owned()).collect()
}

/// The codes in a source file: first texts of what makes an error, and the texts in functions that are named `…code`.
fn codes_of(source: &str) -> BTreeSet<String> {
    let source = source.split("#[cfg(test)]").next().unwrap_or_default();
    let mut codes = BTreeSet::new();
    for maker in MAKERS {
        for (at, _) in source.match_indices(maker) {
            let arguments = &source[at + maker.len()..];
            // The code is the first text, after a status and the name of a body at most.
            let code = arguments.split('"').nth(1).filter(|_| first_text_is_near(arguments));
            codes.extend(code.filter(|code| is_code(code)).map(str::to_owned));
        }
    }
    for (at, _) in source.match_indices("code(").filter(|(at, _)| names_a_function(&source[..*at])) {
        let body = &source[at..];
        let indent = source[..at].rsplit('\n').next().unwrap_or_default().len()
            - source[..at].rsplit('\n').next().unwrap_or_default().trim_start().len();
        let end = body.find(&format!("\n{}}}", " ".repeat(indent))).unwrap_or(body.len());
        codes.extend(body[..end].split('"').skip(1).step_by(2).filter(|code| is_code(code)).map(str::to_owned));
    }
    codes
}

fn first_text_is_near(arguments: &str) -> bool {
    let before = arguments.split('"').next().unwrap_or_default().trim();
    before.is_empty() || (before.ends_with(',') && before.matches(',').count() <= 2 && !before.contains(';'))
}

/// Whether `fn name_` or `fn ` stands before.
fn names_a_function(before: &str) -> bool {
    let word = before.rsplit(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).next().unwrap_or_default();
    before[..before.len() - word.len()].ends_with("fn ")
}

fn is_code(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

fn rust_files(folder: &Path) -> Result<Vec<String>> {
    let mut sources = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            sources.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
            sources.push(std::fs::read_to_string(&path)?);
        }
    }
    Ok(sources)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(source: &str) -> Vec<String> {
        codes_of(source).into_iter().collect()
    }

    #[test]
    fn finds_codes_where_errors_are_made() {
        assert_eq!(found(r#"ApiError::bad_request("one", "Some words")"#), ["one"]);
        assert_eq!(found("ApiError::new(StatusCode::NOT_FOUND,\n    \"two_words\",\n \"x\")"), ["two_words"]);
        assert_eq!(found(r#"fault(StatusCode::UNAUTHORIZED, BODY, "three")"#), ["three"]);
        assert_eq!(found(r#"insert(ERROR_HEADER, HeaderValue::from_static("four"));"#), ["four"]);
        assert_eq!(found(r#"ApiError::new(status, code, error.to_string()).with_field("reason", x)"#), [""; 0]);
        assert_eq!(found(r#"#[cfg(test)] mod tests { bad_request("x", "y") }"#), [""; 0]);
    }

    #[test]
    fn finds_codes_in_functions_of_that_name() {
        let source = "impl E {\n    pub const fn code(&self) -> &str {\n        match self {\n            A => \"a_b\",\n        }\n    }\n\n    fn other(&self) -> &str {\n        \"no\"\n    }\n}\nfn call_code(x: X) -> &str {\n    \"c\"\n}\n";
        assert_eq!(found(source), ["a_b", "c"]);
        assert_eq!(found("let x = error.code(); let y = \"z\";"), [""; 0]);
    }

    #[test]
    fn reads_the_page() {
        let page = "# x\n| code | meaning |\n|---|---|\n| `a_b` 400 | c `d` |\ntext `e`\n";
        assert_eq!(explained(page).into_iter().collect::<Vec<_>>(), ["a_b"]);
    }
}
