//! The page of the operator's listener: whether the server is ready, and what it warns of. It loads nothing, so that it is
//! whole behind any proxy.

use std::sync::LazyLock;

use askama::Template;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bowerbird_core::Timestamp;
use bowerbird_core::ports::OlderContractUse;
use http::HeaderValue;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use sha2::{Digest as _, Sha256};

use super::{CSS, Moment};
use crate::error::ApiError;
use crate::older_contract::OLDER_CONTRACT_HINT;

/// What the page shows.
pub(crate) struct OperatorPage<'a> {
    pub(crate) app_name: &'a str,
    /// Why it is not ready.
    pub(crate) not_ready: Option<&'a str>,
    /// None when the database does not answer.
    pub(crate) older_contract: Option<&'a [OlderContractUse]>,
    pub(crate) now: Timestamp,
}

#[derive(Template)]
#[template(path = "operator.html")]
struct Operator<'a> {
    app_name: &'a str,
    css: &'static str,
    not_ready: Option<&'a str>,
    has_warnings: bool,
    older_contract: Option<Vec<ShownUse<'a>>>,
    hint: &'static str,
}

struct ShownUse<'a> {
    address: &'a str,
    times: u64,
    first: Moment,
    last: Moment,
}

impl<'a> ShownUse<'a> {
    fn of(one: &'a OlderContractUse, now: Timestamp) -> Self {
        let (first, last) = (Moment::of(one.first_at, now), Moment::of(one.last_at, now));
        Self { address: &one.address, times: one.times, first, last }
    }
}

/// The page.
pub(crate) fn operator_page(content: &OperatorPage<'_>) -> Response {
    let template = Operator {
        app_name: content.app_name,
        css: CSS,
        not_ready: content.not_ready,
        has_warnings: content.older_contract.is_none_or(|uses| !uses.is_empty()),
        older_contract: content
            .older_contract
            .map(|uses| uses.iter().map(|one| ShownUse::of(one, content.now)).collect()),
        hint: OLDER_CONTRACT_HINT,
    };
    let mut response = match template.render() {
        Ok(html) => html.into_response(),
        Err(error) => return ApiError::internal(error).into_response(),
    };
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy());
    response
}

/// Our own style sheet, which is in the page, and nothing else.
fn policy() -> HeaderValue {
    static POLICY: LazyLock<Option<HeaderValue>> = LazyLock::new(|| {
        let hash = STANDARD.encode(Sha256::digest(CSS));
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{hash}'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
        );
        HeaderValue::from_str(&policy).ok()
    });
    POLICY.clone().unwrap_or(HeaderValue::from_static("default-src 'none'"))
}
