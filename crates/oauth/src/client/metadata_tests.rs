use super::*;
use crate::{client::ClientIdError, scope::ScopeError};

fn client_id() -> ClientId {
    ClientId::parse("https://app.bower.example/oauth-client-metadata.json").unwrap()
}

fn scope() -> ScopeSet {
    ScopeSet::parse_requested("atproto transition:generic").unwrap()
}

fn redirect() -> Vec<String> {
    vec!["https://app.bower.example/oauth/callback".to_owned()]
}

fn description() -> ClientDescription {
    ClientDescription {
        client_name: Some("Bower".to_owned()),
        client_uri: Some("https://app.bower.example".to_owned()),
        logo_uri: Some("https://cdn.example/logo.png".to_owned()),
        policy_uri: Some("https://app.bower.example/privacy".to_owned()),
        tos_uri: None,
    }
}

fn confidential() -> ClientMetadata {
    let jwks_uri = "https://app.bower.example/oauth/jwks.json".to_owned();
    ClientMetadata::web_confidential(&client_id(), redirect(), &scope(), description(), jwks_uri).unwrap()
}

#[test]
fn a_confidential_web_client_on_the_wire() {
    insta::assert_json_snapshot!(confidential(), @r#"
    {
      "client_id": "https://app.bower.example/oauth-client-metadata.json",
      "client_name": "Bower",
      "client_uri": "https://app.bower.example",
      "logo_uri": "https://cdn.example/logo.png",
      "policy_uri": "https://app.bower.example/privacy",
      "redirect_uris": [
        "https://app.bower.example/oauth/callback"
      ],
      "scope": "atproto transition:generic",
      "grant_types": [
        "authorization_code",
        "refresh_token"
      ],
      "response_types": [
        "code"
      ],
      "application_type": "web",
      "token_endpoint_auth_method": "private_key_jwt",
      "token_endpoint_auth_signing_alg": "ES256",
      "jwks_uri": "https://app.bower.example/oauth/jwks.json",
      "dpop_bound_access_tokens": true
    }
    "#);
}

#[test]
fn a_public_web_client_names_no_keys() {
    let metadata = ClientMetadata::web_public(&client_id(), redirect(), &scope(), description()).unwrap();
    let json = serde_json::to_value(&metadata).unwrap();
    assert_eq!(json["token_endpoint_auth_method"], "none");
    assert!(json.get("jwks_uri").is_none() && json.get("token_endpoint_auth_signing_alg").is_none());
    assert_eq!(serde_json::from_value::<ClientMetadata>(json).unwrap(), metadata);
}

#[test]
fn a_loopback_client_lives_in_its_client_id() {
    let metadata = ClientMetadata::loopback(vec!["http://127.0.0.1:18080/cb".to_owned()], &scope()).unwrap();
    insta::assert_snapshot!(metadata.client_id, @"http://localhost?redirect_uri=http%3A%2F%2F127.0.0.1%3A18080%2Fcb&scope=atproto%20transition%3Ageneric");
    assert_eq!(metadata.application_type, ApplicationType::Native);
    assert!(ClientMetadata::loopback(vec!["http://[::1]:9/cb".to_owned()], &scope()).is_ok());
}

#[test]
fn loopback_redirects_name_the_address() {
    for uri in
        ["http://localhost:8080/cb", "https://127.0.0.1/cb", "http://127.0.0.2/cb", "http://192.0.2.1/", "app:/cb", "x"]
    {
        let refused = ClientMetadata::loopback(vec![uri.to_owned()], &scope()).unwrap_err();
        assert!(matches!(refused, ClientMetadataError::RedirectUri { .. }), "{uri}");
    }
}

#[test]
fn web_redirects_are_https() {
    let with = |uri: &str| ClientMetadata::web_public(&client_id(), vec![uri.to_owned()], &scope(), description());
    for good in [
        "https://app.bower.example/cb",
        "https://elsewhere.example:8443/cb?x=1",
        "https://APP.bower.example/cb?port=:443",
    ] {
        assert!(with(good).is_ok(), "{good}");
    }
    for bad in [
        "http://app.bower.example/cb",
        "http://127.0.0.1/cb",
        "https://app.bower.example:443/cb",
        "https://u:p@app.bower.example/cb",
        "https://app.bower.example/cb#x",
        "example.bower.app:/cb",
        "javascript:alert(1)",
        "/cb",
    ] {
        assert!(matches!(with(bad), Err(ClientMetadataError::RedirectUri { .. })), "{bad}");
    }
}

#[test]
fn native_redirects_belong_to_the_client_id() {
    let with = |uri: &str| ClientMetadata::native(&client_id(), vec![uri.to_owned()], &scope(), description());
    for good in ["example.bower.app:/cb", "https://app.bower.example/open"] {
        assert!(with(good).is_ok(), "{good}");
    }
    for bad in [
        "example.bower.app://cb",
        "example.bower.app:cb",
        "app.bower.example:/cb",
        "myapp:/cb",
        "https://bower.example/open",
        "https://app.bower.example:8443/open",
        "http://localhost/cb",
        "http://127.0.0.1/cb",
        "https://app.bower.example:443/open",
    ] {
        assert!(matches!(with(bad), Err(ClientMetadataError::RedirectUri { .. })), "{bad}");
    }
}

#[test]
fn every_other_rule_has_its_refusal() {
    let change = |edit: &dyn Fn(&mut ClientMetadata)| {
        let mut metadata = confidential();
        edit(&mut metadata);
        metadata.validate().unwrap_err()
    };
    assert_eq!(change(&|m| m.client_id = "https://a.example".into()), ClientIdError::NotCanonical.into());
    assert_eq!(change(&|m| m.scope = "transition:generic".into()), ScopeError::AtprotoMissing.into());
    assert_eq!(change(&|m| m.dpop_bound_access_tokens = false), ClientMetadataError::NotDpopBound);
    assert_eq!(change(&|m| m.grant_types.retain(|g| g == "refresh_token")), ClientMetadataError::NoCodeGrant);
    assert_eq!(change(&|m| m.response_types.clear()), ClientMetadataError::NoCodeResponse);
    assert_eq!(change(&|m| m.redirect_uris.clear()), ClientMetadataError::NoRedirectUri);
    assert_eq!(change(&|m| m.jwks_uri = None), ClientMetadataError::NoJwksUri);
    assert_eq!(change(&|m| m.token_endpoint_auth_signing_alg = None), ClientMetadataError::NoSigningAlgorithm);
    let none = |m: &mut ClientMetadata| m.token_endpoint_auth_signing_alg = Some("none".into());
    assert_eq!(change(&none), ClientMetadataError::NoSigningAlgorithm);
    let public = |m: &mut ClientMetadata| m.token_endpoint_auth_method = TokenEndpointAuthMethod::None;
    assert_eq!(change(&public), ClientMetadataError::PublicWithKeys);
    let elsewhere = |m: &mut ClientMetadata| m.client_uri = Some("https://bower.example".into());
    assert_eq!(change(&elsewhere), ClientMetadataError::ClientUriHost);
    for (member, edit) in [
        ("client_uri", (|m| m.client_uri = Some("http://app.bower.example".into())) as fn(&mut ClientMetadata)),
        ("logo_uri", |m| m.logo_uri = Some("http://cdn.example/x".into())),
        ("policy_uri", |m| m.policy_uri = Some("javascript:alert(1)".into())),
        ("tos_uri", |m| m.tos_uri = Some("nonsense".into())),
        ("jwks_uri", |m| m.jwks_uri = Some("http://app.bower.example/jwks".into())),
    ] {
        assert_eq!(change(&edit), ClientMetadataError::LinkNotHttps { member });
    }
    let loopback = |m: &mut ClientMetadata| m.client_id = "http://localhost".into();
    assert!(matches!(change(&loopback), ClientMetadataError::ClientUriHost | ClientMetadataError::LoopbackKind));
    let mut bare = confidential();
    bare.client_id = "http://localhost".into();
    bare.client_uri = None;
    assert_eq!(bare.validate().unwrap_err(), ClientMetadataError::LoopbackKind);
}
