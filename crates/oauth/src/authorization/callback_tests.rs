use proptest::prelude::*;

use super::*;
use crate::TransportPolicy;

fn issuer() -> Issuer {
    Issuer::parse("https://as.example", &TransportPolicy::https_only()).unwrap()
}

#[test]
fn consent_brings_state_code_and_issuer() {
    let params = CallbackParams::parse("iss=https%3A%2F%2Fas.example&state=st&code=cod-1").unwrap();
    params.check_issuer(&issuer()).unwrap();
    let CallbackParams::Granted { state, code, .. } = params else { panic!("granted") };
    assert!(state.matches("st") && code.matches("cod-1"));
}

#[test]
fn refusal_needs_no_code() {
    let query =
        "state=st&iss=https%3A%2F%2Fas.example&error=access_denied&error_description=The+user+rejected+the+request";
    let params = CallbackParams::parse(query).unwrap();
    params.check_issuer(&issuer()).unwrap();
    let CallbackParams::Refused { error, description, .. } = params else { panic!("refused") };
    assert_eq!(error, TokenErrorCode::AccessDenied);
    assert_eq!(description.as_deref(), Some("The user rejected the request"));
}

#[test]
fn descriptions_are_cut_and_lose_control_characters() {
    let query = format!("state=s&error=x%0d%0ay&error_description=%3Cb%3E%0d%0a{}", "a".repeat(10_000));
    let CallbackParams::Refused { error, description, .. } = CallbackParams::parse(&query).unwrap() else {
        panic!("refused")
    };
    assert_eq!(error, TokenErrorCode::Other("xy".to_owned()));
    let description = description.unwrap();
    assert_eq!(description.chars().count(), 200);
    assert!(description.starts_with("<b>aaa"));
}

#[test]
fn the_issuer_is_compared_byte_by_byte() {
    for (query, fault) in [
        ("state=s&code=c", "missing"),
        ("state=s&error=access_denied", "missing"),
        ("state=s&code=c&iss=", "mismatch"),
        ("state=s&code=c&iss=https%3A%2F%2Fas.example%2F", "mismatch"),
        ("state=s&code=c&iss=https%3A%2F%2FAS.example", "mismatch"),
        ("state=s&code=c&iss=https%3A%2F%2Fas.example%00", "match after cleaning is not wanted"),
        ("state=s&code=c&iss=https%3A%2F%2Fevil.example", "mismatch"),
        ("state=s&error=access_denied&iss=https%3A%2F%2Fevil.example", "mismatch"),
    ] {
        let found = CallbackParams::parse(query).unwrap().check_issuer(&issuer());
        match fault {
            "missing" => assert_eq!(found, Err(IssuerCheckError::Missing), "{query}"),
            _ => assert!(matches!(found, Err(IssuerCheckError::Mismatch { .. })), "{query}"),
        }
    }
}

#[test]
fn duplicates_arrays_and_jarm_are_refused() {
    for query in
        ["state=a&state=b&code=c", "state=a&code=c&code=d", "state=a&code=c&iss=x&iss=x", "state=a&stat%65=b&code=c"]
    {
        assert!(matches!(CallbackParams::parse(query), Err(CallbackError::Duplicate { .. })), "{query}");
    }
    for query in ["state[]=a&code=c", "state=a&code%5B%5D=c", "state[x]=a&code=c"] {
        assert!(matches!(CallbackParams::parse(query), Err(CallbackError::Array { .. })), "{query}");
    }
    for query in ["response=eyJ.eyJ.x", "state=a&code=c&response=x"] {
        assert!(matches!(CallbackParams::parse(query), Err(CallbackError::Jarm)), "{query}");
    }
    let long = format!("state=a&code=c&x={}", "x".repeat(MAX_QUERY));
    assert!(matches!(CallbackParams::parse(&long), Err(CallbackError::TooLong)));
}

#[test]
fn a_callback_without_usable_state_is_refused() {
    let long = format!("state={}&code=c", "s".repeat(MAX_STATE + 1));
    for query in ["", "code=c", "state=&code=c", "State=a&code=c", "state=a%00&code=c", "state=%ff&code=c", &long] {
        let refused = CallbackParams::parse(query).unwrap_err();
        assert!(matches!(refused, CallbackError::StateMissing), "{query}");
        assert!(refused.state().is_none());
    }
}

#[test]
fn code_and_error_together_end_the_login() {
    let refused = CallbackParams::parse("state=st&code=c&error=access_denied").unwrap_err();
    assert!(matches!(refused, CallbackError::CodeAndError { .. }));
    assert!(refused.state().unwrap().matches("st"), "so that the caller can end the login");
    let long = format!("state=st&code={}", "c".repeat(MAX_CODE + 1));
    for query in ["state=st", "state=st&code=", "state=st&error=", "state=st&code=a%0d%0ab", &long] {
        let refused = CallbackParams::parse(query).unwrap_err();
        assert!(matches!(refused, CallbackError::NeitherCodeNorError { .. }), "{query}");
        assert!(refused.state().unwrap().matches("st"));
    }
}

#[test]
fn errors_and_debug_show_no_code_and_no_state() {
    let params = CallbackParams::parse("state=CANARY1&code=CANARY2&iss=x").unwrap();
    assert!(!format!("{params:?}").contains("CANARY"));
    let refused = CallbackParams::parse("state=CANARY&code=c&error=e").unwrap_err();
    assert!(!format!("{refused:?} {refused}").contains("CANARY"));
}

proptest! {
    #[test]
    fn parsing_never_panics(query: String, pairs in "((state|code|error|iss|response|x)(\\[\\])?=[%a-f0-9]{0,9}&){0,6}") {
        let _read = CallbackParams::parse(&query);
        let _read = CallbackParams::parse(&pairs);
    }

    #[test]
    fn what_a_server_writes_is_what_is_read(state in "[!-~]{1,64}", code in "[!-~]{1,64}", iss in "[!-~]{0,64}") {
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("iss", &iss).append_pair("state", &state).append_pair("code", &code).finish();
        let Ok(CallbackParams::Granted { state: read_state, code: read_code, iss: read_iss }) = CallbackParams::parse(&query) else {
            return Err(TestCaseError::fail("granted"));
        };
        prop_assert!(read_state.matches(&state) && read_code.matches(&code));
        prop_assert_eq!(read_iss, Some(iss));
    }
}
