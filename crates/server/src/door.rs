//! The door: the one layer around every route. On the way in it looks at whom the request is meant for; on the way out
//! it writes errors, adds the headers that every answer has, and keeps a panic from becoming a broken connection.
//!
//! One layer by hand instead of a stack of boxes, since this is paid on every request.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use bowerbird_core::ports::{Clock, Entropy};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use pin_project_lite::pin_project;
use tower::{Layer, Service};
use tracing::Span;

use crate::cors;
use crate::error::{ApiError, Form, Wish};
use crate::host_check::{self, HostVerdict};
use crate::pages;
use crate::request_id::{self, REQUEST_ID_HEADER};
use crate::route_names::RouteNames;
use crate::security_headers;
use crate::serve;
use crate::site::Site;
use crate::span;

/// What the door needs.
#[derive(Clone)]
pub(crate) struct DoorLayer(Arc<Keeper>);

struct Keeper {
    site: Site,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    names: RouteNames,
}

/// A route behind the door.
#[derive(Clone)]
pub(crate) struct Door<S> {
    inner: S,
    keeper: Arc<Keeper>,
}

impl DoorLayer {
    pub(crate) fn new(site: Site, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>, names: RouteNames) -> Self {
        Self(Arc::new(Keeper { site, clock, entropy, names }))
    }
}

impl<S> Layer<S> for DoorLayer {
    type Service = Door<S>;

    fn layer(&self, inner: S) -> Door<S> {
        Door { inner, keeper: Arc::clone(&self.0) }
    }
}

impl<S> Service<Request> for Door<S>
where
    S: Service<Request, Error = Infallible>,
    S::Response: IntoResponse,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Passage<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let visit = Some(Visit::begin(&request, &self.keeper));
        match refuse(&request, &self.keeper.site) {
            Some(early) => Passage { route: Route::Early { early: Some(early) }, visit },
            None => Passage { route: Route::Through { future: self.inner.call(request) }, visit },
        }
    }
}

/// What is said at the door, before any route is asked.
fn refuse(request: &Request, site: &Site) -> Option<Response> {
    let (uri, headers) = (request.uri(), request.headers());
    if serve::is_unclear(headers, request.extensions()) {
        let error = ApiError::bad_request("framing_unclear", "The request does not say clearly where its body ends")
            .with_hint("Send either Content-Length or Transfer-Encoding: chunked, and no other encoding");
        return Some(error.into_response());
    }
    match host_check::check(uri, headers, site) {
        HostVerdict::Ours => {}
        // Probes come by address, and learn nothing but whether we are up.
        HostVerdict::Misdirected if matches!(uri.path(), "/health" | "/ready") => {}
        HostVerdict::Misdirected => {
            let error =
                ApiError::new(StatusCode::MISDIRECTED_REQUEST, "misdirected_request", "This server is not that host")
                    .with_action(site.base_url.as_str(), "Open the right address")
                    .with_hint(format!("This server's address is {}", site.origin))
                    .negotiated("");
            return Some(error.into_response());
        }
        HostVerdict::Malformed => {
            return Some(ApiError::bad_request("host_invalid", "The request must name one host").into_response());
        }
    }
    if uri.path_and_query().is_some_and(|target| holds_seal(target.as_str())) {
        let error = ApiError::bad_request("seal_in_url", "A seal must not be part of an address")
            .with_hint("Send it as a cookie or in the Authorization header; addresses end up in logs and histories");
        return Some(error.into_response());
    }
    if cors::is_preflight(request.method(), headers) && cors::listed_origin(headers, site).is_some() {
        let mut response = StatusCode::NO_CONTENT.into_response();
        cors::apply_preflight(response.headers_mut());
        return Some(response);
    }
    None
}

/// Whether an address holds something that looks like a seal (security row 61).
fn holds_seal(target: &str) -> bool {
    target.match_indices("Fe26.").any(|(at, _)| {
        let rest = target[at + 5..].trim_start_matches(|c: char| c.is_ascii_digit());
        rest.starts_with('*') || rest.get(..3).is_some_and(|escape| escape.eq_ignore_ascii_case("%2a"))
    })
}

/// What must be remembered of a request until its answer.
struct Visit {
    keeper: Arc<Keeper>,
    method: Method,
    uri: Uri,
    accept: Option<HeaderValue>,
    origin: Option<HeaderValue>,
    request_id: Option<HeaderValue>,
    /// Only while somebody listens at level debug.
    began: Option<Duration>,
    /// Only while traces are wanted.
    span: Span,
}

