//! An answer before it is on the wire: unlike `http::Response` it may hold what HTTP forbids.

use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

/// An answer of a fault server.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// Names and raw values, in order, duplicates and forbidden bytes included.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: ReplyBody,
}

/// The body of a [`Reply`].
#[derive(Clone, Debug)]
pub enum ReplyBody {
    /// Sent at once, with its length.
    Full(Bytes),
    /// Sent in pieces with a pause before each, without a length: the slow server.
    Drip {
        /// All of it.
        bytes: Bytes,
        /// Bytes in a piece.
        piece: usize,
        /// The pause.
        every: Duration,
    },
    /// The same piece again and again, without a length, as fast as it is read: the endless server.
    Repeat {
        /// The piece.
        piece: Bytes,
        /// How often.
        times: u64,
    },
    /// Announces a length and closes the connection after fewer bytes.
    Cut {
        /// What is sent.
        bytes: Bytes,
        /// What is announced.
        announced: usize,
    },
}

impl Reply {
    /// An answer without headers and body.
    pub fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: ReplyBody::Full(Bytes::new()) }
    }

    /// A JSON answer.
    pub fn json(status: u16, body: &Value) -> Self {
        Self::text(status, "application/json; charset=utf-8", body.to_string())
    }

    /// An answer of any content type.
    pub fn text(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        Self::empty(status).with("Content-Type", content_type).with_body(body)
    }

    /// A redirect.
    pub fn redirect(status: u16, location: &str) -> Self {
        Self::empty(status).with("Location", location)
    }

    /// An OAuth error of the authorization server (RFC 6749 §5.2).
    pub fn oauth_error(status: u16, error: &str, description: &str) -> Self {
        Self::json(status, &serde_json::json!({"error": error, "error_description": description}))
    }

    /// An XRPC error of a PDS.
    pub fn xrpc_error(status: u16, error: &str, message: &str) -> Self {
        Self::json(status, &serde_json::json!({"error": error, "message": message}))
    }

    /// The same answer with a header added.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// The same answer with a header set once.
    #[must_use]
    pub fn with_only(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.without(name).with(name, value)
    }

    /// The same answer without a header.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self
    }

    /// The same answer with another body.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = ReplyBody::Full(body.into());
        self
    }

    /// The first value of a header, when it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.and_then(|(_, value)| std::str::from_utf8(value).ok())
    }

    /// The bytes of a body that is sent at once.
    pub fn bytes(&self) -> Option<&Bytes> {
        match &self.body {
            ReplyBody::Full(bytes) => Some(bytes),
            ReplyBody::Drip { .. } | ReplyBody::Repeat { .. } | ReplyBody::Cut { .. } => None,
        }
    }

    /// The body as JSON, when it is some.
    pub fn value(&self) -> Option<Value> {
        self.bytes().and_then(|bytes| serde_json::from_slice(bytes).ok())
    }
}
