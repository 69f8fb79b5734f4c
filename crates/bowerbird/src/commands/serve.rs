//! `bowerbird serve`

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bowerbird_core::ports::{Clock, DeviceChangeLog, Stores};
use bowerbird_server::{AdminParts, Crew, ReadyCheck, ServeLimits, ServerConfig, ServerParts};
use bowerbird_storage_sql::SqlStores;
use bowerbird_vault::{SealRing, Suspension, Vault};
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
use crate::traces;

/// How often expired logins and device sessions are removed, and changes that no copy is older than.
const PURGE_INTERVAL: Duration = Duration::from_mins(1);
/// How long people can look up what happened to their accounts: 90 days.
const SECURITY_EVENT_LIFE_SECONDS: i64 = 90 * 86_400;
/// How long a stop waits for refreshes that are under way: one is at most 60 s long.
const DRAIN: Duration = Duration::from_secs(75);
/// Connections to the operator's listener at once.
const ADMIN_CONNECTIONS: usize = 64;
/// How long a stop waits until what refreshes brought up is told.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Runs the server until it is told to stop.
pub(crate) async fn run(loaded: Loaded, printer: Printer) -> Result<ExitCode, Failure> {
    let (layer, spans) = traces::prepare(&loaded)?.unzip();
    logging::install(&loaded.settings, layer)?;
    let unset = config::not_shared(&loaded.values, &loaded.settings);
    if !unset.is_empty() {
        let unset = unset.join(", ");
        tracing::warn!(unset, "every instance on this PostgreSQL needs the same of these, and they are not set");
    }
    let composition = compose_to_refresh(&loaded).await?;
    composition.guards.examine(&composition.atproto.vault).await?;
    let listener = listen(&loaded.settings).await?;
    let address = listener.local_addr().map_err(Failure::internal)?;
    let admin = match loaded.settings.admin_listen {
        Some(address) => {
            Some((listen_at(address, "BOWERBIRD_ADMIN_LISTEN").await?, admin_parts(&loaded, &composition)?))
        }
        None => None,
    };
    let parts = server_parts(&loaded, &composition)?;
    let router = bowerbird_server::router(parts);
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let crew = Crew::start(threads).map_err(Failure::internal)?;
    let vault = composition.atproto.vault.clone();
    let telling = tokio::spawn(composition.teller.run(vault.clone()));
    let sending_spans = spans.map(|spans| spans.start(composition.events.metrics()));
    let background = [
        tokio::spawn(suspend_when_damaged(composition.database.clone(), vault.clone())),
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

    let stop = stop_signal()?.shared();
    let streams = composition.events.streams().clone();
    // Streams never end by themselves, and an orderly stop waits for answers that are under way.
    let stop_public = stop.clone().map(move |()| streams.close());
    let serving = bowerbird_server::serve(&crew, listener, router, ServeLimits::default(), stop_public);
    let (served, ()) = tokio::join!(serving, serve_admin(&crew, admin, stop));
    background.iter().for_each(tokio::task::JoinHandle::abort);
    // Refreshes first: once sent they must end and be saved, whatever else is torn down.
    let drained = composition.atproto.vault.drain(DRAIN).await;
    if drained.left > 0 || drained.unsaved > 0 {
        tracing::error!(left = drained.left, unsaved = drained.unsaved, "stopped with refreshes that were not saved");
    }
    composition.events.settle(LAST_WORDS).await;
    telling.abort();
    drop(crew);
    if let Some(sending) = sending_spans {
        sending.stop(LAST_WORDS).await;
    }
    composition.database.close().await;
    served.map_err(Failure::internal)?;
    Ok(ExitCode::SUCCESS)
}

async fn listen(settings: &Settings) -> Result<TcpListener, Failure> {
    listen_at(settings.listen, "--listen").await
}

async fn listen_at(address: SocketAddr, setting: &str) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        let hint = format!("is another server using {address}? Choose another with {setting}");
        Failure { code: USER, ..Failure::internal(error) }.with_hint(hint)
    })
}

