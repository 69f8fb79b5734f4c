//! `bowerbird tokens health` and `bowerbird tokens refresh`

use std::process::ExitCode;
use std::time::Duration;

use bowerbird_core::ports::CredentialStore;
use bowerbird_core::{ConnectionId, CredentialState, Generation, NeedsReauth, Timestamp};
use bowerbird_storage_sql::{Attention, StateCounts};
use bowerbird_vault::{CheckoutError, Swept};
use serde_json::{Value, json};

use super::serve::stop_signal;
use super::{Failure, USER, accounts};
use crate::compose::{Composition, compose_to_refresh, open_database};
use crate::guards::Guards;
use crate::load::Loaded;
use crate::printer::Printer;

/// How many rows are read at a time.
const PAGE: u32 = 500;
/// The pause between looks at what is left.
const STEP: Duration = Duration::from_millis(250);
/// How long what is left may stand still before it is left to the server: an issuer that fails, or asked for a pause.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a stop waits for refreshes that are under way: one is at most 60 s long.
const DRAIN: Duration = Duration::from_secs(75);

/// Counts by state, and lists what needs somebody. Needs no key.
pub(crate) async fn health(loaded: &Loaded, printer: Printer) -> Result<ExitCode, Failure> {
    Guards::refuse_a_lost_database(&loaded.settings)?;
    let database = open_database(&loaded.settings).await?;
    let counts = database.count_by_state().await.map_err(Failure::internal)?;
    let unconfirmed_restore = database.epoch().await.map_err(Failure::internal)?.unconfirmed_restore;
    let mut rows = Vec::new();
    loop {
        let after = rows.last().map(|row: &Attention| row.connection);
        let page = database.needing_attention(after, PAGE).await.map_err(Failure::internal)?;
        let more = page.len() == PAGE as usize;
        rows.extend(page);
        if !more {
            break;
        }
    }
    database.close().await;
    let base = loaded.settings.base_url.as_str().trim_end_matches('/');
    if printer.is_json() {
        let rows: Vec<Value> = rows.iter().map(|row| attention_json(row, base)).collect();
        printer.value(&json!({
            "ok": counts.ok, "refreshing": counts.refreshing, "inDoubt": counts.unknown,
            "needsReauth": by_reason(&counts), "suspended": unconfirmed_restore.then_some("restored_backup"),
            "accounts": rows,
        }));
        return Ok(ExitCode::SUCCESS);
    }
    printer.line(&format!(
        "{} ok, {} being refreshed, {} in doubt, {} need a sign-in",
        counts.ok,
        counts.refreshing,
        counts.unknown,
        counts.needs_reauth.iter().map(|(_, count)| count).sum::<u64>()
    ));
    for (reason, count) in &counts.needs_reauth {
        printer.line(&format!("  {count} {}: {}", reason.code(), reason.explanation()));
    }
    if unconfirmed_restore {
        printer.line(
            "Nothing is refreshed: the database was restored, and `bowerbird restore --confirm` was not run yet.",
        );
    }
    if !rows.is_empty() {
        printer.line("");
        let row = |row: &Attention| vec![row.handle.clone(), told(&row.state), row.did.to_string(), repair(row, base)];
        printer.table(&["HANDLE", "STATE", "DID", "REPAIR"], &rows.iter().map(row).collect::<Vec<_>>());
    }
    Ok(ExitCode::SUCCESS)
}

fn by_reason(counts: &StateCounts) -> Value {
    counts.needs_reauth.iter().map(|(reason, count)| (reason.code().to_owned(), Value::from(*count))).collect()
}

fn attention_json(row: &Attention, base: &str) -> Value {
    let reason = reason(&row.state);
    json!({
        "id": row.account, "did": row.did, "handle": row.handle, "state": state_name(&row.state),
        "reason": reason.map(NeedsReauth::code), "message": reason.map(NeedsReauth::explanation),
        "repairUrl": reason.map(|_| repair(row, base)),
    })
}

