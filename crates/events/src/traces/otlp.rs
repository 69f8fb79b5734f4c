//! Spans as an `ExportTraceServiceRequest` of OTLP 1, in protobuf. The numbers of the fields are those of
//! `opentelemetry/proto/trace/v1/trace.proto`; that they are is shown by a test that reads them with the published types.

use super::TracesConfig;
use super::span::{Kind, Span, Value};

const STATUS_ERROR: u64 = 2;
/// `SpanFlags`: whether the parent is remote is known, and it is.
const PARENT_KNOWN: u32 = 0x100;
const PARENT_REMOTE: u32 = 0x200;
const SAMPLED: u32 = 1;

/// Writes a batch.
pub(super) fn request(config: &TracesConfig, spans: &[Span]) -> Vec<u8> {
    let mut request = Vec::with_capacity(256 + spans.len() * 256);
    message(&mut request, 1, |of_resource| {
        message(of_resource, 1, |resource| {
            for (name, value) in [
                ("service.name", config.service_name.as_str()),
                ("service.instance.id", config.instance.as_str()),
                ("service.version", config.version),
            ] {
                attribute(resource, 1, name, &Value::Text(value.to_owned()));
            }
        });
        message(of_resource, 2, |of_scope| {
            message(of_scope, 1, |scope| {
                bytes(scope, 1, b"bowerbird");
                bytes(scope, 2, config.version.as_bytes());
            });
            for each in spans {
                message(of_scope, 2, |to| span(to, each));
            }
        });
    });
    request
}

fn span(to: &mut Vec<u8>, span: &Span) {
    let epoch = span.place.epoch;
    bytes(to, 1, &span.place.trace.0);
    bytes(to, 2, &span.place.span.0);
    if let Some(parent) = span.parent {
        bytes(to, 4, &parent.0);
    }
    bytes(to, 5, span.name().as_bytes());
    let kind = match span.words.kind {
        Kind::Internal => 1,
        Kind::Server => 2,
        Kind::Client => 3,
    };
    number(to, 6, kind);
    fixed64(to, 7, epoch.nanos_at(span.began));
    fixed64(to, 8, epoch.nanos_at(span.ended));
    for (name, value) in &span.words.attributes {
        attribute(to, 9, name, value);
    }
    if span.words.failed {
        message(to, 15, |status| number(status, 3, STATUS_ERROR));
    }
    let remote = if span.from_outside { PARENT_REMOTE } else { 0 };
    key(to, 16, 5);
    to.extend_from_slice(&(SAMPLED | PARENT_KNOWN | remote).to_le_bytes());
}

fn attribute(to: &mut Vec<u8>, field: u64, name: &str, value: &Value) {
    message(to, field, |pair| {
        bytes(pair, 1, name.as_bytes());
        message(pair, 2, |any| match value {
            Value::Text(text) => bytes(any, 1, text.as_bytes()),
            Value::Flag(flag) => number(any, 2, u64::from(*flag)),
            Value::Number(signed) => number(any, 3, signed.cast_unsigned()),
        });
    });
}

fn key(to: &mut Vec<u8>, field: u64, wire_type: u64) {
    varint(to, field << 3 | wire_type);
}

fn varint(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    to.push(value.to_le_bytes()[0]);
}

fn number(to: &mut Vec<u8>, field: u64, value: u64) {
    key(to, field, 0);
    varint(to, value);
}

fn fixed64(to: &mut Vec<u8>, field: u64, value: u64) {
    key(to, field, 1);
    to.extend_from_slice(&value.to_le_bytes());
}

fn bytes(to: &mut Vec<u8>, field: u64, value: &[u8]) {
    key(to, field, 2);
    varint(to, value.len() as u64);
    to.extend_from_slice(value);
}

fn message(to: &mut Vec<u8>, field: u64, write: impl FnOnce(&mut Vec<u8>)) {
    let mut inner = Vec::new();
    write(&mut inner);
    bytes(to, field, &inner);
}
