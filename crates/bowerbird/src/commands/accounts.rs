//! `bowerbird accounts list` and `bowerbird accounts remove`

use std::process::ExitCode;

use bowerbird_core::ports::Stores;
use bowerbird_core::{Account, AccountId, CredentialState, Did, Platform, RefreshClass, Timestamp};
use bowerbird_vault::Standing;
use serde_json::{Value, json};

use super::Failure;
use crate::compose::{Composition, compose};
use crate::load::Loaded;
use crate::printer::Printer;

/// How many accounts are read at a time.
const PAGE: u32 = 500;

/// Lists the accounts.
pub(crate) async fn list(loaded: &Loaded, printer: Printer) -> Result<ExitCode, Failure> {
    let composition = compose(loaded).await?;
    let mut listed: Vec<Value> = Vec::new();
    let mut rows = Vec::new();
    let mut after = None;
    loop {
        let page = composition.stores.accounts.list(after, PAGE).await.map_err(Failure::internal)?;
        after = page.last().map(|account| account.id);
        for account in &page {
            let standing = standing(&composition, account).await?;
            let status = status(standing.as_ref());
            let last_login = date(account.last_login_at);
            if printer.is_json() {
                listed.push(json!({
                    "id": account.id, "did": account.did, "handle": account.handle, "pds": account.pds,
                    "displayName": account.profile.display_name, "status": status, "lastLogin": last_login,
                    "authType": standing.map(|standing| auth_type(standing.class)),
                }));
            } else {
                let id = account.id.to_string();
                rows.push(vec![account.handle.clone(), status, last_login, account.did.to_string(), id]);
            }
        }
        if page.len() < PAGE as usize {
            break;
        }
    }
    if printer.is_json() {
        printer.value(&json!({"accounts": listed}));
    } else if rows.is_empty() {
        printer.line("No account has signed in yet.");
    } else {
        printer.table(&["HANDLE", "STATUS", "LAST LOGIN", "DID", "ID"], &rows);
    }
    composition.database.close().await;
    Ok(ExitCode::SUCCESS)
}

/// Removes an account.
pub(crate) async fn remove(loaded: &Loaded, named: &str, printer: Printer) -> Result<ExitCode, Failure> {
    let composition = compose(loaded).await?;
    let account = find(&composition.stores, named).await?;
    composition.atproto.logins.release_and_wait(&account).await.map_err(Failure::internal)?;
    let _there = composition.stores.accounts.remove(account.id).await.map_err(Failure::internal)?;
    composition.database.close().await;
    if printer.is_json() {
        printer.value(&json!({"removed": {"id": account.id, "did": account.did, "handle": account.handle}}));
    } else {
        printer.line(&format!("Removed {} ({}).", account.handle, account.did));
    }
    Ok(ExitCode::SUCCESS)
}

async fn standing(composition: &Composition, account: &Account) -> Result<Option<Standing>, Failure> {
    let connections = &composition.stores.connections;
    let connection = connections.find(account.id, &Platform::atproto(), account.did.as_str()).await;
    let Some(connection) = connection.map_err(Failure::internal)? else { return Ok(None) };
    composition.atproto.vault.standing(connection.id).await.map_err(Failure::internal)
}

fn status(standing: Option<&Standing>) -> String {
    match standing.map(|standing| &standing.state) {
        None => "signed out".to_owned(),
        Some(CredentialState::NeedsReauth(reason)) => format!("needs sign-in ({})", reason.code()),
        Some(CredentialState::Unknown { .. }) => "refresh in doubt".to_owned(),
        Some(CredentialState::Ok | CredentialState::Refreshing { .. }) => "ok".to_owned(),
    }
}

/// As `GET /api/accounts` says it.
fn auth_type(class: RefreshClass) -> &'static str {
    match class {
        RefreshClass::SingleUse => "oauth",
        RefreshClass::Graceful => "app_password",
    }
}

/// Finds by id, DID or handle. Handles can move between people, so an ambiguous one is refused.
pub(crate) async fn find(stores: &Stores, named: &str) -> Result<Account, Failure> {
    let missing =
        || Failure::user(format!("no account is named {named}")).with_hint("`bowerbird accounts list` shows all");
    if let Ok(id) = AccountId::parse(named) {
        return stores.accounts.find(id).await.map_err(Failure::internal)?.ok_or_else(missing);
    }
    if let Ok(did) = Did::parse(named) {
        return stores.accounts.find_by_did(&did).await.map_err(Failure::internal)?.ok_or_else(missing);
    }
    let wanted = named.trim_start_matches('@').to_ascii_lowercase();
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let page = stores.accounts.list(after, PAGE).await.map_err(Failure::internal)?;
        after = page.last().map(|account| account.id);
        let full = page.len() == PAGE as usize;
        found.extend(page.into_iter().filter(|account| account.handle == wanted));
        if !full {
            break;
        }
    }
    match (found.pop(), found.is_empty()) {
        (Some(account), true) => Ok(account),
        (Some(_), false) => {
            Err(Failure::user(format!("several accounts have the handle {named}")).with_hint("name it by DID or id"))
        }
        (None, _) => Err(missing()),
    }
}

fn date(at: Timestamp) -> String {
    jiff::Timestamp::from_second(at.as_seconds()).map_or_else(|_| "-".to_owned(), |at| at.to_string())
}
