//! A span, and what may be said in one.

use std::fmt;
use std::time::Duration;

use bowerbird_core::ports::{Clock, Entropy};
use tracing::field::{Field, Visit};

/// Every attribute that can leave; a span's other fields stay here. Codes of ours, names of hosts and routes, ids of
/// requests: never a query, a path, an account, a handle or a secret.
pub(super) const ATTRIBUTES: [&str; 11] = [
    "error.type",
    "http.request.method",
    "http.response.status_code",
    "http.route",
    "issuer",
    "occasion",
    "outcome",
    "purpose",
    "request_id",
    "rpc.method",
    "server.address",
];

/// The longest text of an attribute, in bytes; a longer one is cut.
const LONGEST: usize = 160;

/// Names a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TraceId(pub(super) [u8; 16]);

/// Names a span in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SpanId(pub(super) [u8; 8]);

impl TraceId {
    pub(super) fn random(entropy: &dyn Entropy) -> Self {
        Self(nonzero(entropy))
    }
}

impl SpanId {
    pub(super) fn random(entropy: &dyn Entropy) -> Self {
        Self(nonzero(entropy))
    }
}

/// All zeros means "none".
fn nonzero<const N: usize>(entropy: &dyn Entropy) -> [u8; N] {
    let mut id = [0; N];
    entropy.fill(&mut id);
    if id == [0; N] {
        id[N - 1] = 1;
    }
    id
}

/// Where a span stands; its children need no more of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) trace: TraceId,
    pub(super) span: SpanId,
    pub(super) epoch: Epoch,
}

/// Wall and monotonic time at the beginning of a trace: in a trace, times are comparable to the nanosecond.
#[derive(Clone, Copy, Debug)]
pub(super) struct Epoch {
    nanos: u64,
    at: Duration,
}

impl Epoch {
    pub(super) fn now(clock: &dyn Clock) -> Self {
        let millis = u64::try_from(clock.now().as_millis()).unwrap_or_default();
        Self { nanos: millis.saturating_mul(1_000_000), at: clock.monotonic() }
    }

    /// Nanoseconds since 1970.
    pub(super) fn nanos_at(self, monotonic: Duration) -> u64 {
        let since = monotonic.saturating_sub(self.at).as_nanos();
        self.nanos.saturating_add(u64::try_from(since).unwrap_or(u64::MAX))
    }
}

/// What a caller outside says about its trace (W3C Trace Context).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Caller {
    pub(super) trace: TraceId,
    pub(super) span: SpanId,
    pub(super) sampled: bool,
}

impl Caller {
    /// Reads a `traceparent`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let version: [u8; 1] = hex(parts.next()?)?;
        let (trace, span, flags): ([u8; 16], [u8; 8], [u8; 1]) =
            (hex(parts.next()?)?, hex(parts.next()?)?, hex(parts.next()?)?);
        // Later versions may say more.
        let is_whole = version == [0] && parts.next().is_none() || !matches!(version, [0 | 0xff]);
        let is_named = trace != [0; 16] && span != [0; 8];
        (is_whole && is_named).then_some(Self { trace: TraceId(trace), span: SpanId(span), sampled: flags[0] & 1 == 1 })
    }
}

/// Reads lower-case hexadecimal digits.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let (digits, rest) = text.as_bytes().as_chunks::<2>();
    if digits.len() != N || !rest.is_empty() {
        return None;
    }
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, [high, low]) in bytes.iter_mut().zip(digits) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

/// On which side of a call a span stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Kind {
    #[default]
    Internal,
    Server,
    Client,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    Number(i64),
    Flag(bool),
}

/// What a span says.
#[derive(Debug, Default)]
pub(super) struct Words {
    pub(super) name: Option<String>,
    pub(super) kind: Kind,
    pub(super) failed: bool,
    /// A `traceparent` that is trusted.
    pub(super) caller: Option<Caller>,
    pub(super) attributes: Vec<(&'static str, Value)>,
}

impl Words {
    fn say(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("span.name", Value::Text(name)) => self.name = Some(name),
            ("span.kind", Value::Text(kind)) => {
                self.kind = if kind == "server" { Kind::Server } else { Kind::Client };
            }
            ("span.failed", Value::Flag(failed)) => self.failed = failed,
            ("span.caller", Value::Text(caller)) => self.caller = Caller::parse(&caller),
            (name, value) if ATTRIBUTES.contains(&name) => {
                match self.attributes.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, known)) => *known = value,
                    None => self.attributes.push((name, value)),
                }
            }
            _ => {}
        }
    }
}

impl Visit for Words {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.say(field, Value::Text(value[..value.floor_char_boundary(LONGEST)].to_owned()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.say(field, Value::Flag(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.say(field, Value::Number(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.say(field, Value::Number(i64::try_from(value).unwrap_or(i64::MAX)));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = format!("{value:?}");
        text.truncate(text.floor_char_boundary(LONGEST));
        self.say(field, Value::Text(text));
    }
}

/// A span that is over.
#[derive(Debug)]
pub(super) struct Span {
    pub(super) place: Place,
    pub(super) parent: Option<SpanId>,
    /// Whether the parent is another service's.
    pub(super) from_outside: bool,
    pub(super) name: &'static str,
    pub(super) began: Duration,
    pub(super) ended: Duration,
    pub(super) words: Words,
}

impl Span {
    pub(super) fn name(&self) -> &str {
        self.words.name.as_deref().unwrap_or(self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_read_to_the_letter() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let caller = Caller::parse(good).unwrap();
        assert_eq!(caller.trace.0[..4], [0x4b, 0xf9, 0x2f, 0x35]);
        assert_eq!(caller.span.0, [0x00, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7]);
        assert!(caller.sampled);
        assert!(!Caller::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-02").unwrap().sampled);
        assert!(Caller::parse("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more").is_some());
        for bad in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0\u{e9}",
        ] {
            assert_eq!(Caller::parse(bad), None, "{bad}");
        }
    }
}
