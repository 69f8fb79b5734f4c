//! The DNS client: one lookup per connection, and TXT records.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bowerbird_core::ports::{DnsError, HttpError, HttpFault};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::NetError as HickoryError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{Name, RData, RecordType};

use crate::address::is_public;
use crate::{NetConfig, NetError};

/// The time for one question to one server; with a second try this stays below the shortest deadline.
const QUESTION: Duration = Duration::from_secs(2);
const TXT_RECORDS: usize = 64;
const TXT_BYTES: usize = 4 * 1024;
/// The addresses that are tried; all of an answer are checked.
const ADDRESSES: usize = 8;

/// Asks the DNS.
pub(crate) struct Resolver {
    hickory: TokioResolver,
    /// Loopback addresses that a test takes for public ones; otherwise empty.
    public_addresses: Vec<IpAddr>,
}

impl Resolver {
    pub(crate) fn new(config: &NetConfig, public_addresses: Vec<IpAddr>) -> Result<Self, NetError> {
        let servers = if config.dns_servers.is_empty() { system_servers() } else { given_servers(&config.dns_servers) };
        let mut options = ResolverOpts::default();
        options.timeout = QUESTION;
        options.attempts = 1;
        // No cache: each connection sees one fresh answer, and checks what it sees. Pools keep lookups rare.
        options.cache_size = 0;
        options.use_hosts_file = if config.dns_servers.is_empty() { ResolveHosts::Always } else { ResolveHosts::Never };
        // No search domains: names are absolute, so `example` can never become `example.corp.internal`.
        let config = ResolverConfig::from_name_servers(servers);
        let hickory = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            .with_options(options)
            .build()
            .map_err(|error| NetError::Dns(error.into()))?;
        Ok(Self { hickory, public_addresses })
    }

    /// The addresses of a name, IPv6 and IPv4 in turns. Unless exempt, one address that is not public condemns the
    /// whole answer: a mixed set is an attack or a mistake, and never a server that strangers should be sent to.
    pub(crate) async fn addresses(&self, name: &str, exempt: bool) -> Result<Vec<IpAddr>, HttpError> {
        let name = absolute(name).map_err(|error| HttpError::not_sent(HttpFault::NameNotFound, Some(error.into())))?;
        let answer = self.hickory.lookup_ip(name).await.map_err(|error| {
            let fault =
                if matches!(error, HickoryError::Timeout) { HttpFault::Timeout } else { HttpFault::NameNotFound };
            HttpError::not_sent(fault, Some(error.into()))
        })?;
        if !exempt && !answer.iter().all(|address| self.permits(address)) {
            return Err(HttpError::not_sent(HttpFault::AddressNotAllowed, None));
        }
        let addresses = in_turns(answer.iter());
        if addresses.is_empty() {
            return Err(HttpError::not_sent(HttpFault::NameNotFound, None));
        }
        Ok(addresses)
    }

    /// Whether an address may be connected to without an exemption.
    pub(crate) fn permits(&self, address: IpAddr) -> bool {
        is_public(address) || self.public_addresses.contains(&address)
    }

    /// The TXT records of a name, each joined from its strings; records over 4 KB are left out, and all after the 64th.
    pub(crate) async fn txt(&self, name: &str) -> Result<Vec<String>, DnsError> {
        let name = absolute(name).map_err(|error| DnsError::Failed(error.into()))?;
        let answer = match self.hickory.lookup(name, RecordType::TXT).await {
            Ok(answer) => answer,
            Err(error) if error.is_no_records_found() || error.is_nx_domain() => return Ok(Vec::new()),
            Err(HickoryError::Timeout) => return Err(DnsError::Timeout),
            Err(error) => return Err(DnsError::Failed(error.into())),
        };
        let joined = |data: &RData| match data {
            RData::TXT(txt) => {
                let length: usize = txt.txt_data.iter().map(|part| part.len()).sum();
                (length <= TXT_BYTES).then(|| String::from_utf8_lossy(&txt.txt_data.concat()).into_owned())
            }
            _ => None,
        };
        Ok(answer.answers().iter().filter_map(|record| joined(&record.data)).take(TXT_RECORDS).collect())
    }
}

fn absolute(name: &str) -> Result<Name, hickory_resolver::proto::ProtoError> {
    let mut name = Name::from_ascii(name)?;
    name.set_fqdn(true);
    Ok(name)
}

fn given_servers(servers: &[SocketAddr]) -> Vec<NameServerConfig> {
    let at = |server: &SocketAddr| {
        let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
        for connection in &mut connections {
            connection.port = server.port();
        }
        NameServerConfig::new(server.ip(), true, connections)
    };
    servers.iter().map(at).collect()
}

/// The servers of the system; without any, the one on this machine, as the C library does.
fn system_servers() -> Vec<NameServerConfig> {
    let servers = match hickory_resolver::system_conf::read_system_conf() {
        Ok((config, _)) => config.name_servers().to_vec(),
        Err(error) => {
            tracing::warn!(%error, "the system's DNS configuration is not readable; asking 127.0.0.1");
            Vec::new()
        }
    };
    if servers.is_empty() { vec![NameServerConfig::udp_and_tcp(Ipv4Addr::LOCALHOST.into())] } else { servers }
}

/// The first addresses, the two families in turns (RFC 8305 §4).
fn in_turns(addresses: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    let (v6, v4): (Vec<_>, Vec<_>) = addresses.partition(IpAddr::is_ipv6);
    let (mut v6, mut v4) = (v6.into_iter(), v4.into_iter());
    let mut turns = Vec::new();
    while turns.len() < ADDRESSES {
        let before = turns.len();
        turns.extend(v6.next());
        turns.extend(v4.next());
        if turns.len() == before {
            break;
        }
    }
    turns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns_up_to_eight() {
        let v4 = |n: u8| IpAddr::from([192, 0, 2, n]);
        let v6 = |n: u16| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, n]);
        assert_eq!(in_turns([v4(1), v4(2), v6(1)].into_iter()), [v6(1), v4(1), v4(2)]);
        assert_eq!(in_turns((0..100).map(v4)).len(), ADDRESSES);
        assert!(in_turns(std::iter::empty()).is_empty());
    }

    #[test]
    fn names_are_absolute() {
        assert_eq!(absolute("example").unwrap().to_string(), "example.");
        assert_eq!(absolute("_atproto.example.com.").unwrap().to_string(), "_atproto.example.com.");
    }
}
