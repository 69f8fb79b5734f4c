//! Which addresses are public: the classifier behind every outgoing connection.
//!
//! Sources: the IANA registries of special-purpose IPv4 and IPv6 addresses (RFC 6890 and its successors).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether an address belongs to the public internet, so that connecting to it can reach nothing of our own network.
pub const fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

const fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = match a {
        // This network, private, loopback; multicast, reserved, broadcast (RFC 1122, RFC 1918; RFC 5771, RFC 1112).
        0 | 10 | 127 | 224.. => true,
        // Shared address space of carriers (RFC 6598).
        100 => matches!(b, 64..=127),
        // Link-local, where cloud machines keep their credentials (RFC 3927).
        169 => b == 254,
        // Private (RFC 1918).
        172 => matches!(b, 16..=31),
        // Protocol assignments and documentation, the former 6to4 relays, private (RFC 6890, RFC 7526, RFC 1918).
        192 => matches!((b, c), (0, 0 | 2) | (88, 99) | (168, _)),
        // Benchmarks, documentation (RFC 2544, RFC 5737).
        198 => matches!((b, c), (18 | 19, _) | (51, 100)),
        203 => matches!((b, c), (0, 113)),
        _ => false,
    };
    !special
}

/// Only `2000::/3` is given out as global unicast (RFC 4291 §2.4), so everything outside of it is refused without a
/// list: unspecified, loopback, v4-mapped and v4-compatible, both NAT64 prefixes, discard, unique local, link-local,
/// site-local, multicast.
const fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    match a {
        // Protocol assignments (Teredo carries an IPv4 address inside, ORCHID is not routed), documentation (RFC 2928,
        // RFC 4380, RFC 3849).
        0x2001 => !matches!(b, 0..=0x01ff | 0x0db8),
        // 6to4: an IPv4 address inside (RFC 3056).
        0x2002 => false,
        // Documentation (RFC 9637).
        0x3fff => b > 0x0fff,
        _ => matches!(a, 0x2000..=0x3fff),
    }
}

#[cfg(test)]
mod tests;
