//! The types and routes of the TypeScript client, made from the `OpenAPI` document: a route that changes is noticed by
//! the compiler there, not by the people who use it.

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};
use std::fmt::Write;

/// The operations that the client calls have this tag.
const TAG: &str = "Apps";

const HEAD: &str = "\
// Made by `cargo xtask gen` from docs/src/reference/openapi.json; change the routes in the server, not this file.
";

/// Writes the file; an error when the document has a shape that is not known here.
pub(super) fn file(document: &str) -> Result<String> {
    let document: Value = serde_json::from_str(document).context("the OpenAPI document is not JSON")?;
    let schemas = document["components"]["schemas"].as_object().context("the OpenAPI document has no schemas")?;
    let mut text = HEAD.to_owned();
    for (name, schema) in schemas {
        declare(&mut text, name, schema).with_context(|| format!("the schema {name}"))?;
    }
    operations(&mut text, &document)?;
    Ok(text)
}

fn declare(text: &mut String, name: &str, schema: &Value) -> Result<()> {
    text.push('\n');
    comment(text, 0, schema["description"].as_str());
    if schema["properties"].is_object() && !schema["allOf"].is_array() {
        writeln!(text, "export interface {name} {}", type_of(schema, 0)?)?;
    } else {
        writeln!(text, "export type {name} = {}", type_of(schema, 0)?)?;
    }
    Ok(())
}

/// The type that a schema describes. Objects go over several lines, indented by so many steps.
fn type_of(schema: &Value, depth: usize) -> Result<String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap_or_default();
        return Ok(name.to_owned());
    }
    if let Some(values) = schema["enum"].as_array() {
        return Ok(values.iter().map(literal).collect::<Result<Vec<_>>>()?.join(" | "));
    }
    for (member, separator) in [("oneOf", " | "), ("anyOf", " | "), ("allOf", " & ")] {
        if let Some(parts) = schema[member].as_array() {
            let parts = parts.iter().map(|part| type_of(part, depth)).collect::<Result<Vec<_>>>()?;
            return Ok(parts.join(separator));
        }
    }
    match &schema["type"] {
        Value::String(name) => named(name, schema, depth),
        Value::Array(names) => {
            let names = names.iter().map(|name| named(name.as_str().unwrap_or_default(), schema, depth));
            Ok(names.collect::<Result<Vec<_>>>()?.join(" | "))
        }
        Value::Null if schema.as_object().is_some_and(Map::is_empty) => Ok("unknown".to_owned()),
        _ => bail!("no type is known for {schema}"),
    }
}

fn named(name: &str, schema: &Value, depth: usize) -> Result<String> {
    Ok(match name {
        "string" | "boolean" | "null" => name.to_owned(),
        "integer" | "number" => "number".to_owned(),
        "array" => {
            let items = type_of(&schema["items"], depth)?;
            if items.contains([' ', '{']) { format!("Array<{items}>") } else { format!("{items}[]") }
        }
        "object" => object(schema, depth)?,
        _ => bail!("no type is known for {schema}"),
    })
}

fn object(schema: &Value, depth: usize) -> Result<String> {
    let Some(properties) = schema["properties"].as_object() else {
        let values = &schema["additionalProperties"];
        let values = if values.is_object() { type_of(values, depth)? } else { "unknown".to_owned() };
        return Ok(format!("Record<string, {values}>"));
    };
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut text = "{\n".to_owned();
    for (name, property) in properties {
        // The words for a reference that may be null stand beside the reference.
        let words = property["description"].as_str().or_else(|| property["oneOf"][0]["description"].as_str());
        comment(&mut text, depth + 1, words);
        let optional = if required.contains(&name.as_str()) { "" } else { "?" };
        let of = type_of(property, depth + 1).with_context(|| format!("its member {name}"))?;
        writeln!(text, "{}{name}{optional}: {of}", indent(depth + 1))?;
    }
    write!(text, "{}}}", indent(depth))?;
    Ok(text)
}

fn literal(value: &Value) -> Result<String> {
    match value {
        Value::String(text) if !text.contains(['\'', '\\', '\n']) => Ok(format!("'{text}'")),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(value.to_string()),
        _ => bail!("no literal is known for {value}"),
    }
}