const fn reason(state: &CredentialState) -> Option<NeedsReauth> {
    if let CredentialState::NeedsReauth(reason) = state { Some(*reason) } else { None }
}

const fn state_name(state: &CredentialState) -> &'static str {
    match state {
        CredentialState::Ok => "ok",
        CredentialState::Refreshing { .. } => "refreshing",
        CredentialState::Unknown { .. } => "in_doubt",
        CredentialState::NeedsReauth(_) => "needs_reauth",
    }
}

fn told(state: &CredentialState) -> String {
    match reason(state) {
        Some(reason) => format!("needs sign-in ({})", reason.code()),
        None => "refresh in doubt".to_owned(),
    }
}

/// The link under which the person signs in again. An access in doubt needs none: it is tried again by itself.
fn repair(row: &Attention, base: &str) -> String {
    reason(&row.state).map_or_else(|| "-".to_owned(), |_| format!("{base}/login/repair/{}", row.account))
}

/// Renews one account's access, or everything that is due. A server may run beside it: the lease in each row lets one of
/// them send.
pub(crate) async fn refresh(loaded: &Loaded, account: Option<&str>, printer: Printer) -> Result<ExitCode, Failure> {
    let composition = compose_to_refresh(loaded).await?;
    let vault = composition.atproto.vault.clone();
    composition.guards.examine(&vault).await?;
    if let Some(suspension) = vault.suspension() {
        composition.database.close().await;
        return Err(Failure { code: USER, ..Failure::user(suspension.explanation()) }
            .with_hint("nothing was sent; `bowerbird tokens health` and the server's log say more"));
    }
    let stop = stop_signal()?;
    let work = async {
        match account {
            Some(named) => one(&composition, named, printer).await,
            None => all_due(&composition, printer).await,
        }
    };
    let ended = tokio::select! {
        ended = work => ended,
        () = stop => Err(Failure::user("stopped; what was under way was completed, the rest is as it was")),
    };
    let drained = vault.drain(DRAIN).await;
    composition.database.close().await;
    if drained.left > 0 {
        let problem = format!("{} refreshes did not end; their accesses may be in doubt", drained.left);
        return Err(Failure::internal(problem).with_hint("`bowerbird tokens health` lists them"));
    }
    ended
}

/// How a renewal ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Renewal {
    Renewed,
    Needs(NeedsReauth),
    Later,
}

async fn one(composition: &Composition, named: &str, printer: Printer) -> Result<ExitCode, Failure> {
    let account = accounts::find(&composition.stores, named).await?;
    let connections = composition.stores.connections.list(account.id).await.map_err(Failure::internal)?;
    let mut ends = Vec::new();
    for connection in connections {
        let standing = composition.atproto.vault.standing(connection.id).await.map_err(Failure::internal)?;
        let Some(standing) = standing else { continue };
        ends.push(match composition.atproto.vault.checkout_newer(connection.id, standing.generation).await {
            Ok(_) => Renewal::Renewed,
            Err(CheckoutError::NeedsReauth(reason)) => Renewal::Needs(reason),
            Err(CheckoutError::NotFound) => continue,
            Err(CheckoutError::TryLater { source, .. }) => {
                tracing::info!(error = &*source as &dyn std::error::Error, "not now");
                Renewal::Later
            }
            Err(error @ CheckoutError::Store(_)) => return Err(Failure::internal(error)),
        });
    }
    show_one(&account.handle, &ends, printer)
}

