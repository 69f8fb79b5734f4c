//! DPoP proofs (RFC 9449 §4): one signature and a few allocations each.

use std::net::Ipv4Addr;

use http::{HeaderName, Method, Uri};
use url::{Position, Url};

use super::DpopNonce;
use crate::{
    Secret, SigningKey, Timestamp,
    jose::{base64url, base64url_into, jws, sha256},
};

/// The request header that carries a proof.
pub const DPOP_HEADER: HeaderName = HeaderName::from_static("dpop");

/// The answer's header that carries the nonce for the next proof.
pub const DPOP_NONCE_HEADER: HeaderName = HeaderName::from_static("dpop-nonce");

/// Makes the proof for one request: a JWT that is valid for this method, URL, nonce and access token only.
///
/// `jti` must be 16 fresh random bytes, for every attempt anew. `access_token` is given exactly when the request
/// carries one; its hash becomes `ath`. The proof ends up in the `DPoP` header and nowhere else.
pub fn proof(
    key: &SigningKey,
    method: &Method,
    url: &Url,
    now: Timestamp,
    jti: &[u8; 16],
    nonce: Option<&DpopNonce>,
    access_token: Option<&Secret>,
) -> Secret {
    proof_for(key, method, &htu(url), now, jti, nonce, access_token)
}

/// The proof for a URL as [`htu`] writes it.
pub(super) fn proof_for(
    key: &SigningKey,
    method: &Method,
    htu: &str,
    now: Timestamp,
    jti: &[u8; 16],
    nonce: Option<&DpopNonce>,
    access_token: Option<&Secret>,
) -> Secret {
    let claims = claims(method, htu, now, jti, nonce, access_token);
    let header = key.proof_header();
    // Header, dot, payload (4 characters for 3 bytes), dot, 86 characters of signature.
    let mut compact = String::with_capacity(header.len() + claims.len().div_ceil(3) * 4 + 88);
    compact.push_str(header);
    compact.push('.');
    base64url_into(claims, &mut compact);
    Secret::new(jws::append_signature(compact, key))
}

/// The URL as a proof names it: without credentials, query and fragment (RFC 9449 §4.2, `htu`).
pub fn htu(url: &Url) -> String {
    let mut htu = String::with_capacity(url.as_str().len());
    htu.push_str(&url[..Position::BeforeUsername]);
    htu.push_str(&url[Position::BeforeHost..Position::AfterPath]);
    htu
}

/// The same of a request's target, if it is an absolute URL.
pub(super) fn htu_of(uri: &Uri) -> Option<String> {
    if let Some(htu) = htu_as_written(uri) {
        return Some(htu);
    }
    Url::parse(&uri.to_string()).ok().map(|url| htu(&url))
}

/// For a target that is certainly in the form that a URL parser would give it, which saves the parsing: nearly every
/// one, since origins are kept as a parser wrote them and paths are names of methods.
fn htu_as_written(uri: &Uri) -> Option<String> {
    let (scheme, default_port) = match uri.scheme_str()? {
        "https" => ("https://", "443"),
        "http" => ("http://", "80"),
        _ => return None,
    };
    let authority = uri.authority()?.as_str();
    let (host, port) = authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)));
    let port_fits = port.is_none_or(|port| {
        let decimal = !port.starts_with('0') && port.bytes().all(|byte| byte.is_ascii_digit());
        decimal && port != default_port && port.parse::<u16>().is_ok()
    });
    let path = uri.path();
    let path_fits = path.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'-' | b'_'));
    if !port_fits || !path_fits || path.contains("/.") || !is_normal(host) {
        return None;
    }
    let mut htu = String::with_capacity(scheme.len() + authority.len() + path.len());
    htu.push_str(scheme);
    htu.push_str(authority);
    htu.push_str(path);
    Some(htu)
}

