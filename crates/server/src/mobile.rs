//! What the operator says about apps: where they wait, and what they are given (DECISIONS 2).

use bowerbird_core::{AppReturn, HandoffForm};
use bowerbird_oauth::challenge_is_well_formed;

use crate::app_address::AppAddress;
use crate::error::ApiError;

/// What an app is given at the end of a sign-in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HandoffMode {
    /// A code to those that say `code_challenge_method=S256`, the session itself to those of the older contract.
    #[default]
    Auto,
    /// Always a code.
    Code,
    /// The session itself to whoever starts by the older route.
    SessionToken,
}

/// An Android app that the domain stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AndroidApp {
    /// Its package, such as `org.example.app`.
    pub package: String,
    /// The SHA-256 fingerprints of the certificates that sign it, in upper-case hexadecimal with colons.
    pub fingerprints: Vec<String>,
}

/// The settings for apps.
#[derive(Clone, Debug, Default)]
pub struct MobileConfig {
    /// Where apps wait; the first one unless a client names another.
    pub addresses: Vec<AppAddress>,
    /// What they are given.
    pub handoff: HandoffMode,
    /// For `/.well-known/assetlinks.json`.
    pub android_apps: Vec<AndroidApp>,
    /// For `/.well-known/apple-app-site-association`: `TEAMID.bundle.id`.
    pub apple_apps: Vec<String>,
}

/// What an app says when it starts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AppStart<'a> {
    pub(crate) code_challenge: Option<&'a str>,
    pub(crate) code_challenge_method: Option<&'a str>,
    pub(crate) redirect_uri: Option<&'a str>,
}

impl MobileConfig {
    /// The end of a sign-in that was begun by the older route, which asks for a challenge.
    pub(crate) fn by_mobile_start(&self, start: AppStart<'_>) -> Result<AppReturn, ApiError> {
        let address = self.address(start.redirect_uri)?;
        let Some(challenge) = start.code_challenge else {
            return Err(ApiError::bad_request("challenge_invalid", "The app sent no code_challenge")
                .with_hint("Send the S256 challenge of a fresh verifier, with code_challenge_method=S256"));
        };
        let challenge = checked(challenge, start.code_challenge_method)?;
        let wants_code = match self.handoff {
            HandoffMode::Auto => start.code_challenge_method.is_some(),
            HandoffMode::Code => true,
            HandoffMode::SessionToken => false,
        };
        if wants_code {
            return Ok(app(address, HandoffForm::Code { challenge: Some(challenge) }));
        }
        session(address)
    }

    /// The end of a sign-in that was begun by a link or a form. Apps of the older contract may send no challenge here.
    pub(crate) fn by_link(&self, start: AppStart<'_>) -> Result<AppReturn, ApiError> {
        let asks_for_code = start.code_challenge.is_some() || start.code_challenge_method.is_some();
        if asks_for_code || self.handoff == HandoffMode::Code {
            return self.by_mobile_start(start);
        }
        session(self.address(start.redirect_uri)?)
    }

    /// The end of a sign-in that was begun by the newer route: always a code.
    pub(crate) fn by_start(&self, start: AppStart<'_>) -> Result<AppReturn, ApiError> {
        let address = self.address(start.redirect_uri)?;
        let challenge =
            start.code_challenge.map(|challenge| checked(challenge, start.code_challenge_method)).transpose()?;
        if challenge.is_none() && start.code_challenge_method.is_some() {
            return Err(ApiError::bad_request(
                "challenge_invalid",
                "The app sent a code_challenge_method and no challenge",
            ));
        }
        Ok(app(address, HandoffForm::Code { challenge }))
    }

    fn address(&self, wanted: Option<&str>) -> Result<&AppAddress, ApiError> {
        let found = match wanted {
            None => self.addresses.first(),
            Some(wanted) => self.addresses.iter().find(|address| address.as_str() == wanted),
        };
        found.ok_or_else(|| {
            ApiError::bad_request("redirect_not_registered", "That is not the address of an app of this server")
                .with_hint("The operator lists the addresses of apps in BOWERBIRD_MOBILE_SCHEME")
        })
    }
}

/// The session itself, which is not for an address on the web.
fn session(address: &AppAddress) -> Result<AppReturn, ApiError> {
    if address.is_link() {
        // A link that no app takes is opened as a web page: the session would be in that server's log.
        return Err(ApiError::bad_request("challenge_invalid", "An https app link is given a code, never the session")
            .with_hint("Send code_challenge_method=S256 with the challenge, and exchange the code"));
    }
    Ok(app(address, HandoffForm::Session))
}

