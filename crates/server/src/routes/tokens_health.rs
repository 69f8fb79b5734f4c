//! `GET /api/tokens/health`: how the tokens of an account stand (row E-015).

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use bowerbird_core::ports::{Clock, ConnectionStore, CredentialStore, StoreError};
use bowerbird_core::{Account, Connection, CredentialRecord, CredentialState, Platform, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use super::json_of;
use crate::error::ApiError;
use crate::extract::SelectedAccount;
use crate::overview::{AuthType, NOT_CONNECTED};
use crate::site::Site;

/// Reads how tokens stand, without opening them. Cheap to clone.
#[derive(Clone)]
pub(crate) struct TokenHealths {
    pub(crate) site: Site,
    pub(crate) connections: Arc<dyn ConnectionStore>,
    pub(crate) credentials: Arc<dyn CredentialStore>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// How the tokens of one platform stand.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TokenHealth {
    /// The platform.
    #[schema(example = "atproto")]
    platform: String,
    /// Whether the present access token can be used: it has not ended, and the person need not sign in again.
    is_valid: bool,
    /// Seconds until the present access token ends; 0 when it has.
    expires_in: i64,
    /// When the tokens were last renewed; left out as long as they are those of the sign-in.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    last_refreshed: Option<String>,
    /// Whether less than a fifth of the access token's life is left. The server renews it by itself.
    needs_refresh: bool,
    /// What is wrong, in a sentence; `No tokens found` when there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    /// How the account signed in; left out when there are no tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_type: Option<AuthType>,
    /// Where the person replaces an app password by OAuth.
    #[serde(skip_serializing_if = "Option::is_none")]
    upgrade_link: Option<String>,
    /// How the access stands.
    state: TokenState,
    /// Why it needs the person: a code.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// Where the person repairs exactly this account.
    #[serde(skip_serializing_if = "Option::is_none")]
    repair_link: Option<String>,
    /// When the server means to renew the tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    refreshes_at: Option<String>,
}

/// How an access stands.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TokenState {
    /// It is renewed when that is due.
    Ok,
    /// It is being renewed now.
    Refreshing,
    /// It was renewed and the answer is missing; the server tries again by itself.
    Unknown,
    /// Only the person can make it usable again.
    NeedsReauth,
    /// There are no tokens.
    NotConnected,
}

impl TokenHealths {
    /// How an account stands at each platform, oldest connection first; at least one entry.
    async fn of(&self, account: &Account) -> Result<Vec<TokenHealth>, StoreError> {
        let mut healths = Vec::new();
        for connection in self.connections.list(account.id).await? {
            healths.push(self.of_connection(account, &connection).await?);
        }
        if healths.is_empty() {
            healths.push(self.without_tokens(account, &Platform::atproto()));
        }
        Ok(healths)
    }

    async fn of_connection(&self, account: &Account, connection: &Connection) -> Result<TokenHealth, StoreError> {
        Ok(match self.credentials.find(connection.id).await? {
            Some(record) => self.of_record(account, &connection.platform, &record),
            None => self.without_tokens(account, &connection.platform),
        })
    }

    fn of_record(&self, account: &Account, platform: &Platform, record: &CredentialRecord) -> TokenHealth {
        let tokens = &record.tokens;
        let left = tokens.access_expires_at.millis_since(self.clock.now()).max(0);
        let life = tokens.access_expires_at.millis_since(tokens.issued_at);
        let (state, trouble) = match record.state {
            CredentialState::Ok => (TokenState::Ok, None),
            CredentialState::Refreshing { .. } => (TokenState::Refreshing, None),
            CredentialState::Unknown { .. } => (TokenState::Unknown, None),
            CredentialState::NeedsReauth(reason) => (TokenState::NeedsReauth, Some(reason)),
        };
        let auth_type = Some(AuthType::from(record.refresh_class));
        let renewed = record.generation != record.fields.granted_generation;
        TokenHealth {
            platform: platform.as_str().to_owned(),
            is_valid: left > 0 && trouble.is_none(),
            expires_in: left / 1000,
            last_refreshed: renewed.then(|| moment(tokens.issued_at)),
            needs_refresh: left.saturating_mul(5) < life,
            error: trouble.map(bowerbird_core::NeedsReauth::explanation),
            auth_type,
            upgrade_link: self.site.upgrade_url(account.id, auth_type),
            state,
            reason: trouble.map(bowerbird_core::NeedsReauth::code),
            repair_link: trouble.map(|_| self.site.repair_url(account.id)),
            // Whatever a row says: what needs the person is not renewed.
            refreshes_at: if trouble.is_none() { record.schedule.due_at.map(moment) } else { None },
        }
    }

    fn without_tokens(&self, account: &Account, platform: &Platform) -> TokenHealth {
        TokenHealth {
            platform: platform.as_str().to_owned(),
            is_valid: false,
            expires_in: 0,
            last_refreshed: None,
            needs_refresh: false,
            error: Some("No tokens found"),
            auth_type: None,
            upgrade_link: None,
            state: TokenState::NotConnected,
            reason: Some(NOT_CONNECTED.0),
            repair_link: Some(self.site.repair_url(account.id)),
            refreshes_at: None,
        }
    }
}

/// As RFC 3339, which JavaScript's `Date` reads.
fn moment(at: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(at.as_millis()).unwrap_or_default().to_string()
}

/// Tells how the tokens of an account stand
///
/// One entry for each platform. Nothing is renewed by asking.
#[utoipa::path(
    get, path = "/api/tokens/health", tag = "Apps", operation_id = "tokenHealth",
    security(("cookie" = []), ("bearer" = [])),
    params(("Bowerbird-Account" = Option<String>, Header, description = "The id or DID of another account of this device")),
    responses(
        (status = 200, description = "How they stand", body = Vec<TokenHealth>),
        (status = 401, description = "Nobody is signed in"),
        (status = 404, description = "The account is not on this device"),
    )
)]
pub(crate) async fn get(
    State(healths): State<TokenHealths>,
    SelectedAccount(account): SelectedAccount,
) -> Result<Response, ApiError> {
    Ok(json_of(&healths.of(&account).await?))
}
