//! Signing in with an app password: the switch, the limits, and the words for what fails. The password passes through, and
//! nothing keeps it.

use std::net::IpAddr;

use bowerbird_atproto::{AppPasswordError, AppPasswords};
use bowerbird_core::{Account, DeviceSession, DeviceSessionId, LoginIdentifier, Secret};
use http::StatusCode;

use crate::arrival::Arrivals;
use crate::attempt_limits::{AttemptLimits, Counted, TooMany};
use crate::error::ApiError;
use crate::site::Site;

/// The longest password or code that is passed on, in bytes. App passwords have 19.
const MAX_SECRET_BYTES: usize = 512;
/// How long to wait when the account's server asks for that and does not say, in seconds.
const DEFAULT_RETRY_AFTER: u32 = 60;

/// Signs people in with app passwords. Cheap to clone.
#[derive(Clone)]
pub(crate) struct AppPasswordSignIns {
    site: Site,
    app_passwords: AppPasswords,
    limits: AttemptLimits,
    arrivals: Arrivals,
}

/// What a person gave.
pub(crate) struct Given<'a> {
    /// The account, as it was typed.
    pub(crate) identifier: &'a str,
    pub(crate) password: Secret,
    /// The code that the account's server sent by mail.
    pub(crate) auth_factor_token: Option<Secret>,
}

/// Who asks, and from where.
pub(crate) struct Asking {
    pub(crate) client: IpAddr,
    /// The device to add the account to; a new one otherwise.
    pub(crate) device: Option<DeviceSessionId>,
    pub(crate) device_name: String,
}

/// Somebody who is signed in now.
pub(crate) struct Arrived {
    pub(crate) account: Account,
    pub(crate) session: DeviceSession,
}

impl AppPasswordSignIns {
    pub(crate) fn new(site: Site, app_passwords: AppPasswords, limits: AttemptLimits, arrivals: Arrivals) -> Self {
        Self { site, app_passwords, limits, arrivals }
    }

    /// Refuses where app passwords are turned off. Accounts that signed in before go on working.
    pub(crate) fn check_turned_on(&self) -> Result<(), ApiError> {
        if self.site.app_passwords {
            return Ok(());
        }
        Err(ApiError::forbidden("app_passwords_off", "App passwords are turned off on this server")
            .with_hint("Sign in with your handle instead; the operator may set BOWERBIRD_APP_PASSWORDS=true"))
    }

    /// Signs in.
    pub(crate) async fn sign_in(&self, asking: Asking, given: Given<'_>) -> Result<Arrived, ApiError> {
        self.check_turned_on()?;
        let identifier = LoginIdentifier::parse(given.identifier).map_err(|error| {
            ApiError::bad_request("invalid_handle", "Invalid handle")
                .with_cause(error)
                .with_hint("Enter a handle such as alice.bsky.social, or a DID")
        })?;
        let password = passable("password", given.password)?;
        let code = given.auth_factor_token.map(|code| passable("authFactorToken", code)).transpose()?;
        self.limits.knock(asking.client, &identifier).await.map_err(too_many)?;
        let home = self.app_passwords.find(&identifier).await.map_err(refusal)?;
        self.arrivals.check_place(asking.device.as_ref(), home.did()).await?;
        self.limits.try_password(home.did()).await.map_err(too_many)?;
        let this = self.clone();
        // On a task of its own: a browser that goes away must not leave a session that no device holds.
        let task = tokio::spawn(async move {
            let login = this.app_passwords.sign_in(home, password, code).await.map_err(refusal)?;
            let session = this.arrivals.put(&login.account, asking.device.as_ref(), &asking.device_name).await?;
            Ok(Arrived { account: login.account, session })
        });
        task.await.map_err(ApiError::internal)?
    }
}

/// A secret without the spaces that come along when it is copied.
fn passable(name: &str, secret: Secret) -> Result<Secret, ApiError> {
    let trimmed = secret.expose().trim();
    if trimmed.is_empty() || trimmed.len() > MAX_SECRET_BYTES {
        let message = format!("`{name}` is empty, or longer than {MAX_SECRET_BYTES} bytes");
        return Err(ApiError::bad_request("invalid_request", message));
    }
    if trimmed.len() == secret.len() { Ok(secret) } else { Ok(Secret::new(trimmed)) }
}

fn too_many(refused: TooMany) -> ApiError {
    let message = match refused.counted {
        Counted::Network => "Too many attempts from your network",
        Counted::Account => "Too many attempts for that account",
        Counted::All => "Too many attempts with app passwords on this server",
    };
    ApiError::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", message)
        .with_hint("Nothing was sent. Wait, or sign in with your handle instead")
        .with_retry_after(refused.retry_after)
}

fn refusal(error: AppPasswordError) -> ApiError {
    let (status, code) = (error.status(), error.code());
    let mut answer = ApiError::new(status, code, error.to_string());
    match &error {
        AppPasswordError::RateLimited { retry_after_seconds } => {
            answer = answer.with_retry_after(retry_after_seconds.unwrap_or(DEFAULT_RETRY_AFTER).into());
        }
        _ if status == StatusCode::SERVICE_UNAVAILABLE => answer = answer.with_retry_after(5),
        _ => {}
    }
    if let Some(hint) = hint(code) {
        answer = answer.with_hint(hint);
    }
    answer.with_cause(error)
}

fn hint(code: &str) -> Option<&'static str> {
    Some(match code {
        "app_password_invalid" => "Check both; an app password looks like abcd-efgh-ijkl-mnop",
        "app_password_required" => {
            "Sign in with your handle instead, or make an app password in the settings of your account's server"
        }
        "auth_factor_token_required" => "Enter the code as well",
        "auth_factor_token_invalid" => "Leave the code empty to get another one by mail",
        "connected_by_oauth" => "Sign in with your handle instead",
        "account_taken_down" => "Only the account's server can lift that",
        "pds_unreachable" => "Try again in a moment",
        "pds_response_invalid" => "The operator of the account's server can correct that",
        "identity_unresolvable" => "Check the spelling; if it is right, try again in a moment",
        "invalid_handle" => "Check the spelling; a handle looks like alice.bsky.social",
        "ambiguous_handle" => "The handle's DNS records and website disagree; its owner must correct one of them",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_around_a_password_are_dropped_and_it_has_an_end() {
        let pass = |text: &str| passable("password", Secret::new(text));
        assert!(pass(" abcd-efgh-ijkl-mnop\n").unwrap().matches("abcd-efgh-ijkl-mnop"));
        assert!(pass("with a space").unwrap().matches("with a space"));
        for bad in ["", " \t", &"x".repeat(513)] {
            let error = pass(bad).unwrap_err();
            assert_eq!(error.code, "invalid_request");
            assert!(!error.to_json("r").contains("xxxx"), "what was typed is not repeated");
        }
    }
}
