//! Discovery documents as whole servers publish them, and one fault at a time in them (security rows 7, 9, 16, 22 – 26).
#![expect(clippy::unwrap_used, reason = "tests")]

use bowerbird_oauth::{
    AuthorizationServerMetadata, Capability, EndpointError, EndpointRule, Issuer, MetadataError, Origin,
    ProtectedResourceMetadata, TransportPolicy,
};
use http::Response;
use proptest::prelude::*;
use serde_json::{Value, json};

const ENTRYWAY_AS: &str = include_str!("fixtures/entryway-authorization-server.json");
const ENTRYWAY_RS: &str = include_str!("fixtures/entryway-protected-resource.json");
const TESTNET_AS: &str = include_str!("fixtures/testnet-authorization-server.json");
const TESTNET_RS: &str = include_str!("fixtures/testnet-protected-resource.json");

fn https() -> TransportPolicy {
    TransportPolicy::https_only()
}

fn loopback() -> TransportPolicy {
    TransportPolicy::with_plain_http(["localhost:2583".to_owned()])
}

fn answer(body: &str) -> Response<Vec<u8>> {
    Response::builder().header("content-type", "application/json").body(body.as_bytes().to_vec()).unwrap()
}

fn parse(body: &Value, rule: EndpointRule) -> Result<AuthorizationServerMetadata, MetadataError> {
    let issuer = Issuer::parse("https://bsky.social", &https()).unwrap();
    AuthorizationServerMetadata::parse(&answer(&body.to_string()), &issuer, &https(), rule)
}

/// The entryway's document with one member set (or removed, for `null`), refused.
fn fault(member: &str, value: Value) -> MetadataError {
    let mut body: Value = serde_json::from_str(ENTRYWAY_AS).unwrap();
    if value.is_null() {
        body.as_object_mut().unwrap().remove(member).unwrap();
    } else {
        body[member] = value;
    }
    parse(&body, EndpointRule::SameOrigin).unwrap_err()
}

#[test]
fn a_pds_leads_to_its_shared_authorization_server() {
    let pds = Origin::parse("https://puffball.us-east.host.bsky.network", &https()).unwrap();
    let resource = ProtectedResourceMetadata::parse(&answer(ENTRYWAY_RS), &pds, &https()).unwrap();
    let issuer = resource.authorization_server();
    assert_eq!(
        AuthorizationServerMetadata::url(issuer).as_str(),
        "https://bsky.social/.well-known/oauth-authorization-server"
    );
    let metadata =
        AuthorizationServerMetadata::parse(&answer(ENTRYWAY_AS), issuer, &https(), EndpointRule::SameOrigin).unwrap();
    assert_eq!(metadata.issuer.as_str(), "https://bsky.social");
    assert_eq!(metadata.token_endpoint.url().as_str(), "https://bsky.social/oauth/token");
    assert_eq!(metadata.pushed_authorization_request_endpoint.url().path(), "/oauth/par");
    assert_eq!(metadata.revocation_endpoint.as_ref().unwrap().url().path(), "/oauth/revoke");
    metadata.check_resource(&pds).unwrap();
}

#[test]
fn the_test_network_works_over_listed_plain_http_only() {
    let pds = Origin::parse("http://localhost:2583", &loopback()).unwrap();
    let resource = ProtectedResourceMetadata::parse(&answer(TESTNET_RS), &pds, &loopback()).unwrap();
    let issuer = resource.authorization_server();
    let same = EndpointRule::SameOrigin;
    let metadata = AuthorizationServerMetadata::parse(&answer(TESTNET_AS), issuer, &loopback(), same).unwrap();
    metadata.check_resource(&pds).unwrap();
    let refused = ProtectedResourceMetadata::parse(&answer(TESTNET_RS), &pds, &https()).unwrap_err();
    assert!(matches!(refused, MetadataError::BadIssuer(_)));
    let refused = AuthorizationServerMetadata::parse(&answer(TESTNET_AS), issuer, &https(), same).unwrap_err();
    assert!(matches!(refused, MetadataError::Endpoint { source: EndpointError::NotHttps, .. }));
}