/// Whether a host is a name of plain labels that no parser takes for a number, or an IPv4 address in its usual form.
fn is_normal(host: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let labels = || host.split('.');
    let name = labels().all(|label| !label.is_empty() && label.bytes().all(plain) && !label.starts_with("xn--"));
    let worded = labels().next_back().is_some_and(|last| last.starts_with(|first: char| first.is_ascii_lowercase()));
    (name && worded) || host.parse::<Ipv4Addr>().is_ok()
}

/// The claims, written by hand: every part is free of characters that JSON would escape, and so is
/// nearly every URL.
fn claims(
    method: &Method,
    htu: &str,
    now: Timestamp,
    jti: &[u8; 16],
    nonce: Option<&DpopNonce>,
    access_token: Option<&Secret>,
) -> String {
    let mut claims = String::with_capacity(384);
    claims.push_str(r#"{"jti":""#);
    base64url_into(jti, &mut claims);
    claims.push_str(r#"","htm":""#);
    claims.push_str(method.as_str());
    claims.push_str(r#"","htu":"#);
    if htu.bytes().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\')) {
        claims.push('"');
        claims.push_str(htu);
        claims.push('"');
    } else {
        claims.push_str(&serde_json::Value::from(htu).to_string());
    }
    claims.push_str(r#","iat":"#);
    claims.push_str(&now.as_seconds().to_string());
    if let Some(nonce) = nonce {
        claims.push_str(r#","nonce":""#);
        claims.push_str(nonce.as_str());
        claims.push('"');
    }
    if let Some(access_token) = access_token {
        claims.push_str(r#","ath":""#);
        claims.push_str(&base64url(sha256(access_token.expose().as_bytes())));
        claims.push('"');
    }
    claims.push('}');
    claims
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn key() -> SigningKey {
        SigningKey::from_scalar(&[1; 32]).unwrap().with_kid("must not appear")
    }

    fn made(url: &str, nonce: Option<&str>, access_token: Option<&str>) -> jws::CompactJws {
        let nonce = nonce.map(|text| DpopNonce::parse(text).unwrap());
        let access_token = access_token.map(Secret::new);
        let url = Url::parse(url).unwrap();
        let now = Timestamp::from_millis(1_700_000_000_999);
        let proof = proof(&key(), &Method::POST, &url, now, &[2; 16], nonce.as_ref(), access_token.as_ref());
        jws::verify(proof.expose(), key().public_jwk()).unwrap()
    }

    #[test]
    fn a_proof_has_exactly_the_members_of_the_rfc() {
        let jws = made("https://as.example/oauth/token?a=b#c", Some("n-1"), Some("access"));
        insta::assert_json_snapshot!(jws.header, @r#"
        {
          "alg": "ES256",
          "jwk": {
            "crv": "P-256",
            "kty": "EC",
            "x": "b_A7lJJBzh2t1DUZ5pYOCoW0GmmgXDKBA6orzhWUyhY",
            "y": "PE91OlW_AdxT9sCwx-7ni0DG_30lqW4igrmJzvccFEo"
          },
          "typ": "dpop+jwt"
        }
        "#);
        insta::assert_json_snapshot!(jws.claims, @r#"
        {
          "ath": "oFYf1knNtrqnhAVfBRuteW6gr-8X_KOCGVSd7rpOjBo",
          "htm": "POST",
          "htu": "https://as.example/oauth/token",
          "iat": 1700000000,
          "jti": "AgICAgICAgICAgICAgICAg",
          "nonce": "n-1"
        }
        "#);
    }

    #[test]
    fn without_nonce_and_access_token_their_claims_are_absent() {
        let claims = made("https://as.example/oauth/par", None, None).claims;
        assert!(!claims.contains_key("ath") && !claims.contains_key("nonce") && !claims.contains_key("iss"));
    }

    #[test]
    fn ath_matches_the_example_of_rfc_9449() {
        // RFC 9449 §7.1: the access token and its hash.
        let access_token = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";
        let claims = made("https://resource.example.org/protectedresource", None, Some(access_token)).claims;
        assert_eq!(claims["ath"], "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo");
    }

    #[test]
    fn htu_keeps_the_port_and_path_and_drops_the_rest() {
        let htu_of = |text| htu(&Url::parse(text).unwrap());
        assert_eq!(htu_of("https://u:p@PDS.example:8443/xrpc/a.b.c?x=1&y#f"), "https://pds.example:8443/xrpc/a.b.c");
        assert_eq!(htu_of("https://pds.example:443?x"), "https://pds.example/");
        assert_eq!(htu_of("http://localhost:2583/oauth/par"), "http://localhost:2583/oauth/par");
        assert_eq!(htu_of("https://[::1]:1/%22?q"), "https://[::1]:1/%22");
    }

    #[test]
    fn the_usual_targets_are_not_parsed() {
        for (target, plain) in [
            ("https://pds.example/xrpc/app.bsky.feed.getTimeline?limit=1", true),
            ("https://pds.example:8443/xrpc/a.b.c", true),
            ("http://127.0.0.1:2583/xrpc/a.b.c", true),
            ("https://pds.example", true),
            ("https://pds.example:443/xrpc/a.b.c", false),
            ("https://PDS.example/xrpc/a.b.c", false),
            ("https://pds.example/a/../b", false),
            ("https://pds.example/%7e", false),
            ("https://0x7f.1/", false),
            ("https://127.1/", false),
            ("https://xn--a.example/", false),
            ("https://user@pds.example/", false),
            ("https://[::1]/", false),
            ("/xrpc/a.b.c", false),
        ] {
            assert_eq!(htu_as_written(&target.parse().unwrap()).is_some(), plain, "{target}");
        }
    }

    proptest! {
        #[test]
        fn htu_is_the_url_without_query_fragment_and_credentials(
            host in "[a-z]{1,8}\\.example", path in "(/[!-~]{0,12}){0,3}", query in "[!-~]{0,16}",
        ) {
            let Ok(url) = Url::parse(&format!("https://user:pw@{host}{path}?{query}#{query}")) else { return Ok(()) };
            prop_assume!(url.host_str() == Some(&host));
            let mut bare = url.clone();
            bare.set_query(None);
            bare.set_fragment(None);
            bare.set_username("").unwrap();
            bare.set_password(None).unwrap();
            prop_assert_eq!(htu(&url), bare.as_str());
            prop_assert_eq!(htu(&Url::parse(&htu(&url)).unwrap()), htu(&url));
        }

        #[test]
        fn what_is_not_parsed_is_what_a_parser_would_give(
            scheme in "https?",
            host in "[a-z0-9.-]{1,10}|[0-9]{1,3}(\\.[0-9x]{1,3}){1,4}|\\[::1\\]|xn--[a-z0-9]{1,4}\\.example|u@[A-Z]b\\.de",
            port in "|:[0-9]{0,6}|:443|:80|:0[0-9]{1,3}",
            path in "(/[a-zA-Z0-9._%~:@!-]{0,6}){0,3}(/\\.\\.?)?|/xrpc/[a-z]{1,4}(\\.[a-zA-Z]{1,4}){2,3}",
            query in "|\\?[a-z=/.]{0,6}",
        ) {
            let text = format!("{scheme}://{host}{port}{path}{query}");
            let Ok(uri) = text.parse::<Uri>() else { return Ok(()) };
            let parsed = Url::parse(&uri.to_string()).ok().map(|url| htu(&url));
            prop_assert_eq!(htu_of(&uri), parsed);
        }

        #[test]
        fn claims_are_json_whatever_the_url(path in "\\PC{0,40}", nonce in "[!#-\\[\\]-~]{1,40}") {
            let mut url = Url::parse("https://pds.example/").unwrap();
            url.set_path(&path);
            let nonce = DpopNonce::parse(&nonce).unwrap();
            let text = claims(&Method::GET, &htu(&url), Timestamp::EPOCH, &[0; 16], Some(&nonce), None);
            let read: Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(read["nonce"].as_str(), Some(nonce.as_str()));
            prop_assert_eq!(read["htu"].as_str(), Some(url.as_str()));
        }
    }
}