fn show_one(handle: &str, ends: &[Renewal], printer: Printer) -> Result<ExitCode, Failure> {
    if ends.is_empty() {
        return Err(Failure::user(format!("{handle} is signed out: there is no access to renew")));
    }
    if let Some(Renewal::Needs(reason)) = ends.iter().find(|end| matches!(end, Renewal::Needs(_))) {
        return Err(Failure::user(format!("{handle} must sign in again: {}", reason.explanation()))
            .with_hint("`bowerbird tokens health` shows the link for it"));
    }
    if ends.contains(&Renewal::Later) {
        return Err(Failure::user(format!("the access of {handle} cannot be renewed right now"))
            .with_hint("nothing is lost; try again in a minute, or leave it to the server"));
    }
    if printer.is_json() {
        printer.value(&json!({"account": handle, "renewed": ends.len()}));
    } else {
        printer.line(&format!("Renewed the access of {handle}."));
    }
    Ok(ExitCode::SUCCESS)
}

/// What was due, and what became of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    renewed: u64,
    needs_reauth: u64,
    /// Somebody else is at it.
    under_way: u64,
    left: u64,
}

async fn all_due(composition: &Composition, printer: Printer) -> Result<ExitCode, Failure> {
    let (store, clock, vault) = (&composition.stores.credentials, &composition.clock, &composition.atproto.vault);
    let begun = clock.now();
    let due = everything_due(store.as_ref(), begun).await?;
    let total = due.len() as u64;
    let mut moved = clock.monotonic();
    // What comes due meanwhile is the server's: a row that was tried is due later than `begun`, whatever came of it.
    while !store.due(begun, None, 1).await.map_err(Failure::internal)?.is_empty() || vault.health().in_flight > 0 {
        // The sweep keeps to the limits of each issuer and passes over those that asked for a pause.
        let Swept { started, passed_over } = vault.sweep_once().await.map_err(Failure::internal)?;
        let in_flight = vault.health().in_flight;
        printer.progress("due", total.saturating_sub(passed_over.max(in_flight) as u64), total);
        if started > 0 || in_flight > 0 {
            moved = clock.monotonic();
        } else if clock.monotonic().saturating_sub(moved) > PATIENCE {
            break;
        }
        tokio::time::sleep(STEP).await;
    }
    let mut tally = count(store.as_ref(), &due).await?;
    while tally.under_way > 0 && clock.monotonic().saturating_sub(moved) <= PATIENCE {
        tokio::time::sleep(STEP).await;
        tally = count(store.as_ref(), &due).await?;
    }
    let left = tally.left + tally.under_way;
    if printer.is_json() {
        let Tally { renewed, needs_reauth, .. } = tally;
        printer.value(&json!({"due": total, "renewed": renewed, "needsReauth": needs_reauth, "left": left}));
    } else {
        printer.line(&format!(
            "{total} were due: {} renewed, {} need a sign-in, {left} left for later.",
            tally.renewed, tally.needs_reauth
        ));
    }
    Ok(if left == 0 { ExitCode::SUCCESS } else { ExitCode::from(USER) })
}

async fn everything_due(
    store: &dyn CredentialStore,
    now: Timestamp,
) -> Result<Vec<(ConnectionId, Generation)>, Failure> {
    let mut due = Vec::new();
    let mut place = None;
    loop {
        let page = store.due(now, place, PAGE).await.map_err(Failure::internal)?;
        place = page.last().map(|row| (row.due_at, row.connection));
        due.extend(page.iter().map(|row| (row.connection, row.generation)));
        if page.len() < PAGE as usize {
            return Ok(due);
        }
    }
}

/// Read back from the rows: another process may have renewed some of them meanwhile, which is as good.
async fn count(store: &dyn CredentialStore, due: &[(ConnectionId, Generation)]) -> Result<Tally, Failure> {
    let mut tally = Tally::default();
    for (connection, before) in due {
        match store.find(*connection).await.map_err(Failure::internal)? {
            Some(row) if matches!(row.state, CredentialState::NeedsReauth(_)) => tally.needs_reauth += 1,
            Some(row) if row.generation > *before => tally.renewed += 1,
            Some(row) if matches!(row.state, CredentialState::Refreshing { .. }) => tally.under_way += 1,
            Some(_) => tally.left += 1,
            // Signed out meanwhile.
            None => {}
        }
    }
    Ok(tally)
}
