//! The OpenAPI document for people.

use std::collections::BTreeMap;

use askama::Template;
use axum::response::Response;
use serde_json::Value;

use super::{Frame, page};
use crate::openapi;
use crate::site::Site;

#[derive(Template)]
#[template(path = "docs.html")]
struct Docs<'a> {
    frame: Frame<'a>,
    title: String,
    description: Vec<Run>,
    groups: Vec<Group>,
}

struct Group {
    id: String,
    name: String,
    operations: Vec<Operation>,
}

struct Operation {
    id: String,
    method: String,
    path: String,
    summary: String,
    description: Vec<Run>,
    parameters: Vec<Parameter>,
    answers: Vec<Answer>,
}

struct Parameter {
    name: String,
    place: String,
    required: bool,
    description: Vec<Run>,
}

struct Answer {
    status: String,
    description: Vec<Run>,
}

/// A piece of a sentence, between backticks or not.
struct Run {
    text: String,
    is_code: bool,
}

/// The page.
pub(crate) fn docs_page(site: &Site) -> Response {
    let document = serde_json::to_value(openapi()).unwrap_or_default();
    let docs = Docs {
        frame: Frame::of(site),
        title: format!("{} API", site.app_name),
        description: prose(&document["info"]["description"]),
        groups: groups(&document),
    };
    page(site, &docs)
}

fn groups(document: &Value) -> Vec<Group> {
    let mut by_tag: BTreeMap<String, Vec<Operation>> = BTreeMap::new();
    for (path, item) in members(&document["paths"]) {
        for (method, operation) in members(item) {
            let tag = text(&operation["tags"][0]);
            by_tag.entry(tag).or_default().push(read(path, method, operation));
        }
    }
    let names = document["tags"].as_array().into_iter().flatten().map(|tag| text(&tag["name"]));
    let group = |name: String| {
        let operations = by_tag.remove(&name)?;
        Some(Group { id: name.to_lowercase().replace(' ', "-"), name, operations })
    };
    names.filter_map(group).collect()
}

fn read(path: &str, method: &str, operation: &Value) -> Operation {
    let parameters = operation["parameters"].as_array().into_iter().flatten().map(|parameter| Parameter {
        name: text(&parameter["name"]),
        place: text(&parameter["in"]),
        required: parameter["required"].as_bool().unwrap_or_default(),
        description: prose(&parameter["description"]),
    });
    let answers = members(&operation["responses"])
        .map(|(status, answer)| Answer { status: status.to_owned(), description: prose(&answer["description"]) });
    Operation {
        id: text(&operation["operationId"]),
        method: method.to_uppercase(),
        path: path.to_owned(),
        summary: text(&operation["summary"]),
        description: prose(&operation["description"]),
        parameters: parameters.collect(),
        answers: answers.collect(),
    }
}

fn members(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The sentences of the document mark code with backticks, as Markdown does.
fn prose(value: &Value) -> Vec<Run> {
    let runs = value.as_str().unwrap_or_default().split('`').enumerate();
    runs.map(|(index, text)| Run { text: text.to_owned(), is_code: index % 2 == 1 })
        .filter(|run| !run.text.is_empty())
        .collect()
}
