//! Caps and deadlines, as a purpose has them.

use std::time::Duration;

use bowerbird_core::ports::{HttpError, HttpFault, Purpose};
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http::response::Parts;
use http_body_util::BodyExt;
use hyper::body::Incoming;

/// The largest head of an answer, in bytes. It is the size of HTTP/1.1's buffers too.
pub(crate) const HEAD_BYTES: u16 = u16::MAX;
/// The most header fields of an answer. HTTP/1.1 has this limit in hyper.
pub(crate) const HEADER_FIELDS: usize = 100;
/// The time to find an address, to connect and to shake hands.
const CONNECT: Duration = Duration::from_secs(10);
/// The longest pause between two chunks of a streamed body, either way.
const IDLE: Duration = Duration::from_mins(1);
/// How often idle connections are looked through.
const SWEEP: Duration = Duration::from_secs(5);
/// The time for a DNS lookup of TXT records.
const TXT: Duration = Duration::from_secs(5);

/// Deadlines, which tests may shorten.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    divisor: u32,
}

impl Limits {
    pub(crate) const fn documented() -> Self {
        Self { divisor: 1 }
    }

    #[cfg(feature = "testing")]
    pub(crate) const fn divided_by(divisor: u32) -> Self {
        Self { divisor: if divisor == 0 { 1 } else { divisor } }
    }

    pub(crate) fn deadline(self, purpose: Purpose) -> Duration {
        purpose.deadline() / self.divisor
    }

    /// The time for an exchange that reads the whole answer. A call for a person has its deadline for the head, and as
    /// much again for the body.
    pub(crate) fn whole(self, purpose: Purpose) -> Duration {
        let factor = if purpose == Purpose::Api { 2 } else { 1 };
        self.deadline(purpose) * factor
    }

    pub(crate) fn connect(self) -> Duration {
        CONNECT / self.divisor
    }

    pub(crate) fn idle(self) -> Duration {
        IDLE / self.divisor
    }

    pub(crate) fn sweep(self) -> Duration {
        SWEEP / self.divisor
    }

    pub(crate) fn txt(self) -> Duration {
        TXT / self.divisor
    }
}

/// Why an answer is refused by its head alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum HeadRefusal {
    #[error("the answer has more than {HEADER_FIELDS} header fields")]
    HeaderFields,
    #[error("the answer is encoded although identity was asked for")]
    Encoded,
}

/// Checks the head of any answer. Only [`Purpose::Api`] may carry an encoding: there the caller has asked for it, and
/// nobody here decodes it; elsewhere a small encoded body could unfold into a huge one.
pub(crate) fn check_head(head: &Parts, purpose: Purpose) -> Result<(), HttpError> {
    if head.headers.len() > HEADER_FIELDS {
        return Err(HttpError::perhaps_sent(HttpFault::TooLarge, Some(HeadRefusal::HeaderFields.into())));
    }
    let plain = |value: &http::HeaderValue| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity");
    if purpose != Purpose::Api && !head.headers.get_all(CONTENT_ENCODING).iter().all(plain) {
        return Err(HttpError::perhaps_sent(HttpFault::Broken, Some(HeadRefusal::Encoded.into())));
    }
    Ok(())
}

/// Reads a body whole, and stops at the first chunk that goes over the limit.
pub(crate) async fn collect(head: &Parts, mut body: Incoming, limit: usize) -> Result<Bytes, HttpError> {
    let too_large = || HttpError::perhaps_sent(HttpFault::TooLarge, None);
    if announced_length(head).is_some_and(|length| length > limit as u64) && !http_body::Body::is_end_stream(&body) {
        return Err(too_large());
    }
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(broken)?;
        let Ok(chunk) = frame.into_data() else { continue };
        if first.len() + rest.len() + chunk.len() > limit {
            return Err(too_large());
        }
        if first.is_empty() {
            first = chunk;
        } else {
            rest.extend_from_slice(&chunk);
        }
    }
    if rest.is_empty() {
        return Ok(first);
    }
    let mut whole = BytesMut::with_capacity(first.len() + rest.len());
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&rest);
    Ok(whole.freeze())
}

fn announced_length(head: &Parts) -> Option<u64> {
    head.headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// What an error of the HTTP library means, once the request may have left.
pub(crate) fn broken(error: hyper::Error) -> HttpError {
    let fault = if error.is_parse_too_large() { HttpFault::TooLarge } else { HttpFault::Broken };
    HttpError::perhaps_sent(fault, Some(error.into()))
}
