//! A stream that lets an answer be read although the peer has stopped listening.
//!
//! A server that does not want a body says so at once and closes with the rest of it unread, which its system turns into a
//! reset. The HTTP library would meet the reset when it writes on, and give up without a look at what had come before it.
//! So a write that fails after others went well only ends the writing: what the peer said, or that it said nothing, is
//! found by the reading.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};

/// The stream of an HTTP/1.1 connection.
pub(crate) struct EarlyAnswer<S> {
    stream: S,
    written: bool,
    hung_up: bool,
}

impl<S> EarlyAnswer<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, written: false, hung_up: false }
    }

    /// Nothing is written after a hang-up, and nobody is woken for it: the reading ends, and with it the connection.
    fn settle<T>(&mut self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match polled {
            Poll::Ready(Err(error)) if self.written && is_hang_up(&error) => {
                self.hung_up = true;
                Poll::Pending
            }
            other => other,
        }
    }

    fn settle_write(&mut self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.written |= matches!(polled, Poll::Ready(Ok(1..)));
        self.settle(polled)
    }
}

fn is_hang_up(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted)
}

impl<S: Read + Unpin> Read for EarlyAnswer<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: Write + Unpin> Write for EarlyAnswer<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.hung_up {
            return Poll::Pending;
        }
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.settle_write(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.hung_up {
            return Poll::Pending;
        }
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
        self.settle_write(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.hung_up {
            return Poll::Pending;
        }
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        self.settle(polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.hung_up {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
