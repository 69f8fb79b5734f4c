//! `GET /security`: the page of what happened.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bowerbird_core::ports::Clock;
use http::{HeaderMap, Uri};

use super::home::signed_out;
use super::security_events::{PAGE, before};
use crate::accounts::Accounts;
use crate::error::ApiError;
use crate::extract::{CredentialFault, Presented};
use crate::history::History;
use crate::pages::{self, SecurityPage};
use crate::site::Site;

/// What happened to this device's accounts
///
/// Sign-ins, sign-outs, and access that ended or came back.
#[utoipa::path(
    get, path = "/security", tag = "Browsers", operation_id = "securityPage",
    params(("before" = Option<String>, Query, description = "Where to go on")),
    responses((status = 200, description = "A page"), (status = 400, description = "`before` is none, or the session cookie was sent twice"))
)]
pub(crate) async fn get(
    State(site): State<Site>,
    State(accounts): State<Accounts>,
    State(history): State<History>,
    State(clock): State<Arc<dyn Clock>>,
    headers: HeaderMap,
    uri: Uri,
    presented: Result<Presented, CredentialFault>,
) -> Result<Response, ApiError> {
    let device = match presented {
        Ok(Presented(signed_in)) => signed_in.device,
        Err(fault) if fault.is_signed_out() => return Ok(signed_out(&site, &headers, Some("/security"))),
        Err(CredentialFault::Store(error)) => return Err(ApiError::from(error).negotiated("")),
        Err(fault) => return Ok(fault.into_response()),
    };
    let page = async {
        let here = accounts.all_on_device(&device).await?;
        let before = before(&uri)?;
        let history = history.of(&here, before, PAGE).await?;
        let is_first = before.is_none();
        let content = SecurityPage { history: &history, accounts: &here, now: clock.now(), is_first };
        Ok::<_, ApiError>(pages::security_page(&site, &content))
    };
    page.await.map_err(|error| error.with_action("/security", "Back to the latest events").negotiated(""))
}
