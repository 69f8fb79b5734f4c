//! A request's body that must keep coming.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};

pin_project! {
    /// Fails once nothing came for a while. A slow body is fine, a silent one holds a connection for nothing.
    pub(super) struct IdleBody<B> {
        #[pin]
        inner: B,
        limit: Duration,
        // Made when there is something to wait for; most bodies are there at once.
        timer: Option<Pin<Box<Sleep>>>,
        waiting: bool,
    }
}

impl<B> IdleBody<B> {
    pub(super) fn new(inner: B, limit: Duration) -> Self {
        Self { inner, limit, timer: None, waiting: false }
    }
}

impl<B> Body for IdleBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.project();
        if let Poll::Ready(frame) = this.inner.poll_frame(context) {
            *this.waiting = false;
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let limit = *this.limit;
        let timer = this.timer.get_or_insert_with(|| Box::pin(sleep(limit)));
        if !*this.waiting {
            timer.as_mut().set(sleep(limit));
            *this.waiting = true;
        }
        match timer.as_mut().poll(context) {
            Poll::Ready(()) => {
                let error = io::Error::new(io::ErrorKind::TimedOut, "the rest of the body did not come");
                Poll::Ready(Some(Err(error.into())))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, StreamBody};
    use tokio::sync::mpsc;

    use super::*;

    type Piece = Result<Frame<Bytes>, io::Error>;

    fn channel() -> (mpsc::UnboundedSender<Piece>, impl Body<Data = Bytes, Error = io::Error>) {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        (sender, StreamBody::new(futures_util::stream::poll_fn(move |context| receiver.poll_recv(context))))
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_body_arrives_and_a_silent_one_fails() {
        let (sender, body) = channel();
        let mut body = Box::pin(IdleBody::new(body, Duration::from_secs(30)));
        tokio::spawn(async move {
            for _ in 0..5 {
                sleep(Duration::from_secs(29)).await;
                sender.send(Ok(Frame::data(Bytes::from_static(b"x")))).unwrap();
            }
            sleep(Duration::from_secs(31)).await;
            drop(sender);
        });
        for _ in 0..5 {
            assert!(body.frame().await.unwrap().is_ok());
        }
        assert!(body.frame().await.unwrap().unwrap_err().to_string().contains("did not come"));
    }
}
