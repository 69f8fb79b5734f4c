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
    !matches!(
        (a, b, c),
        // This network, private, loopback (RFC 1122, RFC 1918).
        (0 | 10 | 127, _, _)
        // Shared address space of carriers (RFC 6598).
        | (100, 64..=127, _)
        // Link-local, where cloud machines keep their credentials (RFC 3927).
        | (169, 254, _)
        // Private (RFC 1918).
        | (172, 16..=31, _) | (192, 168, _)
        // Protocol assignments, documentation, the former 6to4 relays (RFC 6890, RFC 5737, RFC 7526).
        | (192, 0, 0 | 2) | (192, 88, 99)
        // Benchmarks, documentation (RFC 2544, RFC 5737).
        | (198, 18 | 19, _) | (198, 51, 100) | (203, 0, 113)
        // Multicast, reserved, broadcast (RFC 5771, RFC 1112, RFC 919).
        | (224.., _, _)
    )
}

/// Only `2000::/3` is given out as global unicast (RFC 4291 §2.4), so everything outside of it is refused without a
/// list: unspecified, loopback, v4-mapped and v4-compatible, both NAT64 prefixes, discard, unique local, link-local,
/// site-local, multicast.
const fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    matches!(a, 0x2000..=0x3fff)
        && !matches!(
            (a, b),
            // Protocol assignments: Teredo carries an IPv4 address inside, ORCHID is not routed (RFC 2928, RFC 4380).
            (0x2001, 0..=0x01ff)
            // Documentation (RFC 3849, RFC 9637).
            | (0x2001, 0x0db8) | (0x3fff, 0..=0x0fff)
            // 6to4: an IPv4 address inside (RFC 3056).
            | (0x2002, _)
        )
}

#[cfg(test)]
mod tests;