#[test]
fn row_22_the_issuer_must_be_the_one_that_was_fetched() {
    for issuer in ["https://bsky.social/", "https://BSKY.social", "https://bsky.social/x", "https://evil.example", ""] {
        assert!(matches!(fault("issuer", json!(issuer)), MetadataError::IssuerMismatch { .. }), "{issuer}");
    }
    assert_eq!(fault("issuer", Value::Null), MetadataError::Member("issuer"));
    assert_eq!(fault("issuer", json!(["https://bsky.social"])), MetadataError::Member("issuer"));
}

#[test]
fn rows_7_16_and_23_endpoints_stay_at_their_issuer() {
    for member in
        ["authorization_endpoint", "token_endpoint", "pushed_authorization_request_endpoint", "revocation_endpoint"]
    {
        for (url, source) in [
            ("https://honest.example/oauth/token", EndpointError::ForeignOrigin),
            ("https://bsky.social:8443/oauth/token", EndpointError::ForeignOrigin),
            ("http://bsky.social/oauth/token", EndpointError::NotHttps),
            ("javascript:alert(1)", EndpointError::NotHttps),
            ("data:text/html,x", EndpointError::NotHttps),
            ("file:///etc/passwd", EndpointError::NotHttps),
            ("https://user:pw@bsky.social/oauth/token", EndpointError::BadUrl),
            ("https://bsky.social/oauth/token#x", EndpointError::BadUrl),
            ("https://192.0.2.1/oauth/token", EndpointError::IpHost),
            ("", EndpointError::BadUrl),
        ] {
            let found = fault(member, json!(url));
            assert_eq!(found, MetadataError::Endpoint { member, source }, "{member} {url}");
        }
        assert!(matches!(fault(member, json!(5)), MetadataError::Member(_)), "{member}");
    }
    for member in ["authorization_endpoint", "token_endpoint", "pushed_authorization_request_endpoint"] {
        assert!(matches!(fault(member, Value::Null), MetadataError::Member(_)), "{member}");
    }
}

#[test]
fn foreign_endpoints_need_the_operators_word_and_stay_https() {
    let mut body: Value = serde_json::from_str(ENTRYWAY_AS).unwrap();
    body["token_endpoint"] = json!("https://tokens.example/oauth/token");
    assert!(parse(&body, EndpointRule::SameOrigin).is_err());
    assert!(parse(&body, EndpointRule::AnyOrigin).is_ok());
    body["token_endpoint"] = json!("http://tokens.example/oauth/token");
    assert!(parse(&body, EndpointRule::AnyOrigin).is_err());
}

#[test]
fn row_9_and_item_28_every_capability_is_needed() {
    use Capability as C;
    let cases = [
        ("response_types_supported", json!(["token"]), C::CodeResponse),
        ("grant_types_supported", json!(["refresh_token"]), C::CodeGrant),
        ("grant_types_supported", json!(["authorization_code"]), C::RefreshGrant),
        ("grant_types_supported", Value::Null, C::CodeGrant),
        ("code_challenge_methods_supported", json!(["plain"]), C::PkceS256),
        ("code_challenge_methods_supported", json!([]), C::PkceS256),
        ("code_challenge_methods_supported", Value::Null, C::PkceS256),
        ("token_endpoint_auth_methods_supported", json!(["private_key_jwt"]), C::PublicClients),
        ("token_endpoint_auth_methods_supported", json!(["none"]), C::ConfidentialClients),
        ("token_endpoint_auth_signing_alg_values_supported", json!(["RS256"]), C::AssertionEs256),
        ("token_endpoint_auth_signing_alg_values_supported", json!(["ES256", "none"]), C::AssertionEs256),
        ("scopes_supported", json!(["transition:generic"]), C::AtprotoScope),
        ("scopes_supported", Value::Null, C::AtprotoScope),
        ("dpop_signing_alg_values_supported", json!(["RS256"]), C::DpopEs256),
        ("dpop_signing_alg_values_supported", Value::Null, C::DpopEs256),
        ("authorization_response_iss_parameter_supported", json!(false), C::IssParameter),
        ("authorization_response_iss_parameter_supported", Value::Null, C::IssParameter),
        ("require_pushed_authorization_requests", json!(false), C::RequiredPar),
        ("require_pushed_authorization_requests", Value::Null, C::RequiredPar),
        ("client_id_metadata_document_supported", json!(false), C::ClientIdMetadataDocument),
        ("client_id_metadata_document_supported", Value::Null, C::ClientIdMetadataDocument),
        ("require_request_uri_registration", json!(false), C::RequestUriRegistration),
    ];
    for (member, value, capability) in cases {
        assert_eq!(fault(member, value.clone()), MetadataError::Unsupported(capability), "{member}: {value}");
    }
    for member in ["require_pushed_authorization_requests", "scopes_supported", "code_challenge_methods_supported"] {
        assert!(matches!(fault(member, json!("true")), MetadataError::Member(_)), "{member} of the wrong type");
    }
}

