//! A client's stream whose heads are looked at on their way to the HTTP library.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{Extensions, HeaderMap};
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::heads::{Heads, Seen};

const CHUNKED: u8 = 1;
const BOTH: u8 = 2;

/// What was seen on a connection; shared by its stream and its service, which run by turns in one task.
#[derive(Clone, Debug, Default)]
pub(super) struct Witness(Arc<AtomicU8>);

/// Marks a request that does not say in one clear way where its body ends.
#[derive(Clone, Copy, Debug)]
struct Unclear;

impl Witness {
    fn tell(&self, seen: Seen) {
        let code = match seen {
            Seen::Chunked => CHUNKED,
            Seen::Both => BOTH,
        };
        self.0.store(code, Ordering::Relaxed);
    }

    /// Looks at a request's head as the HTTP library gives it, and marks it when it is unclear. Returns whether its
    /// connection must end with the answer: what comes after chunks is not followed.
    pub(super) fn question(&self, headers: &HeaderMap, extensions: &mut Extensions) -> bool {
        if !headers.contains_key(TRANSFER_ENCODING) {
            return false;
        }
        if self.0.load(Ordering::Relaxed) != CHUNKED {
            extensions.insert(Unclear);
        }
        true
    }
}

/// Whether it is uncertain where a request's body ends: two lengths, or an encoding other than chunks, which this
/// server could not undo (RFC 9112 §6.1, §6.3).
pub(crate) fn is_unclear(headers: &HeaderMap, extensions: &Extensions) -> bool {
    let mut encodings = headers.get_all(TRANSFER_ENCODING).iter();
    let Some(first) = encodings.next() else { return false };
    let chunks_alone = encodings.next().is_none() && first.as_bytes().eq_ignore_ascii_case(b"chunked");
    !chunks_alone || headers.contains_key(CONTENT_LENGTH) || extensions.get::<Unclear>().is_some()
}

pin_project! {
    /// The stream.
    pub(super) struct Inspected<S> {
        #[pin]
        stream: S,
        heads: Heads,
        witness: Witness,
    }
}

impl<S> Inspected<S> {
    pub(super) fn new(stream: S, witness: Witness) -> Self {
        Self { stream, heads: Heads::new(), witness }
    }
}

impl<S: AsyncRead> AsyncRead for Inspected<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.project();
        let before = buffer.filled().len();
        let read = this.stream.poll_read(context, buffer);
        if !this.heads.is_lost()
            && let Some(bytes) = buffer.filled().get(before..)
        {
            this.heads.follow(bytes);
            if let Some(seen) = this.heads.seen() {
                this.witness.tell(seen);
            }
        }
        read
    }
}

impl<S: AsyncWrite> AsyncWrite for Inspected<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.project().stream.poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().stream.poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().stream.poll_shutdown(context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.project().stream.poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
