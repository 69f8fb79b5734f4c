//! Origins that have passed the URL check, with what is derived from them once.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bowerbird_core::ports::{HttpError, HttpFault};
use http::uri::{Authority, Scheme};
use http::{HeaderValue, Uri};
use parking_lot::RwLock;
use rustls::pki_types::ServerName;
use url::Host;

use crate::allowlist::Allowlist;
use crate::pool::{Pool, PoolContext};
use crate::url_check::{self, Target};

/// How many origins are remembered.
const REMEMBERED: usize = 1024;

/// A checked origin and its connections.
pub(crate) struct Origin {
    pub(crate) host: Host<String>,
    pub(crate) port: u16,
    /// Private addresses are allowed.
    pub(crate) exempt: bool,
    /// The name that the certificate must be for; none on plain http.
    pub(crate) server_name: Option<ServerName<'static>>,
    /// What HTTP/2 sends as `:authority`.
    pub(crate) authority: Authority,
    /// What HTTP/1.1 sends as `Host`: always the host that was checked, whatever the caller put there.
    pub(crate) host_header: HeaderValue,
    pub(crate) pool: Pool,
    used: AtomicU64,
}

impl Origin {
    fn new(target: Target, context: Arc<PoolContext>) -> Result<Self, HttpFault> {
        let Target { secure, host, port, exempt } = target;
        let default_port = if secure { 443 } else { 80 };
        let written = if port == default_port { host.to_string() } else { format!("{host}:{port}") };
        let server_name = secure.then(|| server_name(&host)).transpose()?;
        let host_header = HeaderValue::from_str(&written).map_err(|_| HttpFault::UrlNotAllowed)?;
        let authority = Authority::try_from(written).map_err(|_| HttpFault::UrlNotAllowed)?;
        let pool = Pool::new(context);
        Ok(Self { host, port, exempt, server_name, authority, host_header, pool, used: AtomicU64::new(0) })
    }

    pub(crate) fn scheme(&self) -> Scheme {
        if self.server_name.is_some() { Scheme::HTTPS } else { Scheme::HTTP }
    }
}

fn server_name(host: &Host<String>) -> Result<ServerName<'static>, HttpFault> {
    match host {
        Host::Domain(name) => ServerName::try_from(name.clone()).map_err(|_| HttpFault::UrlNotAllowed),
        Host::Ipv4(address) => Ok(ServerName::from(IpAddr::from(*address))),
        Host::Ipv6(address) => Ok(ServerName::from(IpAddr::from(*address))),
    }
}

/// The origins in use. What a URL says is checked once per origin; addresses are checked at every connection.
pub(crate) struct Origins {
    allowlist: Allowlist,
    context: Arc<PoolContext>,
    secure: RwLock<HashMap<Authority, Arc<Origin>>>,
    plain: RwLock<HashMap<Authority, Arc<Origin>>>,
}

impl Origins {
    pub(crate) fn new(allowlist: Allowlist, context: Arc<PoolContext>) -> Self {
        Self { allowlist, context, secure: RwLock::default(), plain: RwLock::default() }
    }

    /// The origin of a URL, or why it is not allowed.
    pub(crate) fn find(&self, uri: &Uri) -> Result<Arc<Origin>, HttpError> {
        let now = u64::try_from(self.context.clock.monotonic().as_millis()).unwrap_or(u64::MAX);
        let known = if uri.scheme() == Some(&Scheme::HTTPS) { &self.secure } else { &self.plain };
        if let Some(origin) = uri.authority().and_then(|authority| known.read().get(authority).cloned())
            && uri.scheme() == Some(&origin.scheme())
        {
            origin.used.store(now, Ordering::Relaxed);
            return Ok(origin);
        }
        let refuse = |fault| HttpError::not_sent(fault, None);
        let target = url_check::check(uri, &self.allowlist).map_err(refuse)?;
        let origin = Arc::new(Origin::new(target, Arc::clone(&self.context)).map_err(refuse)?);
        origin.used.store(now, Ordering::Relaxed);
        if let Some(authority) = uri.authority() {
            let mut known = known.write();
            if known.len() >= REMEMBERED {
                forget_oldest(&mut known);
            }
            // Somebody may have been faster; then theirs has the pool.
            return Ok(Arc::clone(known.entry(authority.clone()).or_insert(origin)));
        }
        Ok(origin)
    }

    /// Closes idle connections that are over their time.
    pub(crate) fn sweep(&self) {
        let now = self.context.clock.monotonic();
        for known in [&self.secure, &self.plain] {
            for origin in known.read().values() {
                origin.pool.sweep(now);
            }
        }
    }
}

/// Forgets the quarter that was not used for the longest time, so that a flood of names costs little per name.
fn forget_oldest(known: &mut HashMap<Authority, Arc<Origin>>) {
    let mut ages: Vec<u64> = known.values().map(|origin| origin.used.load(Ordering::Relaxed)).collect();
    let quarter = ages.len() / 4;
    let (_, &mut limit, _) = ages.select_nth_unstable(quarter);
    let mut over = quarter + 1;
    known.retain(|_, origin| {
        let forget = over > 0 && origin.used.load(Ordering::Relaxed) <= limit;
        over -= usize::from(forget);
        !forget
    });
}

#[cfg(test)]
mod tests {
    use bowerbird_core::testing::TestClock;

    use super::*;

    #[test]
    fn a_flood_of_names_is_forgotten_and_an_origin_in_use_is_not() {
        let clock = Arc::new(TestClock::new());
        let origins = Origins::new(Allowlist::default(), PoolContext::new(Arc::clone(&clock) as _));
        let find = |name: &str| origins.find(&format!("https://{name}/").parse().unwrap()).unwrap();
        let pds = find("pds.example");
        for number in 0..5 * REMEMBERED {
            find(&format!("n{number}.example"));
            clock.advance(std::time::Duration::from_millis(1));
            if number % 100 == 0 {
                assert!(Arc::ptr_eq(&pds, &find("pds.example")), "after {number}");
            }
            assert!(origins.secure.read().len() <= REMEMBERED);
        }
        assert!(origins.secure.read().len() >= REMEMBERED / 2);
    }

    #[test]
    fn refusals_are_not_remembered() {
        let origins = Origins::new(Allowlist::default(), PoolContext::new(Arc::new(TestClock::new())));
        for url in ["http://example.com/", "https://10.0.0.1/", "https://u@example.com/"] {
            assert!(origins.find(&url.parse().unwrap()).is_err());
        }
        assert!(origins.secure.read().is_empty() && origins.plain.read().is_empty());
    }

    #[test]
    fn the_host_is_written_as_it_was_checked() {
        let origins = Origins::new(Allowlist::default(), PoolContext::new(Arc::new(TestClock::new())));
        for (url, written) in [
            ("https://PDS.Example/", "pds.example"),
            ("https://pds.example:443/", "pds.example"),
            ("https://pds.example:8443/", "pds.example:8443"),
            ("https://1572395042/", "93.184.216.34"),
            ("https://[2606:4700:0::1111]:8443/", "[2606:4700::1111]:8443"),
        ] {
            let origin = origins.find(&url.parse().unwrap()).unwrap();
            assert_eq!((origin.host_header.to_str().unwrap(), origin.authority.as_str()), (written, written));
        }
    }
}
