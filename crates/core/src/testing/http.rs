//! HTTP from a script.

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use parking_lot::Mutex;

use crate::ports::{HttpClient, HttpError, HttpFault, Purpose, StreamBody, full_body};

type Answer = dyn Fn(&SentRequest) -> Result<Response<Bytes>, HttpError> + Send + Sync;

/// A request as it would have left.
#[derive(Clone, Debug)]
pub struct SentRequest {
    /// Method, URI and headers.
    pub head: Request<()>,
    /// The body.
    pub body: Bytes,
    /// What for.
    pub purpose: Purpose,
}

impl SentRequest {
    /// The whole URI.
    pub fn uri(&self) -> String {
        self.head.uri().to_string()
    }
}

/// An HTTP client that answers from a function and remembers what was sent.
pub struct ScriptedHttp {
    answer: Box<Answer>,
    sent: Mutex<Vec<SentRequest>>,
}

impl ScriptedHttp {
    /// Answers every request with the function.
    pub fn new(answer: impl Fn(&SentRequest) -> Result<Response<Bytes>, HttpError> + Send + Sync + 'static) -> Self {
        Self { answer: Box::new(answer), sent: Mutex::default() }
    }

    /// Fails every request before the first byte.
    pub fn unreachable() -> Self {
        Self::new(|_| Err(HttpError::not_sent(HttpFault::Connect, None)))
    }

    /// Every request so far.
    pub fn sent(&self) -> Vec<SentRequest> {
        self.sent.lock().clone()
    }

    fn exchange(&self, request: SentRequest) -> Result<Response<Bytes>, HttpError> {
        let answer = (self.answer)(&request);
        self.sent.lock().push(request);
        answer
    }
}

#[async_trait]
impl HttpClient for ScriptedHttp {
    async fn send(&self, request: Request<Bytes>, purpose: Purpose) -> Result<Response<Bytes>, HttpError> {
        let (head, body) = request.into_parts();
        self.exchange(SentRequest { head: Request::from_parts(head, ()), body, purpose })
    }

    async fn stream(&self, request: Request<StreamBody>) -> Result<Response<StreamBody>, HttpError> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(|e| HttpError::perhaps_sent(HttpFault::Broken, e))?.to_bytes();
        let answer = self.exchange(SentRequest { head: Request::from_parts(head, ()), body, purpose: Purpose::Api })?;
        Ok(answer.map(full_body))
    }
}