/// The operator's listener, if there is one. Its troubles end nothing else.
async fn serve_admin(crew: &Crew, admin: Option<(TcpListener, AdminParts)>, stop: impl Future<Output = ()>) {
    let Some((listener, parts)) = admin else { return };
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "the operator's listener is open");
    }
    let limits = ServeLimits { connections: ADMIN_CONNECTIONS, ..ServeLimits::default() };
    if let Err(error) =
        bowerbird_server::serve(crew, listener, bowerbird_server::admin_router(parts), limits, stop).await
    {
        tracing::error!(%error, "the operator's listener failed");
    }
}

fn admin_parts(loaded: &Loaded, composition: &Composition) -> Result<AdminParts, Failure> {
    Ok(AdminParts {
        events: composition.events.clone(),
        vault: composition.atproto.vault.clone(),
        ready: ready_check(composition),
        token: config::admin_token(&loaded.values)?,
        app_name: loaded.settings.app_name.clone(),
        older_contract: Arc::clone(&composition.stores.older_contract),
        clock: Arc::clone(&composition.clock),
    })
}

/// Whether the database could take a write now.
fn ready_check(composition: &Composition) -> ReadyCheck {
    let (database, vault) = (composition.database.clone(), composition.atproto.vault.clone());
    Arc::new(move || {
        let (database, vault) = (database.clone(), vault.clone());
        async move {
            // Answers that only this process holds: it must not be given work, and not be killed.
            if !vault.health().is_ready() {
                return Err("renewed tokens are not stored yet, or the server is stopping".to_owned());
            }
            database.ready().await.map_err(|error| error.to_string())
        }
        .boxed()
    })
}

fn server_parts(loaded: &Loaded, composition: &Composition) -> Result<ServerParts, Failure> {
    let settings = &loaded.settings;
    let secrets = config::cookie_secrets(&loaded.values, settings, composition.entropy.as_ref())?;
    let seals = SealRing::new(secrets).map_err(Failure::internal)?;
    let session_ttl = settings.session_ttl.min(composition.atproto.client.session_cap_seconds());
    Ok(ServerParts {
        config: ServerConfig {
            base_url: settings.base_url.clone(),
            app_name: settings.app_name.clone(),
            session_ttl,
            cors_origins: settings.cors_origins.clone(),
            trusted_proxies: settings.trusted_proxies.clone(),
            expose_tokens: settings.expose_tokens == ExposeTokens::Debug,
            app_passwords: settings.app_passwords,
            mobile: settings.mobile.clone(),
            policy_uri: settings.policy_uri.clone(),
            tos_uri: settings.tos_uri.clone(),
            version: env!("CARGO_PKG_VERSION"),
        },
        atproto: composition.atproto.clone(),
        stores: composition.stores.clone(),
        seals,
        clock: Arc::clone(&composition.clock),
        entropy: Arc::clone(&composition.entropy),
        ready: ready_check(composition),
        shared: composition.shared.clone(),
        events: composition.events.streams().clone(),
        metrics: Some(composition.events.metrics().clone()),
    })
}

/// Resolves at the first SIGINT or SIGTERM.
pub(crate) fn stop_signal() -> Result<impl Future<Output = ()>, Failure> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::internal)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::internal)?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// A damaged database is only read from then on, so that no intent and no answer could be stored: no refresh token is sent
/// any more. Access tokens that can still be read are given out.
async fn suspend_when_damaged(database: SqlStores, vault: Vault) {
    database.until_damaged().await;
    vault.suspend(Suspension::DamagedDatabase);
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
        if let Err(error) = stores.handoffs.purge(now).await {
            tracing::warn!(%error, "expired codes of apps could not be removed");
        }
        if let Err(error) = stores.device_sessions.purge(now).await {
            tracing::warn!(%error, "expired device sessions could not be removed");
        }
        if let Err(error) = stores.security_events.purge(now.plus_seconds(-SECURITY_EVENT_LIFE_SECONDS)).await {
            tracing::warn!(%error, "old security events could not be removed");
        }
        if let Some(log) = &device_log
            && let Err(error) = log.purge().await
        {
            tracing::warn!(%error, "old changes of device sessions could not be forgotten");
        }
    }
}
