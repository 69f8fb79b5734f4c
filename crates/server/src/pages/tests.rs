//! Row 78 of the attack catalogue: text from elsewhere adds nothing to a page.

use bowerbird_core::testing::SeededEntropy;
use bowerbird_core::{AccountId, Timestamp};
use bowerbird_testkit::injections::{SCRIPTS, tags};
use http_body_util::BodyExt as _;

use super::*;
use crate::error::RetryAppPassword;
use crate::overview::{AccountStatus, AuthType, ListedAccount};
use crate::site::tests::site;

fn account(id: u64, text: &str) -> ListedAccount {
    ListedAccount {
        id: AccountId::random(&SeededEntropy::new(id)),
        did: text.to_owned(),
        handle: text.to_owned(),
        display_name: Some(text.to_owned()),
        avatar: None,
        active: id == 1,
        status: AccountStatus::Ok,
        reason: None,
        explanation: None,
        repair_url: None,
        auth_type: Some(AuthType::AppPassword),
        upgrade_url: Some(text.to_owned()),
        scope: Some(text.to_owned()),
        pds: text.to_owned(),
        added_at: Timestamp::EPOCH,
        last_login_at: Timestamp::EPOCH,
    }
}

async fn home(text: &str) -> String {
    let site = site("https://bower.example");
    let accounts = [account(1, text), account(2, text)];
    let content = AccountsPage {
        accounts: &accounts,
        csrf: "token",
        now: Timestamp::EPOCH,
        expires_at: Timestamp::EPOCH,
        renews: true,
    };
    let body = accounts_page(&site, &content).unwrap().into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

#[tokio::test]
async fn row_78_text_from_elsewhere_adds_no_element() {
    assert!(SCRIPTS.len() >= 60, "{}", SCRIPTS.len());
    let plain = home("alice.test").await;
    for text in SCRIPTS {
        let page = home(text).await;
        assert_eq!(tags(&page), tags(&plain), "{text:?} changed the page:\n{page}");
        assert!(
            !page.chars().any(|c| matches!(c, '\u{202e}' | '\u{2066}' | '\u{200b}' | '\u{feff}' | '\0' | '\u{1b}')),
            "{page}"
        );
    }
}

#[tokio::test]
async fn an_error_page_adds_no_element_either() {
    let site = site("https://bower.example");
    let page = |text: &str| {
        let error = ApiError::bad_request("invalid_handle", text).with_retry(text, Some(text)).negotiated("");
        error_page(&site, &error, "request")
    };
    let with_password = |text: &str| {
        let again = RetryAppPassword { csrf: Some(text.to_owned()), wants_code: true };
        let error = ApiError::bad_request("app_password_invalid", text).with_retry(text, Some(text));
        error_page(&site, &error.with_retry_app_password(again).negotiated(""), "request")
    };
    for text in SCRIPTS {
        assert_eq!(tags(&page(text)), tags(&page("alice.test")), "{text:?}");
        assert_eq!(tags(&with_password(text)), tags(&with_password("alice.test")), "{text:?}");
    }
    assert_ne!(tags(&with_password("alice.test")), tags(&page("alice.test")));
}
