//! A TCP stream that can be told to put other bytes on the wire than the HTTP library writes, or to be reset.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Tells the stream of one connection what to do instead of writing the next answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct WireOrder(Arc<Mutex<Order>>);

#[derive(Debug, Default)]
enum Order {
    #[default]
    None,
    Raw(Bytes),
    Reset,
    Done,
}

impl WireOrder {
    /// The next write puts these bytes on the wire, everything after it is swallowed.
    pub(crate) fn send_raw(&self, bytes: Bytes) {
        *self.0.lock() = Order::Raw(bytes);
    }

    /// The next write resets the connection.
    pub(crate) fn reset(&self) {
        *self.0.lock() = Order::Reset;
    }
}

#[derive(Debug)]
pub(crate) struct RawStream {
    inner: TcpStream,
    order: WireOrder,
}

impl RawStream {
    pub(crate) fn new(inner: TcpStream, order: WireOrder) -> Self {
        Self { inner, order }
    }
}

impl AsyncRead for RawStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for RawStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let order = std::mem::take(&mut *self.order.0.lock());
            match order {
                Order::None => return Pin::new(&mut self.inner).poll_write(cx, buf),
                Order::Done => {
                    *self.order.0.lock() = Order::Done;
                    return Poll::Ready(Ok(buf.len()));
                }
                Order::Reset => {
                    self.inner.set_zero_linger()?;
                    return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
                }
                Order::Raw(bytes) if bytes.is_empty() => *self.order.0.lock() = Order::Done,
                Order::Raw(mut bytes) => {
                    let written = Pin::new(&mut self.inner).poll_write(cx, &bytes);
                    if let Poll::Ready(Ok(count)) = &written {
                        bytes.advance(*count);
                    }
                    *self.order.0.lock() = Order::Raw(bytes);
                    ready!(written)?;
                }
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
