//! `GET /api/events`: what happens to the access of this device's accounts, as it happens.

use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bowerbird_core::{AccountId, DeviceSessionId};
use bowerbird_events::{EventStreams, StreamRefusal, Subscription};
use bytes::Bytes;
use futures_util::stream;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, StatusCode};

use crate::device_sessions::{DeviceSessions, DeviceWatch, LiveDevice};
use crate::error::ApiError;
use crate::extract::SignedIn;

/// A comment is sent this often, so that proxies keep the connection; the session is looked at as often.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// The first bytes: how long a client waits before it comes back, and a comment that gets the head through every buffer.
const GREETING: Bytes = Bytes::from_static(b"retry: 3000\n: following\n\n");
const KEPT_ALIVE: Bytes = Bytes::from_static(b": still here\n\n");
/// Events were lost; how things stand is at `/api/tokens/health`.
const MISSED: Bytes = Bytes::from_static(b"event: missed\ndata: {}\n\n");
/// Tells nginx not to collect the answer.
const ACCEL: HeaderName = HeaderName::from_static("x-accel-buffering");

/// What following needs. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Following {
    pub(crate) streams: EventStreams,
    pub(crate) devices: DeviceSessions,
}

/// Follows what happens to this device's accounts
///
/// A stream of `text/event-stream` for `EventSource`: `refreshed`, `recovered`, `needs_reauth`, `lost_response` and
/// `outcome_unknown`, each with `id`, `type`, `occurredAt`, `accountId`, `connectionId`, `message` and, where the person is
/// needed, `reason` and `repairUrl`. After `missed` read `/api/tokens/health`. It ends when the session does.
#[utoipa::path(
    get, path = "/api/events", tag = "Apps", operation_id = "followEvents",
    security(("cookie" = []), ("bearer" = [])),
    responses(
        (status = 200, description = "Events, one after the other, until the session ends", content_type = "text/event-stream", body = String),
        (status = 401, description = "Nobody is signed in"),
        (status = 429, description = "This session follows events eight times already"),
        (status = 503, description = "Too many clients follow events, or the server is stopping"),
    )
)]
pub(crate) async fn get(
    State(following): State<Following>,
    SignedIn { device, .. }: SignedIn,
) -> Result<Response, ApiError> {
    let Following { streams, devices } = following;
    let id = device.session.id.clone();
    // Watched first: what changes from here on is noticed.
    let watch = devices.watch(&id);
    let accounts = accounts_of(&device);
    let subscription = streams.follow(id.as_str(), &accounts).map_err(refusal)?;
    let follower = Follower { id, devices, watch, accounts, subscription, ready: vec![GREETING] };
    Ok(answer(stream::unfold(follower, |mut follower| async move {
        let piece = follower.next().await?;
        Some((Ok::<Bytes, std::convert::Infallible>(piece), follower))
    })))
}

/// An answer of events.
pub(crate) fn answer(
    pieces: impl futures_util::Stream<Item = Result<Bytes, std::convert::Infallible>> + Send + 'static,
) -> Response {
    let mut response = Response::new(Body::from_stream(pieces));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response.headers_mut().insert(ACCEL, HeaderValue::from_static("no"));
    response
}

/// What a client hears that gets no stream.
pub(crate) fn refusal(refusal: StreamRefusal) -> ApiError {
    match refusal {
        StreamRefusal::ClientHasEnough => ApiError::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too_many_streams",
            "This session follows events eight times already",
        )
        .with_hint("Close a stream that is not needed; one is enough for all accounts of a device")
        .with_retry_after(30),
        StreamRefusal::Full | StreamRefusal::Closed => {
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "streams_full", "No more clients can follow events now")
                .with_retry_after(30)
        }
    }
}

/// The operator's stream: everything, for as long as it is read.
pub(crate) fn everything(subscription: Subscription) -> Response {
    let follower = (subscription, vec![GREETING]);
    answer(stream::unfold(follower, |(mut subscription, mut ready)| async move {
        loop {
            if let Some(piece) = ready.pop() {
                return Some((Ok(piece), (subscription, ready)));
            }
            tokio::select! {
                event = subscription.next() => ready.push(event?.frame),
                () = tokio::time::sleep(KEEP_ALIVE) => ready.push(KEPT_ALIVE),
            }
            if subscription.missed() {
                ready.push(MISSED);
            }
        }
    }))
}

struct Follower {
    id: DeviceSessionId,
    devices: DeviceSessions,
    watch: DeviceWatch,
    accounts: Vec<AccountId>,
    subscription: Subscription,
    /// What is to be sent, the last one first.
    ready: Vec<Bytes>,
}

impl Follower {
    /// The next piece; None when the session is over, the server stops, or nobody knows whether the session is over.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(piece) = self.ready.pop() {
                return Some(piece);
            }
            tokio::select! {
                event = self.subscription.next() => {
                    let event = event?;
                    self.look().await?;
                    // An account that was taken off the device a moment ago is not the device's any more.
                    if event.account.is_some_and(|account| self.accounts.contains(&account)) {
                        self.ready.push(event.frame);
                    }
                }
                () = self.watch.changed() => self.look().await?,
                () = tokio::time::sleep(KEEP_ALIVE) => {
                    self.look().await?;
                    self.ready.push(KEPT_ALIVE);
                }
            }
            if self.subscription.missed() {
                self.ready.push(MISSED);
            }
        }
    }

    /// Looks whether the session is alive, and which accounts are on it now.
    async fn look(&mut self) -> Option<()> {
        let device = self.devices.peek(&self.id).await.ok()??;
        let accounts = accounts_of(&device);
        if accounts != self.accounts {
            self.subscription.follow(&accounts);
            self.accounts = accounts;
        }
        Some(())
    }
}

fn accounts_of(device: &LiveDevice) -> Vec<AccountId> {
    device.session.accounts.iter().map(|entry| entry.account).collect()
}
