//! The cookies: the seal of a device session, the binding of a login under way, and the end of one in a window (DECISIONS 6,
//! RFC 6265).

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

use crate::site::Site;

/// How long a login may take, in seconds; the life of the login cookie.
pub(crate) const LOGIN_SECONDS: i64 = 600;

/// The name under which a client holds its seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionCookieName {
    /// `__Host-sid`: browsers on https. No other host, not even a sub-domain, can set it.
    Host,
    /// `sid`: loopback, and apps that build the cookie themselves.
    Plain,
}

impl SessionCookieName {
    /// The name that a new web login gets.
    pub(crate) fn of(site: &Site) -> Self {
        if site.https { Self::Host } else { Self::Plain }
    }

    /// The text.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Host => "__Host-sid",
            Self::Plain => "sid",
        }
    }
}

/// The name of the login cookie.
pub(crate) fn login_cookie_name(site: &Site) -> &'static str {
    if site.https { "__Host-login" } else { "login" }
}

/// One name was sent twice: somebody else planted one of them, and nobody can tell which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cookie `{0}` was sent more than once; delete this site's cookies and sign in again")]
pub(crate) struct DuplicateCookie(pub(crate) &'static str);

/// The seal that a client sent as a cookie. `__Host-sid` wins over `sid`.
pub(crate) fn session_cookie<'a>(
    headers: &'a HeaderMap,
    site: &Site,
) -> Result<Option<(SessionCookieName, &'a [u8])>, DuplicateCookie> {
    let mut host = None;
    let mut plain = None;
    for (name, value) in pairs(headers) {
        let (slot, known) = match name {
            b"sid" => (&mut plain, SessionCookieName::Plain),
            b"__Host-sid" if site.https => (&mut host, SessionCookieName::Host),
            _ => continue,
        };
        if slot.replace(value).is_some() {
            return Err(DuplicateCookie(known.as_str()));
        }
    }
    let host = host.map(|value| (SessionCookieName::Host, value));
    Ok(host.or_else(|| plain.map(|value| (SessionCookieName::Plain, value))))
}

/// The value of the login cookie.
pub(crate) fn login_cookie<'a>(headers: &'a HeaderMap, site: &Site) -> Result<Option<&'a [u8]>, DuplicateCookie> {
    let wanted = login_cookie_name(site);
    let mut found = pairs(headers).filter(|(name, _)| *name == wanted.as_bytes());
    let first = found.next();
    if found.next().is_some() {
        return Err(DuplicateCookie(wanted));
    }
    Ok(first.map(|(_, value)| value))
}

/// `Set-Cookie` for a seal; None if the seal is no header value, which no seal is.
pub(crate) fn set_session(site: &Site, name: SessionCookieName, seal: &str, max_age: i64) -> Option<HeaderValue> {
    set(site, name.as_str(), seal, max_age)
}

/// `Set-Cookie` that takes a seal away.
pub(crate) fn clear_session(site: &Site, name: SessionCookieName) -> HeaderValue {
    set(site, name.as_str(), "", 0).unwrap_or_else(|| HeaderValue::from_static(""))
}

/// `Set-Cookie` for a login under way.
pub(crate) fn set_login(site: &Site, value: &str) -> Option<HeaderValue> {
    set(site, login_cookie_name(site), value, LOGIN_SECONDS)
}

fn window_cookie_name(site: &Site) -> &'static str {
    if site.https { "__Host-window" } else { "window" }
}

/// `Set-Cookie` for the end of a login in a window, for as long as a login may take.
pub(crate) fn set_window_end(site: &Site, value: &str) -> Option<HeaderValue> {
    set(site, window_cookie_name(site), value, LOGIN_SECONDS)
}

/// `Set-Cookie` that takes it away.
pub(crate) fn clear_window_end(site: &Site) -> HeaderValue {
    set(site, window_cookie_name(site), "", 0).unwrap_or_else(|| HeaderValue::from_static(""))
}

/// The end of a login in a window; none where it was sent twice.
pub(crate) fn window_end<'a>(headers: &'a HeaderMap, site: &Site) -> Option<&'a [u8]> {
    let wanted = window_cookie_name(site);
    let mut found = pairs(headers).filter(|(name, _)| *name == wanted.as_bytes());
    let first = found.next().filter(|_| found.next().is_none());
    first.map(|(_, value)| value)
}