fn app(address: &AppAddress, form: HandoffForm) -> AppReturn {
    AppReturn { address: address.as_str().to_owned(), form }
}

fn checked(challenge: &str, method: Option<&str>) -> Result<String, ApiError> {
    if method.is_some_and(|method| method != "S256") {
        return Err(ApiError::bad_request("challenge_invalid", "Only the code_challenge_method S256 is supported"));
    }
    if !challenge_is_well_formed(challenge) {
        return Err(ApiError::bad_request("challenge_invalid", "The code_challenge is not one of S256")
            .with_hint("It is the base64url of the SHA-256 of the verifier: 43 characters"));
    }
    Ok(challenge.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    fn config(handoff: HandoffMode) -> MobileConfig {
        let addresses = ["app://auth-callback", "limit://auth", "https://app.example.org/auth"];
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        MobileConfig { addresses, handoff, ..MobileConfig::default() }
    }

    fn legacy() -> AppStart<'static> {
        AppStart { code_challenge: Some(CHALLENGE), ..AppStart::default() }
    }

    fn right() -> AppStart<'static> {
        AppStart { code_challenge_method: Some("S256"), ..legacy() }
    }

    #[test]
    fn the_older_contract_gets_the_session_unless_the_operator_says_no() {
        let form = |mode, start| config(mode).by_mobile_start(start).unwrap().form;
        let code = HandoffForm::Code { challenge: Some(CHALLENGE.to_owned()) };
        assert_eq!(form(HandoffMode::Auto, legacy()), HandoffForm::Session);
        assert_eq!(form(HandoffMode::Auto, right()), code);
        assert_eq!(form(HandoffMode::Code, legacy()), code);
        assert_eq!(form(HandoffMode::SessionToken, right()), HandoffForm::Session);
    }

    #[test]
    fn the_newer_route_gives_a_code_in_every_mode() {
        for mode in [HandoffMode::Auto, HandoffMode::Code, HandoffMode::SessionToken] {
            let form = |start| config(mode).by_start(start).unwrap().form;
            assert_eq!(form(AppStart::default()), HandoffForm::Code { challenge: None });
            assert_eq!(form(legacy()), HandoffForm::Code { challenge: Some(CHALLENGE.to_owned()) });
        }
    }

    #[test]
    fn row_63_an_address_is_one_of_the_operators_letter_by_letter() {
        let config = config(HandoffMode::Auto);
        let at = |address| config.by_start(AppStart { redirect_uri: Some(address), ..right() });
        assert_eq!(at("limit://auth").unwrap().address, "limit://auth");
        assert_eq!(config.by_start(right()).unwrap().address, "app://auth-callback", "the first one by itself");
        for foreign in [
            "javascript:alert(1)",
            "intent://auth#Intent;scheme=limit;end",
            "limit://auth/",
            "limit://auth?x",
            "LIMIT://auth",
            "limit://auth.evil",
            "evil://auth",
            "https://evil.example/auth",
            "https://app.example.org/auth/",
            " limit://auth",
            "limit:auth",
            "//limit",
            "",
            "app://auth-callback#",
            "app://auth-callback%00",
        ] {
            assert_eq!(at(foreign).unwrap_err().code, "redirect_not_registered", "{foreign}");
        }
    }

    #[test]
    fn a_challenge_is_s256_or_nothing() {
        let config = config(HandoffMode::Auto);
        for (challenge, method) in [
            (Some("short"), Some("S256")),
            (Some(CHALLENGE), Some("plain")),
            (Some(CHALLENGE), Some("s256")),
            (Some(""), None),
            (None, Some("S256")),
        ] {
            let start = AppStart { code_challenge: challenge, code_challenge_method: method, redirect_uri: None };
            assert_eq!(config.by_mobile_start(start).unwrap_err().code, "challenge_invalid", "{start:?}");
            assert_eq!(config.by_start(start).unwrap_err().code, "challenge_invalid", "{start:?}");
        }
        let link = AppStart { redirect_uri: Some("https://app.example.org/auth"), ..legacy() };
        assert_eq!(config.by_mobile_start(link).unwrap_err().code, "challenge_invalid", "no session in a web address");
    }
}
