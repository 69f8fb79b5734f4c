//! The page of all routes, made from the `OpenAPI` document.

use anyhow::{Context, Result};
use serde_json::Value;
use std::fmt::Write;

/// The page's parts: the document's tags, in the order in which a newcomer needs them.
const PARTS: &[(&str, &str)] = &[
    ("Apps", "For apps: JSON, by cookie or by bearer"),
    ("Browsers", "For browsers: pages and forms"),
    ("OAuth servers", "For authorization servers"),
    ("Operators", "For operators"),
];

const HEAD: &str = "\
<!-- Made by `cargo xtask gen` from openapi.json; change the routes in the server, not this page. -->

# HTTP API

Every route of the server. Bodies and parameters are in the [OpenAPI document](openapi.json), which a running server has at `/openapi.json`, and as a page at `/docs`.

- **Who** is said by a seal: the cookie that a sign-in sets, or the same seal as `Authorization: Bearer …`. Not both, unless they are the same.
- **Which account** of the device: the active one, or the one that `Bowerbird-Account` names by id or DID.
- **Anything but a read**, with a cookie, needs `Bowerbird-CSRF: 1` and must come from our own pages or a listed origin. Forms carry a field for it.
- **Errors** have a stable code, in the body and in the header `Bowerbird-Error`: see [error codes](errors.md).
";

/// Writes the page; an error when a route has no tag, or one that no part of the page is for.
pub(super) fn page(document: &str) -> Result<String> {
    let document: Value = serde_json::from_str(document).context("the OpenAPI document is not JSON")?;
    let paths = document["paths"].as_object().context("the OpenAPI document has no paths")?;
    let mut parts = vec![String::new(); PARTS.len()];
    for (path, methods) in paths {
        for (method, operation) in methods.as_object().context("a path of the OpenAPI document has no methods")? {
            let name = format!("{} {path}", method.to_uppercase());
            let tag = operation["tags"][0].as_str().with_context(|| format!("{name} has no tag"))?;
            let part = PARTS.iter().position(|(part, _)| *part == tag);
            let part =
                part.with_context(|| format!("{name} has the tag {tag}: give it a part of the page in http_api.rs"))?;
            let summary = operation["summary"].as_str().with_context(|| format!("{name} has no summary"))?;
            let answers = operation["responses"].as_object().with_context(|| format!("{name} has no answers"))?;
            let answers: Vec<&str> = answers.keys().map(String::as_str).collect();
            writeln!(parts[part], "| `{name}` | {summary} | {} |", answers.join(" "))?;
        }
    }
    let mut page = HEAD.to_owned();
    for ((_, title), rows) in PARTS.iter().zip(parts).filter(|(_, rows)| !rows.is_empty()) {
        write!(page, "\n## {title}\n| call | what it does | answers |\n|---|---|---|\n{rows}")?;
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_route_is_a_row_of_its_part() {
        let document = r#"{"paths": {
            "/ready": {"get": {"tags": ["Operators"], "summary": "Whether it is", "responses": {"200": {}, "503": {}}}},
            "/xrpc/{nsid}": {"post": {"tags": ["Apps"], "summary": "Calls", "responses": {"200": {}}}}
        }}"#;
        let page = page(document).unwrap();
        let parts = page.split_once("\n## ").unwrap().1;
        assert_eq!(
            parts,
            "For apps: JSON, by cookie or by bearer\n| call | what it does | answers |\n|---|---|---|\n| `POST /xrpc/{nsid}` | Calls | 200 |\n\
             \n## For operators\n| call | what it does | answers |\n|---|---|---|\n| `GET /ready` | Whether it is | 200 503 |\n"
        );
    }

    #[test]
    fn a_route_without_a_part_is_noticed() {
        let document = r#"{"paths": {"/x": {"get": {"tags": ["Ghosts"], "summary": "x", "responses": {}}}}}"#;
        assert!(page(document).unwrap_err().to_string().contains("GET /x has the tag Ghosts"));
    }
}
