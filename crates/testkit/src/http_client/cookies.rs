//! Cookies as a browser keeps them (RFC 6265bis), as far as tests can tell the difference.

use url::Url;

/// A cookie in a jar.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "they are the attributes of a cookie")]
pub struct StoredCookie {
    /// The name.
    pub name: String,
    /// The value.
    pub value: String,
    /// The host that set it, or the `Domain`.
    pub domain: String,
    /// Whether it goes to that very host only.
    pub host_only: bool,
    /// The path that it is for.
    pub path: String,
    /// `Secure`.
    pub secure: bool,
    /// `HttpOnly`.
    pub http_only: bool,
    /// `SameSite` in lower case; `lax` when missing, as browsers take it.
    pub same_site: String,
    /// Whether it outlives the browser (`Max-Age` or `Expires`).
    pub persistent: bool,
}

/// A cookie jar. Cookies do not know ports, as in browsers; loopback counts as a secure context.
#[derive(Clone, Debug, Default)]
pub struct CookieJar(Vec<StoredCookie>);

impl CookieJar {
    /// Takes the `Set-Cookie` headers of an answer from this URL; refuses what a browser refuses.
    pub fn take(&mut self, url: &Url, set_cookies: &[&str]) {
        for header in set_cookies {
            if let Some((cookie, deleted)) = parse(url, header) {
                self.0
                    .retain(|old| !(old.name == cookie.name && old.domain == cookie.domain && old.path == cookie.path));
                if !deleted {
                    self.0.push(cookie);
                }
            }
        }
    }

    /// The `Cookie` header for a request. `cross_site_subrequest`: sent by another site and not a top-level GET.
    pub fn header(&self, url: &Url, cross_site_subrequest: bool) -> Option<String> {
        let fits = |cookie: &&StoredCookie| {
            host_fits(cookie, url)
                && path_fits(&cookie.path, url.path())
                && (!cookie.secure || is_secure_context(url))
                && (!cross_site_subrequest || cookie.same_site == "none")
        };
        let mut sent: Vec<&StoredCookie> = self.0.iter().filter(fits).collect();
        sent.sort_by_key(|cookie| std::cmp::Reverse(cookie.path.len()));
        let pairs: Vec<String> = sent.iter().map(|cookie| format!("{}={}", cookie.name, cookie.value)).collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }

    /// A cookie by name.
    pub fn get(&self, name: &str) -> Option<&StoredCookie> {
        self.0.iter().find(|cookie| cookie.name == name)
    }

    /// Every cookie.
    pub fn all(&self) -> &[StoredCookie] {
        &self.0
    }

    /// Puts a cookie in by hand.
    pub fn put(&mut self, cookie: StoredCookie) {
        self.0.retain(|old| !(old.name == cookie.name && old.domain == cookie.domain && old.path == cookie.path));
        self.0.push(cookie);
    }

    /// Takes a cookie out.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|cookie| cookie.name != name);
    }
}

/// Reads a `Set-Cookie`; the flag says that it deletes. None when a browser would not take it.
fn parse(url: &Url, header: &str) -> Option<(StoredCookie, bool)> {
    let mut parts = header.split(';');
    let (name, value) = parts.next()?.split_once('=')?;
    let host = url.host_str()?.to_ascii_lowercase();
    let mut cookie = StoredCookie {
        name: name.trim().to_owned(),
        value: value.trim().to_owned(),
        domain: host.clone(),
        host_only: true,
        path: default_path(url.path()),
        secure: false,
        http_only: false,
        same_site: "lax".to_owned(),
        persistent: false,
    };
    let mut explicit_path = false;
    let mut deleted = false;
    for attribute in parts {
        let (key, value) = attribute.split_once('=').unwrap_or((attribute, ""));
        let value = value.trim();
        match key.trim().to_ascii_lowercase().as_str() {
            "secure" => cookie.secure = true,
            "httponly" => cookie.http_only = true,
            "samesite" => cookie.same_site = value.to_ascii_lowercase(),
            "path" if value.starts_with('/') => {
                value.clone_into(&mut cookie.path);
                explicit_path = true;
            }
            "domain" if !value.is_empty() => {
                cookie.domain = value.trim_start_matches('.').to_ascii_lowercase();
                cookie.host_only = false;
            }
            "max-age" => {
                cookie.persistent = true;
                deleted = value.parse::<i64>().is_ok_and(|seconds| seconds <= 0);
            }
            "expires" if !cookie.persistent => {
                cookie.persistent = true;
                deleted = value.contains(" 1970 ") || value.contains("-1970 ") || value.contains("-70 ");
            }
            _ => {}
        }
    }
    let foreign_domain = !cookie.host_only && host != cookie.domain && !host.ends_with(&format!(".{}", cookie.domain));
    let insecure = cookie.secure && !is_secure_context(url);
    let host_prefix = cookie.name.starts_with("__Host-");
    let bad_host_prefix = host_prefix && !(cookie.secure && cookie.host_only && explicit_path && cookie.path == "/");
    let bad_secure_prefix = cookie.name.starts_with("__Secure-") && !cookie.secure;
    let open_to_all = cookie.same_site == "none" && !cookie.secure;
    let refused = foreign_domain || insecure || bad_host_prefix || bad_secure_prefix || open_to_all;
    (!refused).then_some((cookie, deleted))
}

