//! A request must be meant for this server (security row 18): what a client writes in `Host` decides nothing here, and
//! a wrong one is refused, so that no link, cookie or client id ever follows it.

use http::{HeaderMap, Uri, header};

use crate::site::Site;

/// Whom a request is meant for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HostVerdict {
    /// Us.
    Ours,
    /// Somebody else: 421.
    Misdirected,
    /// It names no host, or two: 400.
    Malformed,
}

/// Compares `Host`, and the authority of an absolute or HTTP/2 target, with the base URL.
pub(crate) fn check(uri: &Uri, headers: &HeaderMap, site: &Site) -> HostVerdict {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return HostVerdict::Malformed;
    }
    let target = uri.authority();
    if host.is_none() && target.is_none() {
        return HostVerdict::Malformed;
    }
    let host_ok = host.is_none_or(|host| is_ours(host.as_bytes(), site));
    let target_ok = target.is_none_or(|authority| is_ours(authority.as_str().as_bytes(), site));
    if host_ok && target_ok { HostVerdict::Ours } else { HostVerdict::Misdirected }
}

fn is_ours(host: &[u8], site: &Site) -> bool {
    if host.eq_ignore_ascii_case(site.authority.as_bytes()) {
        return true;
    }
    // The default port may be written out.
    let default: &[u8] = if site.https { b":443" } else { b":80" };
    host.strip_suffix(default).is_some_and(|host| host.eq_ignore_ascii_case(site.authority.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::tests::site;

    fn verdict(target: &str, hosts: &[&str]) -> HostVerdict {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(header::HOST, host.parse().unwrap());
        }
        check(&target.parse().unwrap(), &headers, &site("https://bower.example"))
    }

    #[test]
    fn only_our_own_name_is_ours() {
        for host in ["bower.example", "BOWER.example", "bower.example:443"] {
            assert_eq!(verdict("/", &[host]), HostVerdict::Ours, "{host}");
        }
        for host in [
            "",
            "evil.example",
            "bower.example:8443",
            "bower.example.",
            "bower.example.evil.example",
            "a@bower.example",
        ] {
            assert_eq!(verdict("/", &[host]), HostVerdict::Misdirected, "{host}");
        }
        assert_eq!(verdict("https://evil.example/", &["bower.example"]), HostVerdict::Misdirected);
        assert_eq!(verdict("https://bower.example/", &[]), HostVerdict::Ours);
        assert_eq!(verdict("/", &[]), HostVerdict::Malformed);
        assert_eq!(verdict("/", &["bower.example", "bower.example"]), HostVerdict::Malformed);
    }
}
