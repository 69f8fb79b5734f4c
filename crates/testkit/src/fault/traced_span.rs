//! What a collector of traces received, read with the types that OpenTelemetry publishes. Any receiver is a collector.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message as _;

use super::http_server::FaultServer;

/// A span as a collector sees it.
#[derive(Clone, Debug)]
pub struct TracedSpan {
    /// The trace, in hexadecimal.
    pub trace: String,
    /// Its own id, in hexadecimal.
    pub id: String,
    /// Its parent's; empty for the first one of a trace.
    pub parent: String,
    /// Its name.
    pub name: String,
    /// On which side of a call it stands.
    pub kind: SpanKind,
    /// When it began and ended, in nanoseconds since 1970.
    pub times: (u64, u64),
    /// Whether its status is an error.
    pub failed: bool,
    /// `SpanFlags`.
    pub flags: u32,
    /// What it says, as text.
    pub attributes: BTreeMap<String, String>,
    /// Who sent it.
    pub resource: BTreeMap<String, String>,
}

impl TracedSpan {
    /// Reads the body of a request.
    pub fn read(body: &[u8]) -> Vec<Self> {
        let request = ExportTraceServiceRequest::decode(body).expect("the body is an export request of OTLP");
        let mut spans = Vec::new();
        for of_resource in request.resource_spans {
            let resource = texts(of_resource.resource.map(|resource| resource.attributes).unwrap_or_default());
            for of_scope in of_resource.scope_spans {
                spans.extend(of_scope.spans.into_iter().map(|span| Self::from(span, &resource)));
            }
        }
        spans
    }

    fn from(span: Span, resource: &BTreeMap<String, String>) -> Self {
        assert_eq!((span.trace_id.len(), span.span_id.len()), (16, 8), "{span:?}");
        Self {
            trace: hex(&span.trace_id),
            id: hex(&span.span_id),
            parent: hex(&span.parent_span_id),
            kind: span.kind(),
            name: span.name,
            times: (span.start_time_unix_nano, span.end_time_unix_nano),
            failed: span.status.is_some_and(|status| status.code() == StatusCode::Error),
            flags: span.flags,
            attributes: texts(span.attributes),
            resource: resource.clone(),
        }
    }

    /// An attribute, empty without one.
    pub fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }
}

impl FaultServer {
    /// Every span that was received, in the order of arrival.
    pub fn traced_spans(&self) -> Vec<TracedSpan> {
        self.log().all().iter().flat_map(|request| TracedSpan::read(&request.body)).collect()
    }
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value| match value {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        Value::BoolValue(flag) => flag.to_string(),
        other => format!("{other:?}"),
    };
    let pair = |pair: KeyValue| Some((pair.key, text(pair.value?.value?)));
    attributes.into_iter().filter_map(pair).collect()
}

fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap_or('?');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
