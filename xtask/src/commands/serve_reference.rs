//! `xtask serve-reference`: what `bench` compares with, so small that nothing is left to measure but the server itself.
//! Only in builds with the feature `reference`, which `bench` makes in release mode.

use crate::interrupt;
use crate::ui::Ui;
use anyhow::{Context, Result};
use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use std::net::Ipv4Addr;
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
}

/// Serves `/empty`, a route that does nothing, and `/xrpc/…`, the trivial upstream, until it is asked to end.
pub(crate) fn run(ui: &Ui, arguments: &Arguments) -> Result<bool> {
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    runtime.block_on(async {
        for port in &arguments.ports {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).await;
            let listener = listener.with_context(|| format!("cannot listen on port {port}"))?;
            tokio::spawn(async move { axum::serve(listener, routes()).await });
        }
        ui.line("ready");
        while !interrupt::asked() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(true)
    })
}

fn routes() -> Router {
    Router::new().route("/empty", get(|| async {})).route("/xrpc/{nsid}", get(upstream))
}

async fn upstream() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], ANSWER)
}
