//! `xtask serve-reference`: what `bench` compares with, so small that nothing is left to measure but the server itself.
//! Only in builds with the feature `reference`, which `bench` makes in release mode.

use crate::interrupt;
use crate::ui::Ui;
use anyhow::{Context, Result};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::TcpListener;

/// The answer of the trivial upstream: as long as a small API answer, and always the same.
const ANSWER: &str = r#"{"did":"did:plc:ewvi7nxzyoun6zhxrhs64oiz","handle":"alice.test","active":true,"email":"alice@test.com","emailConfirmed":false,"emailAuthFactor":false}"#;

/// What `serve-reference` is asked.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// A loopback port to listen on; may be given several times
    #[arg(long = "port", required = true)]
    ports: Vec<u16>,
    /// What `/same` answers: lines of `name: value`, an empty line, the body
    #[arg(long)]
    same: Option<PathBuf>,
}

/// Serves `/empty`, a route that does nothing, `/same`, which gives a recorded answer, and `/xrpc/…`, the trivial upstream,
/// until it is asked to end.
pub(crate) fn run(ui: &Ui, arguments: &Arguments) -> Result<bool> {
    let same = arguments.same.as_ref().map(recorded).transpose()?.unwrap_or_default();
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    runtime.block_on(async {
        for port in &arguments.ports {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).await;
            let listener = listener.with_context(|| format!("cannot listen on port {port}"))?;
            let routes = routes(same.clone());
            tokio::spawn(async move { axum::serve(listener, routes).await });
        }
        ui.line("ready");
        while !interrupt::asked() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(true)
    })
}

fn routes(same: Recorded) -> Router {
    let answer = move || {
        let Recorded { headers, body } = same.clone();
        let mut response = Response::new(Body::from(body));
        *response.headers_mut() = headers;
        std::future::ready(response)
    };
    Router::new().route("/empty", get(|| async {})).route("/same", get(answer)).route("/xrpc/{nsid}", get(upstream))
}

/// An answer to repeat.
#[derive(Clone, Default)]
struct Recorded {
    headers: HeaderMap,
    body: Bytes,
}

fn recorded(file: &PathBuf) -> Result<Recorded> {
    let text = std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let (lines, body) = text.split_once("\n\n").context("the recorded answer has no end of headers")?;
    let mut headers = HeaderMap::new();
    for line in lines.lines() {
        let (name, value) = line.split_once(": ").context("a recorded header has no value")?;
        headers.append(name.parse::<header::HeaderName>()?, value.parse()?);
    }
    Ok(Recorded { headers, body: body.to_owned().into() })
}

async fn upstream() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], ANSWER)
}