impl Visit {
    fn begin(request: &Request, keeper: &Arc<Keeper>) -> Self {
        let headers = request.headers();
        let span = span::begin(request, &keeper.site, &keeper.names);
        let mut request_id = request_id::given(headers);
        if !span.is_disabled() {
            let id = request_id.get_or_insert_with(|| request_id::random(keeper.entropy.as_ref()));
            span.record("request_id", id.to_str().unwrap_or_default());
        }
        Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            accept: headers.get(ACCEPT).cloned(),
            origin: cors::listed_origin(headers, &keeper.site),
            request_id,
            span,
            began: tracing::enabled!(tracing::Level::DEBUG).then(|| keeper.clock.monotonic()),
            keeper: Arc::clone(keeper),
        }
    }

    fn end(mut self, mut response: Response) -> Response {
        let status = response.status();
        span::end(&self.span, &response);
        if status.is_client_error() || status.is_server_error() {
            self.write_error(&mut response);
        }
        let headers = response.headers_mut();
        if let Some(id) = self.request_id {
            headers.insert(REQUEST_ID_HEADER, id);
        }
        security_headers::apply(headers, &self.keeper.site);
        cors::apply(headers, &self.keeper.site, self.origin);
        if let Some(began) = self.began {
            let took = self.keeper.clock.monotonic().saturating_sub(began);
            // The path alone: a query may hold a code.
            tracing::debug!(method = %self.method, path = self.uri.path(), status = status.as_u16(), ?took, "answered");
        }
        response
    }

    fn write_error(&mut self, response: &mut Response) {
        let Self { keeper, method, uri, accept, .. } = self;
        let id = self.request_id.get_or_insert_with(|| request_id::random(keeper.entropy.as_ref()));
        let id = id.to_str().unwrap_or_default();
        let Some(error) = response.extensions_mut().remove::<ApiError>() else { return };
        if error.status.is_server_error() {
            let cause = error.cause_chain();
            tracing::warn!(request_id = id, %method, path = uri.path(), code = error.code, cause, "a request failed");
        }
        let (body, content_type) = match error.form {
            Form::Json => (error.to_json(id), "application/json"),
            Form::Negotiated(prefix) => {
                let mut headers = HeaderMap::new();
                headers.extend(accept.take().map(|value| (ACCEPT, value)));
                match Wish::of(&headers) {
                    Wish::Page => {
                        pages::dress(response.headers_mut(), &keeper.site);
                        (pages::error_page(&keeper.site, &error, id), "text/html; charset=utf-8")
                    }
                    Wish::Json => (error.to_json(id), "application/json"),
                    Wish::Text => (format!("{prefix}{}", error.message), "text/plain; charset=utf-8"),
                }
            }
        };
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        *response.body_mut() = body.into();
    }
}

pin_project! {
    /// A request on its way.
    pub(crate) struct Passage<F> {
        #[pin]
        route: Route<F>,
        visit: Option<Visit>,
    }
}

pin_project! {
    #[project = RouteProjection]
    enum Route<F> {
        Early { early: Option<Response> },
        Through { #[pin] future: F },
    }
}

impl<F, R> Future for Passage<F>
where
    F: Future<Output = Result<R, Infallible>>,
    R: IntoResponse,
{
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let in_span = this.visit.as_ref().map(|visit| visit.span.enter());
        let response = match this.route.project() {
            RouteProjection::Early { early } => early.take().unwrap_or_default(),
            // The future is never polled again after a panic: its end is answered at once.
            RouteProjection::Through { future } => match catch_unwind(AssertUnwindSafe(|| future.poll(context))) {
                Ok(Poll::Pending) => return Poll::Pending,
                Ok(Poll::Ready(Ok(response))) => response.into_response(),
                Err(_) => ApiError::internal("a handler panicked").into_response(),
            },
        };
        drop(in_span);
        Poll::Ready(Ok(match this.visit.take() {
            Some(visit) => visit.end(response),
            None => response,
        }))
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::routing::get;
    use bowerbird_core::testing::{SeededEntropy, TestClock};
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;
    use crate::site::tests::site;

    async fn panics() -> &'static str {
        panic!("canary of the panic")
    }

    #[tokio::test]
    async fn a_panic_is_answered_and_tells_nothing() {
        let door = DoorLayer::new(
            site("https://bower.example"),
            Arc::new(TestClock::new()),
            Arc::new(SeededEntropy::new(1)),
            RouteNames::new([]),
        );
        let router: Router = Router::new().route("/", get(panics)).layer(door);
        let request = Request::builder().uri("/").header("host", "bower.example").body(Body::empty()).unwrap();
        let response = router.oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(response.headers()["bowerbird-error"], "internal");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&body);
        assert!(text.contains("request_id") && !text.contains("canary"), "{text}");
    }

    #[test]
    fn seals_in_addresses_are_seen() {
        for bad in ["/?x=Fe26.2*1*abc", "/a/Fe26.2**", "/?x=Fe26.2%2A1", "/?x=Fe26.2%2a1", "/?Fe26.1*"] {
            assert!(holds_seal(bad), "{bad}");
        }
        for good in ["/?q=Fe26.2", "/?q=iron+Fe26.", "/xrpc/app.bsky.feed.searchPosts?q=fe26.2*", "/?q=Fe26.2 é*"] {
            assert!(!holds_seal(good), "{good}");
        }
    }
}
