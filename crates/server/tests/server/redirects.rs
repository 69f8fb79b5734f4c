//! Row 13: where a login may return to.

use bowerbird_testkit::http_client::TestRequest;
use url::Url;

use crate::support::{House, Plan};

/// What people have tried elsewhere, with the host left open.
const SHAPES: &[&str] = &[
    "//H",
    "///H",
    "////H",
    "/\\H",
    "\\\\H",
    "\\/H",
    "/\\/H",
    "//\\H",
    "/%2fH",
    "/%2F%2fH",
    "%2f%2fH",
    "%2F%2FH",
    "/%5cH",
    "/%5CH",
    "%5c%5cH",
    "/%09/H",
    "/%0a/H",
    "/%0d/H",
    "/%00/H",
    "https:H",
    "https:/H",
    "https://H",
    "https:///H",
    "https:\\\\H",
    "http://H",
    "HTTPS://H",
    "hTtPs:H",
    "ftp://H",
    "javascript:alert(1)//H",
    "JaVaScRiPt:alert(1)",
    "javascript://H/%0aalert(1)",
    "data:text/html,H",
    "vbscript:H",
    "file:///H",
    "blob:https://H",
    "intent://H",
    "mailto:x@H",
    "//H/..",
    "//H/%2e%2e",
    "//H?",
    "//H#",
    "//H:443",
    "//user@H",
    "//user:pw@H",
    "//127.0.0.1@H",
    "/@H/..//H",
    "/.//H",
    "/..//H",
    "/./\\H",
    "/a/..//H",
    "/a/../\\H",
    "/a/%2e%2e//H",
    "/%2e//H",
    "/%2e%2e//H",
    "/;//H/../../..//H",
    "\t//H",
    "/\t/H",
    "/\t\\H",
    "\n//H",
    "/\n/H",
    "/\r/H",
    "\r\n//H",
    " //H",
    "/ /H",
    "\u{b}//H",
    "\u{c}//H",
    "\0//H",
    "/\0/H",
    "\u{85}//H",
    "\u{a0}//H",
    "\u{2028}//H",
    "\u{feff}//H",
    "\u{200b}//H",
    "／／H",
    "/／H",
    "⁄⁄H",
    "∕∕H",
    "＼＼H",
    "//H\u{ff0e}",
    "//ｅvil.example",
    "//%65vil.example",
    "//evil%E3%80%82example",
    "//evil。example",
    "//H%00",
    "//H%20",
    "//H\t",
    "H",
    "H/path",
    "www.H",
    ".H",
    "@H",
    ":H",
    "?//H",
    "#//H",
    "?next=//H",
    "*//H",
    "~//H",
    "-//H",
    "x//H",
    "x:H",
    "/x\r\nLocation: https://H",
    "/x%0d%0aLocation:%20https://H",
    "/x\r\nSet-Cookie: sid=x",
    "//[::1]",
    "//0x7f.1",
    "//2130706433",
    "//localhost",
    "//%5b::1%5d",
    "https://BASE@H",
    "https://BASE.H",
    "https://H/BASE",
    "//BASE@H",
    "//BASE.H",
];

#[tokio::test]
async fn row_13_no_login_returns_to_another_origin() {
    assert!(SHAPES.len() >= 100, "{}", SHAPES.len());
    let house = House::build(Plan { trusted_proxies: vec!["127.0.0.1".to_owned()], ..Plan::default() }).await;
    house.network.add_account("alice.test");
    let base = Url::parse(&house.base_url).unwrap();
    let host = house.base_url.trim_start_matches("http://").to_owned();
    for shape in SHAPES {
        let payload = shape.replace('H', "evil.example").replace("BASE", &host);
        let landed = landing(&house, &payload).await;
        let target = base.join(&landed).unwrap();
        assert_eq!(target.origin(), base.origin(), "{payload:?} landed at {landed:?}");
        assert!(landed.starts_with('/') && !landed.starts_with("//"), "{payload:?} landed at {landed:?}");
        assert!(!landed.bytes().any(|b| b < 0x21 || b == b'\\'), "{payload:?} landed at {landed:?}");
    }
}

/// Goes through a login and gives the `Location` of its end.
async fn landing(house: &House, payload: &str) -> String {
    let mut visitor = house.visitor();
    let query: String = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("handle", "alice.test")
        .append_pair("redirect", payload)
        .finish();
    // One address for each payload, as a trusted proxy would name it: the limit on logins is another test's matter.
    let address =
        format!("2001:db8:{:x}::1", payload.bytes().fold(7u16, |sum, b| sum.wrapping_mul(31).wrapping_add(b.into())));
    let request = TestRequest::get(&house.url(&format!("/login?{query}"))).header("x-forwarded-for", &address);
    let begun = visitor.send(request).await;
    assert_eq!(begun.status, 302, "{payload:?}: {}", begun.text());
    let callback = visitor.authorize(begun.location()).await;
    let answer = visitor.finish_login(&callback).await.expect_status(303);
    assert_eq!(answer.header_all("location").len(), 1);
    assert!(answer.header_all("set-cookie").iter().all(|cookie| !cookie.contains("sid=x")));
    answer.location().to_owned()
}