fn operations(text: &mut String, document: &Value) -> Result<()> {
    let paths = document["paths"].as_object().context("the OpenAPI document has no paths")?;
    let mut routes = String::new();
    let mut types = String::new();
    for (path, methods) in paths {
        for (method, operation) in methods.as_object().context("a path of the OpenAPI document has no methods")? {
            if operation["tags"][0] != TAG {
                continue;
            }
            let method = method.to_uppercase();
            let name = operation["operationId"].as_str().with_context(|| format!("{method} {path} has no name"))?;
            let words = operation["summary"].as_str();
            comment(&mut routes, 1, words);
            writeln!(routes, "  {name}: {{ method: '{method}', path: '{path}' }},")?;
            comment(&mut types, 1, words);
            let body = &operation["requestBody"]["content"]["application/json"]["schema"];
            let body = if body.is_null() { "undefined".to_owned() } else { type_of(body, 1)? };
            writeln!(types, "  {name}: {{ body: {body}; answer: {} }}", answer(operation)?)?;
        }
    }
    write!(text, "\n/** How each operation is called. */\nexport const routes = {{\n{routes}}} as const\n")?;
    write!(text, "\n/** What each operation takes and answers, where that is JSON. */\n")?;
    write!(text, "export interface Operations {{\n{types}}}\n")?;
    Ok(())
}

/// What an operation answers when all is well.
fn answer(operation: &Value) -> Result<String> {
    let answers = operation["responses"].as_object().into_iter().flatten();
    for (_, answer) in answers.filter(|(status, _)| status.starts_with('2')) {
        let schema = &answer["content"]["application/json"]["schema"];
        if !schema.is_null() {
            return type_of(schema, 1);
        }
    }
    Ok("unknown".to_owned())
}

fn comment(text: &mut String, depth: usize, words: Option<&str>) {
    let Some(words) = words.map(|words| words.replace("*/", "* /")).filter(|words| !words.is_empty()) else { return };
    let indent = indent(depth);
    let mut lines = words.lines().map(str::trim_end).peekable();
    let first = lines.next().unwrap_or_default();
    // Writing to a String cannot fail.
    if lines.peek().is_none() {
        let _ = writeln!(text, "{indent}/** {first} */");
        return;
    }
    let _ = writeln!(text, "{indent}/**\n{indent} * {first}");
    for line in lines {
        let _ = writeln!(text, "{}", format!("{indent} * {line}").trim_end());
    }
    let _ = writeln!(text, "{indent} */");
}

fn indent(depth: usize) -> String {
    "  ".repeat(depth)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_of_our_document() {
        let document = r##"{
            "paths": {
                "/things/{id}": {"post": {
                    "tags": ["Apps"], "operationId": "change", "summary": "Changes it",
                    "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Kind"}}}},
                    "responses": {"200": {"content": {"application/json": {"schema": {"type": "array", "items": {"$ref": "#/components/schemas/Thing"}}}}}, "404": {}}
                }},
                "/page": {"get": {"tags": ["Browsers"], "operationId": "page", "responses": {"200": {}}}}
            },
            "components": {"schemas": {
                "Kind": {"type": "string", "enum": ["a", "b_c"], "description": "What it is."},
                "Thing": {"type": "object", "required": ["id"], "properties": {
                    "id": {"type": "string", "description": "Its\nname."},
                    "at": {"type": ["integer", "null"]},
                    "kind": {"oneOf": [{"$ref": "#/components/schemas/Kind", "description": "Of it."}, {"type": "null"}]},
                    "many": {"type": "array", "items": {"oneOf": [{"type": "string"}, {"type": "boolean"}]}},
                    "more": {"type": "object", "additionalProperties": {"type": "number"}},
                    "inner": {"type": "object", "required": ["x"], "properties": {"x": {}}}
                }},
                "Both": {"allOf": [{"$ref": "#/components/schemas/Thing"}, {"type": "object", "properties": {"seal": {"type": "string"}}}]}
            }}
        }"##;
        let expected = "\
// Made by `cargo xtask gen` from docs/src/reference/openapi.json; change the routes in the server, not this file.

export type Both = Thing & {
  seal?: string
}

/** What it is. */
export type Kind = 'a' | 'b_c'

export interface Thing {
  at?: number | null
  /**
   * Its
   * name.
   */
  id: string
  inner?: {
    x: unknown
  }
  /** Of it. */
  kind?: Kind | null
  many?: Array<string | boolean>
  more?: Record<string, number>
}

/** How each operation is called. */
export const routes = {
  /** Changes it */
  change: { method: 'POST', path: '/things/{id}' },
} as const

/** What each operation takes and answers, where that is JSON. */
export interface Operations {
  /** Changes it */
  change: { body: Kind; answer: Thing[] }
}
";
        assert_eq!(sorted(&file(document).unwrap()), sorted(expected));
    }

    /// Whether members come in the document's order or by name depends on a feature of `serde_json` that others turn on.
    fn sorted(text: &str) -> Vec<&str> {
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        lines
    }

    #[test]
    fn an_unknown_shape_is_named() {
        let document = r#"{"paths": {}, "components": {"schemas": {"Odd": {"type": "object", "properties": {"x": {"not": {}}}}}}}"#;
        let error = format!("{:#}", file(document).unwrap_err());
        assert!(error.contains("the schema Odd: its member x"), "{error}");
    }
}
