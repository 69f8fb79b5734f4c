//! Whose request it is, by address: the peer, or what a trusted reverse proxy says.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::HeaderMap;

/// An address, or a network in CIDR notation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRange {
    network: u128,
    prefix: u8,
}

impl AddressRange {
    /// Reads `10.0.0.0/8`, `2001:db8::/32` or a single address; None for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, length) = match text.trim().split_once('/') {
            Some((address, length)) => (address, Some(length.parse::<u8>().ok()?)),
            None => (text.trim(), None),
        };
        let address: IpAddr = address.parse().ok()?;
        // IPv4 lives in its IPv4-mapped corner, so that one comparison does for both.
        let (widest, offset) = if address.is_ipv4() { (32, 96) } else { (128, 0) };
        let length = length.unwrap_or(widest);
        if length > widest {
            return None;
        }
        let prefix = length + offset;
        Some(Self { network: bits(address) & mask(prefix), prefix })
    }

    /// Whether the address lies in the range.
    pub fn contains(&self, address: IpAddr) -> bool {
        bits(address) & mask(self.prefix) == self.network
    }
}

/// The address that a request is counted under: the peer's, unless the peer is a trusted proxy; then the nearest
/// address in `X-Forwarded-For` (or `Forwarded`, RFC 7239) that is not one itself. Anything a client can write
/// further left in those headers is never believed.
pub(crate) fn client_address(peer: Option<SocketAddr>, headers: &HeaderMap, trusted: &[AddressRange]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|range| range.contains(address));
    let mut client = peer.map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |peer| peer.ip());
    if !is_trusted(client) {
        return client;
    }
    for hop in forwarded_hops(headers).into_iter().rev() {
        let Some(address) = hop else { break };
        client = address;
        if !is_trusted(client) {
            break;
        }
    }
    client
}

/// The hops from left to right; None for one that is not an address (`unknown`, an obfuscated name, nonsense).
fn forwarded_hops(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let texts = |name: &str| -> Vec<String> {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).map(|part| part.trim().to_owned()).collect()
    };
    let x_forwarded_for = texts("x-forwarded-for");
    if !x_forwarded_for.is_empty() {
        return x_forwarded_for.iter().map(|hop| node(hop)).collect();
    }
    let for_of = |element: &String| {
        let pairs = element.split(';').filter_map(|pair| pair.trim().split_once('='));
        let (_, value) = pairs.into_iter().find(|(name, _)| name.eq_ignore_ascii_case("for"))?;
        node(value.trim_matches('"'))
    };
    texts("forwarded").iter().map(for_of).collect()
}

/// An address, with or without port and brackets.
fn node(text: &str) -> Option<IpAddr> {
    let bracketed = text.strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(address, _)| address);
    let address = bracketed.unwrap_or(text);
    address.parse().ok().or_else(|| address.parse::<SocketAddr>().ok().map(|socket| socket.ip()))
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn mask(prefix: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, value.parse().unwrap());
        }
        map
    }

    fn client(peer: &str, pairs: &[(&'static str, &'static str)]) -> String {
        let trusted = [AddressRange::parse("10.0.0.0/8").unwrap(), AddressRange::parse("fd00::/8").unwrap()];
        client_address(Some(peer.parse().unwrap()), &headers(pairs), &trusted).to_string()
    }

    #[test]
    fn a_stranger_cannot_choose_its_address() {
        let spoof = [("x-forwarded-for", "1.2.3.4"), ("forwarded", "for=1.2.3.4")];
        assert_eq!(client("203.0.113.9:1000", &spoof), "203.0.113.9");
    }

    #[test]
    fn behind_a_proxy_the_nearest_stranger_counts() {
        assert_eq!(client("10.0.0.1:1000", &[("x-forwarded-for", "6.6.6.6, 203.0.113.9, 10.0.0.2")]), "203.0.113.9");
        assert_eq!(client("10.0.0.1:1", &[("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "1.1.1.1")]), "1.1.1.1");
        assert_eq!(client("10.0.0.1:1000", &[("forwarded", "for=\"[2001:db8::1]:99\";proto=https")]), "2001:db8::1");
        assert_eq!(client("[fd00::1]:1000", &[("x-forwarded-for", "1.2.3.4:5678")]), "1.2.3.4");
        assert_eq!(client("10.0.0.1:1000", &[("x-forwarded-for", "6.6.6.6, unknown")]), "10.0.0.1");
        assert_eq!(client("10.0.0.1:1000", &[]), "10.0.0.1");
    }

    #[test]
    fn ranges_parse_strictly() {
        for bad in ["", "10.0.0.0/33", "::/129", "10.0.0/8", "a/8", "10.0.0.0/-1"] {
            assert_eq!(AddressRange::parse(bad), None, "{bad}");
        }
        assert!(AddressRange::parse("0.0.0.0/0").unwrap().contains("8.8.8.8".parse().unwrap()));
        assert!(!AddressRange::parse("0.0.0.0/0").unwrap().contains("2001:db8::1".parse().unwrap()));
        assert!(AddressRange::parse("::1").unwrap().contains("::1".parse().unwrap()));
    }
}
