//! A small web program with sign-in: <http://127.0.0.1:5000>.
//!
//! ```text
//! cargo run -p bowerbird-atproto --example web_demo
//! ```
//!
//! | route | what it does |
//! |---|---|
//! | `GET /` | a form, or who is signed in |
//! | `POST /login` | begins a login and sends the browser to the account's server |
//! | `GET /callback` | ends it |
//! | `GET /api/profile` | calls the account's server |
//! | `POST /logout` | signs out, here and there |
//!
//! Two cookies: `login` binds a login to the browser that began it, `session` names a row in this program's memory.
//! Neither is a token; those stay in the client's vault.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{Form, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bowerbird_atproto::{OAuthClient, OAuthClientPorts, OAuthSession};
use bowerbird_core::Did;
use bowerbird_core::ports::Entropy;
use bowerbird_net::{NetClient, NetConfig, OsEntropy, SystemClock};
use parking_lot::Mutex;
use serde_json::json;

#[derive(Clone)]
struct Demo {
    client: OAuthClient,
    signed_in: Arc<Mutex<HashMap<String, Did>>>,
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "says where to go")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let clock = Arc::new(SystemClock::new());
    let net = NetClient::new(NetConfig::default(), clock.clone())?;
    let ports = OAuthClientPorts { http: net.clone(), dns: net, clock, entropy: Arc::new(OsEntropy) };
    let client = OAuthClient::builder("http://127.0.0.1:5000".parse()?)?
        .scope("atproto transition:generic")
        .callback_path("/callback")
        .build(ports)?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:5000").await?;
    println!("http://127.0.0.1:5000");
    axum::serve(listener, router(client)).await?;
    Ok(())
}

/// The routes of the program.
pub(crate) fn router(client: OAuthClient) -> Router {
    Router::new()
        .route("/", get(home))
        .route("/login", post(login))
        .route("/callback", get(callback))
        .route("/logout", post(logout))
        .route("/api/profile", get(profile))
        .with_state(Demo { client, signed_in: Arc::default() })
}

async fn home(State(demo): State<Demo>, headers: HeaderMap) -> Response {
    match demo.session(&headers).await {
        Some(session) => page(&format!(
            "<p>Signed in as <b>{}</b> ({})<br>at {}</p><p><a href=/api/profile>Profile</a></p>\
             <form method=post action=/logout><button>Sign out</button></form>",
            escaped(session.handle()),
            escaped(session.did().as_str()),
            escaped(session.pds_url())
        )),
        None => page(
            "<form method=post action=/login><label>Handle <input name=handle autocomplete=username \
             placeholder=alice.bsky.social></label> <button>Sign in</button></form>",
        ),
    }
}

async fn login(State(demo): State<Demo>, headers: HeaderMap, Form(form): Form<HashMap<String, String>>) -> Response {
    if from_elsewhere(&headers) {
        return refusal(StatusCode::FORBIDDEN, "This form belongs to another page.");
    }
    let handle = form.get("handle").map(|handle| handle.trim()).unwrap_or_default();
    if handle.is_empty() {
        return refusal(StatusCode::BAD_REQUEST, "Handle required");
    }
    let browser = random();
    match demo.client.for_browser(&browser).start_authorization(handle, None).await {
        Ok((url, _state)) => with_cookie(Redirect::to(url.as_str()).into_response(), "login", &browser, 600),
        Err(error) => refusal(error.status(), &error.to_string()),
    }
}

async fn callback(State(demo): State<Demo>, headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    let Some(query) = query else { return refusal(StatusCode::BAD_REQUEST, "Missing required parameters") };
    let client = match cookie(&headers, "login") {
        Some(browser) => demo.client.for_browser(browser),
        None => demo.client.clone(),
    };
    match client.handle_callback_query(&query).await {
        Ok(session) => {
            // A new name at every sign-in: one that an attacker planted before is worth nothing.
            let name = random();
            demo.signed_in.lock().insert(name.clone(), session.did().clone());
            let answer = with_cookie(Redirect::to("/").into_response(), "login", "", 0);
            with_cookie(answer, "session", &name, 14 * 86_400)
        }
        Err(error) => refusal(error.status(), &error.to_string()),
    }
}

async fn logout(State(demo): State<Demo>, headers: HeaderMap) -> Response {
    if from_elsewhere(&headers) {
        return refusal(StatusCode::FORBIDDEN, "This form belongs to another page.");
    }
    if let Some(session) = demo.session(&headers).await {
        if let Err(error) = demo.client.revoke_session(&session).await {
            return refusal(error.status(), &error.to_string());
        }
        demo.signed_in.lock().retain(|_, did| did != session.did());
    }
    with_cookie(Redirect::to("/").into_response(), "session", "", 0)
}

async fn profile(State(demo): State<Demo>, headers: HeaderMap) -> Response {
    let problem = |status: StatusCode, error: &str| (status, Json(json!({"error": error}))).into_response();
    if cookie(&headers, "session").is_none() {
        return problem(StatusCode::UNAUTHORIZED, "Not authenticated");
    }
    let Some(session) = demo.session(&headers).await else {
        return problem(StatusCode::UNAUTHORIZED, "Session not found");
    };
    let url = format!("{}/xrpc/com.atproto.repo.describeRepo?repo={}", session.pds_url(), session.did());
    match demo.client.make_authenticated_request(&session, Method::GET, &url).await {
        Ok(answer) if answer.status().is_success() => {
            ([(header::CONTENT_TYPE, "application/json")], answer.into_body()).into_response()
        }
        Ok(answer) => {
            let body = json!({"error": "PDS request failed", "status": answer.status().as_u16()});
            (StatusCode::BAD_GATEWAY, Json(body)).into_response()
        }
        Err(error) => problem(error.status(), &error.to_string()),
    }
}

impl Demo {
    async fn session(&self, headers: &HeaderMap) -> Option<OAuthSession> {
        let did = self.signed_in.lock().get(cookie(headers, "session")?).cloned()?;
        self.client.session(&did).await.ok().flatten()
    }
}

/// Whether a browser says that another site made it send this.
fn from_elsewhere(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none")
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let cookies = headers.get(header::COOKIE)?.to_str().ok()?;
    cookies.split("; ").find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).filter(|value| !value.is_empty())
}

fn with_cookie(mut answer: Response, name: &str, value: &str, seconds: u32) -> Response {
    let text = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={seconds}");
    if let Ok(value) = HeaderValue::from_str(&text) {
        answer.headers_mut().append(header::SET_COOKIE, value);
    }
    answer
}

fn page(body: &str) -> Response {
    let head = "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>\
                <title>AT Protocol sign-in</title><h1>AT Protocol sign-in</h1>";
    let safety = [
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; form-action 'self' https:; frame-ancestors 'none'"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (safety, Html(format!("{head}{body}</html>"))).into_response()
}

fn refusal(status: StatusCode, sentence: &str) -> Response {
    (status, page(&format!("<p role=alert>{}</p><p><a href=/>Back</a></p>", escaped(sentence)))).into_response()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

fn random() -> String {
    let mut bytes = [0; 16];
    OsEntropy.fill(&mut bytes);
    format!("{:032x}", u128::from_be_bytes(bytes))
}
