use proptest::prelude::*;

use super::*;

fn allowing(entries: &[&str]) -> Allowlist {
    Allowlist::new(entries.iter().map(|entry| HostPort::parse(entry).unwrap()))
}

fn outcome(url: &str, allowlist: &Allowlist) -> Result<Target, HttpFault> {
    check(&url.parse().map_err(|_| HttpFault::UrlNotAllowed)?, allowlist)
}

#[test]
fn https_to_a_public_host_passes_on_any_port() {
    let none = Allowlist::default();
    let target = outcome("https://PDS.Example.com/xrpc/a?b=c", &none).unwrap();
    assert_eq!(target.host, Host::Domain("pds.example.com".to_owned()));
    assert_eq!((target.secure, target.port, target.exempt), (true, 443, false));
    assert_eq!(outcome("https://pds.example.com:8443/", &none).unwrap().port, 8443);
    assert!(outcome("https://93.184.216.34/", &none).is_ok());
    assert!(outcome("https://[2606:4700::1111]/", &none).is_ok());
}

#[test]
fn what_the_url_itself_forbids() {
    let none = Allowlist::default();
    for url in [
        "http://example.com/",
        "ftp://example.com/",
        "ws://example.com/",
        "file:///etc/passwd",
        "/path/only",
        "example.com:443",
        "https://user@example.com/",
        "https://user:pw@example.com/",
        "https://@example.com/",
        "https://example.com:0/",
        "https://example.com:65536/",
        "https://exa mple.com/",
        "https://[fe80::1%25eth0]/",
        "https://[::1/",
    ] {
        assert_eq!(outcome(url, &none), Err(HttpFault::UrlNotAllowed), "{url}");
    }
}

#[test]
fn names_that_are_never_public() {
    let none = Allowlist::default();
    for name in [
        "localhost",
        "LOCALHOST",
        "localhost.",
        "a.localhost",
        "intranet",
        "metadata",
        "printer.local",
        "metadata.google.internal",
        "x.onion",
        "router.home.arpa",
        "a.invalid",
        "example.com.",
        "com",
    ] {
        let url = format!("https://{name}/");
        assert_eq!(outcome(&url, &none), Err(HttpFault::AddressNotAllowed), "{name}");
    }
    assert!(outcome("https://notlocalhost.example/", &none).is_ok());
    assert!(outcome("https://mylocal.com/", &none).is_ok());
}

#[test]
fn an_exemption_is_for_exactly_one_host_and_port() {
    let list = allowing(&["localhost:2583", "127.0.0.1:3000", "pds.corp:443", "[::1]:80"]);
    for url in [
        "http://localhost:2583/a",
        "https://localhost:2583/",
        "http://127.0.0.1:3000/",
        "https://pds.corp/",
        "http://[::1]/",
        "http://LOCALHOST:2583/",
    ] {
        assert!(outcome(url, &list).unwrap().exempt, "{url}");
    }
    for url in [
        "http://localhost:2584/",
        "http://127.0.0.1:2583/",
        "http://localhost:3000/",
        "http://pds.corp/",
        "https://[::1]/",
        "https://127.0.0.1:30000/",
        "http://localhost.:2583/",
        "http://a.localhost:2583/",
    ] {
        assert!(outcome(url, &list).is_err(), "{url}");
    }
    assert_eq!(outcome("http://user@127.0.0.1:3000/", &list), Err(HttpFault::UrlNotAllowed));
}

proptest! {
    /// However an address is written, the check sees the address.
    #[test]
    fn no_spelling_of_a_private_address_passes(raw: u32, spelling in 0..8_u8) {
        let address = std::net::Ipv4Addr::from_bits(raw);
        let [a, b, c, d] = address.octets();
        let host = match spelling {
            0 => address.to_string(),
            1 => raw.to_string(),
            2 => format!("0x{raw:x}"),
            3 => format!("0{raw:o}"),
            4 => format!("{a}.{}", raw & 0x00ff_ffff),
            5 => format!("0x{a:x}.0{b:o}.{}", raw & 0xffff),
            6 => format!("{a}.{b}.{c}.{d}."),
            _ => format!("[::ffff:{address}]"),
        };
        let allowed = outcome(&format!("https://{host}/"), &Allowlist::default());
        let public = is_public(address.into()) && spelling != 7;
        prop_assert_eq!(allowed.is_ok(), public, "{}", host);
    }

    /// No text makes the check panic, and nothing passes whose authority another reader could see differently.
    #[test]
    fn any_text_is_decided(text in "\\PC{0,40}") {
        if let Ok(target) = outcome(&format!("https://{text}"), &Allowlist::default()) {
            let url = Url::parse(&format!("https://{text}")).unwrap();
            prop_assert_eq!(url.host().map(|host| host.to_owned()), Some(target.host));
        }
    }
}