#[test]
fn what_is_optional_may_be_absent() {
    let mut body: Value = serde_json::from_str(ENTRYWAY_AS).unwrap();
    for member in ["revocation_endpoint", "require_request_uri_registration", "jwks_uri", "response_modes_supported"] {
        body.as_object_mut().unwrap().remove(member).unwrap();
    }
    body["scopes_supported"] = json!(["atproto"]);
    let metadata = parse(&body, EndpointRule::SameOrigin).unwrap();
    assert!(metadata.revocation_endpoint.is_none(), "and the transitional scopes need not be listed");
}

#[test]
fn row_25_a_list_of_resources_must_have_the_pds() {
    let pds = Origin::parse("https://pds.example", &https()).unwrap();
    let with = |resources: Value| {
        let mut body: Value = serde_json::from_str(ENTRYWAY_AS).unwrap();
        body["protected_resources"] = resources;
        parse(&body, EndpointRule::SameOrigin).unwrap().check_resource(&pds)
    };
    assert_eq!(with(json!(["https://other.example", "https://pds.example"])), Ok(()));
    for resources in [json!([]), json!(["https://other.example"]), json!(["https://pds.example/"])] {
        let refused = with(resources.clone()).unwrap_err();
        assert!(matches!(refused, MetadataError::ResourceNotListed { .. }), "{resources}");
    }
}

#[test]
fn row_26_other_answers_than_200_json_are_refused() {
    let issuer = Issuer::parse("https://bsky.social", &https()).unwrap();
    let read = |status: u16, content_type: &str, body: &str| {
        let answer = Response::builder().status(status).header("content-type", content_type).header("location", "/x");
        let answer = answer.body(body.as_bytes().to_vec()).unwrap();
        AuthorizationServerMetadata::parse(&answer, &issuer, &https(), EndpointRule::SameOrigin)
    };
    assert!(read(200, "application/json", ENTRYWAY_AS).is_ok());
    assert_eq!(read(302, "application/json", ENTRYWAY_AS), Err(MetadataError::NotOk(302)));
    assert_eq!(read(203, "application/json", ENTRYWAY_AS), Err(MetadataError::NotOk(203)));
    assert_eq!(read(200, "text/html", ENTRYWAY_AS), Err(MetadataError::NotJson));
    let twice = ENTRYWAY_AS.replacen('{', r#"{"issuer": "https://evil.example","#, 1);
    assert!(matches!(read(200, "application/json", &twice), Err(MetadataError::Malformed(_))));
}

proptest! {
    #[test]
    fn damaged_documents_never_panic(at in 0..ENTRYWAY_AS.len(), byte: u8, cut in 0..ENTRYWAY_AS.len()) {
        let issuer = Issuer::parse("https://bsky.social", &https()).unwrap();
        let mut damaged = ENTRYWAY_AS.as_bytes().to_vec();
        damaged[at] = byte;
        for body in [damaged, ENTRYWAY_AS.as_bytes()[..cut].to_vec()] {
            let answer = Response::builder().header("content-type", "application/json").body(body).unwrap();
            if let Ok(metadata) = AuthorizationServerMetadata::parse(&answer, &issuer, &https(), EndpointRule::SameOrigin) {
                prop_assert_eq!(metadata.issuer.as_str(), "https://bsky.social");
                prop_assert_eq!(Origin::of(metadata.token_endpoint.url()), Some(issuer.origin().clone()));
            }
        }
    }
}
