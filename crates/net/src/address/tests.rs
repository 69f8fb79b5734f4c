use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::is_public;

/// Every special block as text, written down from the IANA registries and not from the code.
const SPECIAL_V4: [&str; 17] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "255.255.255.255/32",
    "233.252.0.0/24",
];

const SPECIAL_V6: [&str; 17] = [
    "::/128",
    "::1/128",
    "::ffff:0:0/96",
    "::/96",
    "64:ff9b::/96",
    "64:ff9b:1::/48",
    "100::/64",
    "100:0:0:1::/64",
    "2001::/32",
    "2001:2::/48",
    "2001:db8::/32",
    "2002::/16",
    "3fff::/20",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
];

fn block(text: &str) -> (IpAddr, u32) {
    let (address, length) = text.split_once('/').unwrap();
    (address.parse().unwrap(), length.parse().unwrap())
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()) << 96,
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn is_in(address: IpAddr, (start, length): (IpAddr, u32)) -> bool {
    let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
    address.is_ipv4() == start.is_ipv4() && (bits(address) ^ bits(start)) & mask == 0
}

/// The first and the last address of a block.
fn ends(text: &str) -> [IpAddr; 2] {
    let (start, length) = block(text);
    match start {
        IpAddr::V4(v4) => {
            let host = u32::MAX.checked_shr(length).unwrap_or(0);
            [start, Ipv4Addr::from_bits(v4.to_bits() | host).into()]
        }
        IpAddr::V6(v6) => {
            let host = u128::MAX.checked_shr(length).unwrap_or(0);
            [start, Ipv6Addr::from_bits(v6.to_bits() | host).into()]
        }
    }
}

#[test]
fn every_special_block_is_refused_from_end_to_end() {
    for text in SPECIAL_V4.iter().chain(&SPECIAL_V6) {
        for address in ends(text) {
            assert!(!is_public(address), "{address} of {text}");
        }
    }
}

#[test]
fn the_neighbours_of_special_blocks_are_public() {
    for text in [
        "1.0.0.0",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.0",
        "192.0.3.0",
        "192.88.98.255",
        "192.88.100.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "198.51.99.255",
        "198.51.101.0",
        "203.0.112.255",
        "203.0.114.0",
        "223.255.255.255",
        "2000::1",
        "2001:200::1",
        "2001:db7::1",
        "2001:db9::1",
        "2003::1",
        "2606:4700::1111",
        "2a00:1450::1",
        "3ffe::1",
        "3fff:1000::1",
    ] {
        assert!(is_public(text.parse().unwrap()), "{text}");
    }
}

proptest! {
    #[test]
    fn v4_agrees_with_the_registry(raw: u32) {
        let address = IpAddr::from(Ipv4Addr::from_bits(raw));
        let special = SPECIAL_V4.iter().any(|text| is_in(address, block(text)));
        prop_assert_eq!(is_public(address), !special);
    }

    #[test]
    fn v6_is_never_public_in_a_special_block_or_outside_of_global_unicast(raw: u128) {
        let address = IpAddr::from(Ipv6Addr::from_bits(raw));
        let special = SPECIAL_V6.iter().any(|text| is_in(address, block(text)));
        let unicast = is_in(address, block("2000::/3"));
        prop_assert!(!is_public(address) || (unicast && !special));
    }

    #[test]
    fn v6_that_carries_a_v4_address_is_never_public(v4: u32, low: u64) {
        let v4 = u128::from(v4);
        for carrier in [
            v4,
            0xffff_u128 << 32 | v4,
            0x0064_ff9b_u128 << 96 | v4,
            0x0064_ff9b_0001_u128 << 80 | v4 << 16,
            0x2002_u128 << 112 | v4 << 80 | u128::from(low),
            0x2001_0000_u128 << 96 | v4 << 64 | u128::from(low),
        ] {
            let address = Ipv6Addr::from_bits(carrier);
            prop_assert!(!is_public(address.into()), "{}", address);
        }
    }
}