fn set(site: &Site, name: &str, value: &str, max_age: i64) -> Option<HeaderValue> {
    let secure = if site.https { "; Secure" } else { "" };
    let text = format!("{name}={value}; Max-Age={max_age}; Path=/; HttpOnly{secure}; SameSite=Lax");
    let mut header = HeaderValue::from_str(&text).ok()?;
    header.set_sensitive(true);
    Some(header)
}

/// The name-value pairs of all `Cookie` headers, in order. Bytes, since nothing says that they are text.
fn pairs(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    headers.get_all(COOKIE).iter().flat_map(|header| {
        header.as_bytes().split(|&b| b == b';').filter_map(|pair| {
            let at = pair.iter().position(|&b| b == b'=')?;
            Some((pair[..at].trim_ascii(), pair[at + 1..].trim_ascii()))
        })
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::site::tests::site;

    fn read(base: &str, cookies: &[&str]) -> Result<Option<(SessionCookieName, String)>, DuplicateCookie> {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append(COOKIE, HeaderValue::from_bytes(cookie.as_bytes()).unwrap());
        }
        let found = session_cookie(&headers, &site(base))?;
        Ok(found.map(|(name, value)| (name, String::from_utf8_lossy(value).into_owned())))
    }

    const LOCAL: &str = "http://127.0.0.1:8080";
    const PUBLIC: &str = "https://bower.example";

    #[test]
    fn the_prefix_wins_on_https_and_means_nothing_without() {
        let both = ["sid=a; __Host-sid=b"];
        assert_eq!(read(PUBLIC, &both), Ok(Some((SessionCookieName::Host, "b".to_owned()))));
        assert_eq!(read(LOCAL, &both), Ok(Some((SessionCookieName::Plain, "a".to_owned()))));
        assert_eq!(read(LOCAL, &["__Host-sid=b"]), Ok(None));
    }

    #[test]
    fn a_name_sent_twice_is_refused_wherever_it_stands() {
        for cookies in [&["sid=a; sid=a"][..], &["sid=a", "x=y; sid=b"], &["sid=; sid="], &["sid=a;sid=b"]] {
            assert_eq!(read(LOCAL, cookies), Err(DuplicateCookie("sid")), "{cookies:?}");
        }
        assert_eq!(read(PUBLIC, &["__Host-sid=a; __Host-sid=b"]), Err(DuplicateCookie("__Host-sid")));
        // Names are compared byte by byte: these are other cookies.
        assert_eq!(read(LOCAL, &["SID=a; sid2=b; xsid=c; sid"]), Ok(None));
    }

    #[test]
    fn values_are_taken_as_they_are() {
        assert_eq!(read(LOCAL, &["a=b=c; sid=Fe26.2*1*=*~2 ;q"]).unwrap().unwrap().1, "Fe26.2*1*=*~2");
    }

    #[test]
    fn attributes_by_scheme() {
        let text = |base, name| set_session(&site(base), name, "v", 5).unwrap().to_str().unwrap().to_owned();
        insta::assert_snapshot!(text(PUBLIC, SessionCookieName::Host), @"__Host-sid=v; Max-Age=5; Path=/; HttpOnly; Secure; SameSite=Lax");
        insta::assert_snapshot!(text(PUBLIC, SessionCookieName::Plain), @"sid=v; Max-Age=5; Path=/; HttpOnly; Secure; SameSite=Lax");
        insta::assert_snapshot!(text(LOCAL, SessionCookieName::Plain), @"sid=v; Max-Age=5; Path=/; HttpOnly; SameSite=Lax");
        insta::assert_snapshot!(set_login(&site(PUBLIC), "v").unwrap().to_str().unwrap(), @"__Host-login=v; Max-Age=600; Path=/; HttpOnly; Secure; SameSite=Lax");
        insta::assert_snapshot!(clear_session(&site(LOCAL), SessionCookieName::Plain).to_str().unwrap(), @"sid=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax");
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                let mut headers = HeaderMap::new();
                headers.insert(COOKIE, value);
                let _ = session_cookie(&headers, &site(PUBLIC));
                let _ = login_cookie(&headers, &site(PUBLIC));
            }
        }

        #[test]
        fn what_is_set_is_read_back(value in "[!#-+\\--:<-\\[\\]-~]{0,60}", before in "[a-z]{1,5}=[a-z]{0,5}; ") {
            prop_assume!(!before.starts_with("sid="));
            let mut headers = HeaderMap::new();
            headers.insert(COOKIE, HeaderValue::from_str(&format!("{before}sid={value}")).unwrap());
            let site = site(LOCAL);
            let (_, read) = session_cookie(&headers, &site).unwrap().unwrap();
            prop_assert_eq!(read, value.as_bytes());
        }
    }
}
