//! `bowerbird serve`

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bowerbird_core::ports::{Clock, DeviceChangeLog, Stores};
use bowerbird_server::{Crew, ServeLimits, ServerConfig, ServerParts};
use bowerbird_vault::SealRing;
use futures_util::FutureExt as _;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::{Failure, USER};
use crate::compose::{Composition, compose_to_refresh};
use crate::config::{self, ExposeTokens, Settings};
use crate::load::Loaded;
use crate::logging;
use crate::printer::Printer;

/// How often expired logins and device sessions are removed, and changes that no copy is older than.
const PURGE_INTERVAL: Duration = Duration::from_mins(1);
/// How long a stop waits for refreshes that are under way: one is at most 60 s long.
const DRAIN: Duration = Duration::from_secs(75);

/// Runs the server until it is told to stop.
pub(crate) async fn run(loaded: Loaded, printer: Printer) -> Result<ExitCode, Failure> {
    logging::install(&loaded.settings)?;
    let unset = config::not_shared(&loaded.values, &loaded.settings);
    if !unset.is_empty() {
        let unset = unset.join(", ");
        tracing::warn!(unset, "every instance on this PostgreSQL needs the same of these, and they are not set");
    }
    let composition = compose_to_refresh(&loaded).await?;
    composition.guards.examine(&composition.atproto.vault).await?;
    let listener = listen(&loaded.settings).await?;
    let address = listener.local_addr().map_err(Failure::internal)?;
    let parts = server_parts(&loaded, &composition)?;
    let router = bowerbird_server::router(parts);
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let crew = Crew::start(threads).map_err(Failure::internal)?;
    let vault = composition.atproto.vault.clone();
    let background = [
        tokio::spawn(purge(
            composition.stores.clone(),
            composition.shared.device_log.clone(),
            Arc::clone(&composition.clock),
        )),
        tokio::spawn(composition.guards.clone().watch(vault.clone())),
        tokio::spawn(async move { vault.run_sweep(std::future::pending()).await }),
    ];

    let base_url = loaded.settings.base_url.as_str().trim_end_matches('/');
    if printer.is_json() {
        printer.value(&json!({"ready": true, "baseUrl": base_url, "listen": address.to_string()}));
    } else {
        printer.line(&format!("Bowerbird is ready: open {base_url} (listening on {address})"));
    }

    let served = bowerbird_server::serve(&crew, listener, router, ServeLimits::default(), stop_signal()?).await;
    background.iter().for_each(tokio::task::JoinHandle::abort);
    // Refreshes first: once sent they must end and be saved, whatever else is torn down.
    let drained = composition.atproto.vault.drain(DRAIN).await;
    if drained.left > 0 || drained.unsaved > 0 {
        tracing::error!(left = drained.left, unsaved = drained.unsaved, "stopped with refreshes that were not saved");
    }
    drop(crew);
    composition.database.close().await;
    served.map_err(Failure::internal)?;
    Ok(ExitCode::SUCCESS)
}

async fn listen(settings: &Settings) -> Result<TcpListener, Failure> {
    TcpListener::bind(settings.listen).await.map_err(|error| {
        let hint = format!("is another server using {}? Choose another with --listen", settings.listen);
        Failure { code: USER, ..Failure::internal(error) }.with_hint(hint)
    })
}

fn server_parts(loaded: &Loaded, composition: &Composition) -> Result<ServerParts, Failure> {
    let settings = &loaded.settings;
    let secrets = config::cookie_secrets(&loaded.values, settings, composition.entropy.as_ref())?;
    let seals = SealRing::new(secrets).map_err(Failure::internal)?;
    let session_ttl = settings.session_ttl.min(composition.atproto.client.session_cap_seconds());
    let database = composition.database.clone();
    Ok(ServerParts {
        config: ServerConfig {
            base_url: settings.base_url.clone(),
            app_name: settings.app_name.clone(),
            session_ttl,
            cors_origins: settings.cors_origins.clone(),
            trusted_proxies: settings.trusted_proxies.clone(),
            expose_tokens: settings.expose_tokens == ExposeTokens::Debug,
            policy_uri: settings.policy_uri.clone(),
            tos_uri: settings.tos_uri.clone(),
            version: env!("CARGO_PKG_VERSION"),
        },
        atproto: composition.atproto.clone(),
        stores: composition.stores.clone(),
        seals,
        clock: Arc::clone(&composition.clock),
        entropy: Arc::clone(&composition.entropy),
        ready: Arc::new(move || {
            let database = database.clone();
            async move { database.ready().await.map_err(|error| error.to_string()) }.boxed()
        }),
        shared: composition.shared.clone(),
    })
}

/// Resolves at the first SIGINT or SIGTERM.
fn stop_signal() -> Result<impl Future<Output = ()>, Failure> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::internal)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::internal)?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Removes what has expired, for ever. The cost is that of what is due: both columns are indexed.
async fn purge(stores: Stores, device_log: Option<Arc<dyn DeviceChangeLog>>, clock: Arc<dyn Clock>) {
    let mut interval = tokio::time::interval(PURGE_INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let now = clock.now();
        if let Err(error) = stores.authorization_requests.purge(now).await {
            tracing::warn!(%error, "expired logins could not be removed");
        }
        if let Err(error) = stores.device_sessions.purge(now).await {
            tracing::warn!(%error, "expired device sessions could not be removed");
        }
        if let Some(log) = &device_log
            && let Err(error) = log.purge().await
        {
            tracing::warn!(%error, "old changes of device sessions could not be forgotten");
        }
    }
}