fn is_secure_context(url: &Url) -> bool {
    url.scheme() == "https" || matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"))
}

fn host_fits(cookie: &StoredCookie, url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().to_ascii_lowercase();
    host == cookie.domain || (!cookie.host_only && host.ends_with(&format!(".{}", cookie.domain)))
}

fn path_fits(cookie_path: &str, path: &str) -> bool {
    path == cookie_path
        || path.strip_prefix(cookie_path).is_some_and(|rest| cookie_path.ends_with('/') || rest.starts_with('/'))
}

fn default_path(path: &str) -> String {
    match path.rfind('/') {
        None | Some(0) => "/".to_owned(),
        Some(at) => path[..at].to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jar(url: &str, headers: &[&str]) -> CookieJar {
        let mut jar = CookieJar::default();
        jar.take(&Url::parse(url).unwrap(), headers);
        jar
    }

    fn sent(jar: &CookieJar, url: &str) -> Option<String> {
        jar.header(&Url::parse(url).unwrap(), false)
    }

    #[test]
    fn host_prefix_rules_are_enforced() {
        let site = "https://a.example/";
        assert!(jar(site, &["__Host-sid=1; Secure; Path=/"]).get("__Host-sid").is_some());
        for bad in [
            "__Host-sid=1; Path=/",
            "__Host-sid=1; Secure",
            "__Host-sid=1; Secure; Path=/; Domain=a.example",
            "__Host-sid=1; Secure; Path=/x",
        ] {
            assert!(jar(site, &[bad]).all().is_empty(), "{bad}");
        }
    }

    #[test]
    fn cookies_go_to_their_host_and_path_only() {
        let jar = jar("http://127.0.0.1:81/login", &["a=1; Path=/oauth", "b=2; Path=/"]);
        assert_eq!(sent(&jar, "http://127.0.0.1:99/oauth/callback").as_deref(), Some("a=1; b=2"));
        assert_eq!(sent(&jar, "http://127.0.0.1/oauthx").as_deref(), Some("b=2"));
        assert_eq!(sent(&jar, "http://localhost/"), None);
    }

    #[test]
    fn secure_cookies_are_for_secure_contexts() {
        let jar = jar("https://a.example/", &["s=1; Secure; Path=/"]);
        assert_eq!(sent(&jar, "http://a.example/"), None);
        assert_eq!(sent(&jar, "https://a.example/").as_deref(), Some("s=1"));
    }

    #[test]
    fn max_age_zero_and_the_past_delete() {
        let mut jar = jar("http://localhost/", &["a=1; Path=/", "b=1; Path=/"]);
        jar.take(
            &Url::parse("http://localhost/").unwrap(),
            &["a=; Max-Age=0; Path=/", "b=; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/"],
        );
        assert!(jar.all().is_empty());
    }

    #[test]
    fn lax_cookies_do_not_follow_cross_site_posts() {
        let jar = jar("http://localhost/", &["a=1; SameSite=Lax", "n=1; SameSite=None; Secure"]);
        let url = Url::parse("http://localhost/").unwrap();
        assert_eq!(jar.header(&url, true).as_deref(), Some("n=1"));
    }
}
