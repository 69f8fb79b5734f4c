//! Row 78 of the attack catalogue: text from elsewhere adds nothing to a page.

use bowerbird_core::testing::SeededEntropy;
use bowerbird_core::{AccountId, Timestamp};
use http_body_util::BodyExt as _;

use super::*;
use crate::overview::{AccountStatus, ListedAccount};
use crate::site::tests::site;

const XSS: &[&str] = &[
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\"><svg onload=alert(1)>",
    "'><script>alert(1)</script>",
    "</title><script>alert(1)</script>",
    "</textarea><script>alert(1)</script>",
    "<iframe src=javascript:alert(1)>",
    "javascript:alert(1)",
    "\" autofocus onfocus=alert(1) x=\"",
    "' onmouseover='alert(1)",
    "<a href=javascript:alert(1)>x</a>",
    "<math><mi//xlink:href=\"data:x,<script>alert(1)</script>\">",
    "<style>@import 'https://evil.example'</style>",
    "<base href=https://evil.example/>",
    "<meta http-equiv=refresh content=0;url=https://evil.example>",
    "<form action=https://evil.example>",
    "{{7*7}}",
    "{% raw %}",
    "${7*7}",
    "<!--",
    "-->",
    "<![CDATA[",
    "&lt;script&gt;",
    "&#60;script&#62;",
    "\u{202e}evil",
    "\u{2066}evil\u{2069}",
    "\u{200b}zero",
    "\u{feff}bom",
    "a\r\nb",
    "a\0b",
    "\u{1b}[31mred",
    "<scr\0ipt>",
    "＜script＞",
    "<ScRiPt>alert(1)</sCrIpT>",
    "<svg><script>alert(1)</script></svg>",
    "<details open ontoggle=alert(1)>",
    "<input autofocus onfocus=alert(1)>",
    "<body onload=alert(1)>",
    "<object data=javascript:alert(1)>",
    "<embed src=javascript:alert(1)>",
    "<link rel=stylesheet href=//evil.example>",
    "`onerror=alert(1)",
    "<img src=`x`onerror=alert(1)>",
    "\\\"><script>",
    "%3Cscript%3E",
    "<x onclick=alert(1)>",
    "<b>",
    "</bdi><script>",
    "</span></div></section>",
    "<marquee onstart=alert(1)>",
    "<video src=x onerror=alert(1)>",
    "<audio src=x onerror=alert(1)>",
    "<template><script>",
    "<noscript><p title=\"</noscript><img src=x onerror=alert(1)>\">",
    "<plaintext>",
    "<xmp>",
    "<listing>",
    "<isindex action=javascript:alert(1)>",
    "<table background=javascript:alert(1)>",
    "<div style=\"background:url(//evil.example)\">",
];

/// The start tags of a page, by name. Our own templates write them in lower case.
fn tags(page: &str) -> Vec<String> {
    page.split('<')
        .skip(1)
        .filter(|rest| rest.starts_with(|c: char| c.is_ascii_alphabetic()))
        .map(|rest| rest.chars().take_while(char::is_ascii_alphanumeric).collect())
        .collect()
}

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
        scope: Some(text.to_owned()),
        pds: text.to_owned(),
        added_at: Timestamp::EPOCH,
        last_login_at: Timestamp::EPOCH,
    }
}

async fn home(text: &str) -> String {
    let site = site("https://bower.example");
    let accounts = [account(1, text), account(2, text)];
    let content = HomePage { accounts: &accounts, csrf: "token", expires_at: Timestamp::EPOCH, renews: true };
    let body = home_page(&site, &content).unwrap().into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

#[tokio::test]
async fn row_78_text_from_elsewhere_adds_no_element() {
    assert!(XSS.len() >= 60, "{}", XSS.len());
    let plain = home("alice.test").await;
    for text in XSS {
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
    for text in XSS {
        assert_eq!(tags(&page(text)), tags(&page("alice.test")), "{text:?}");
    }
}
