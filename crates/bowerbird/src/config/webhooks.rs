//! Where webhooks go and what signs them; what the operator's listener asks for.

use bowerbird_core::Secret;
use bowerbird_events::{EVENT_TYPES, WebhookConfig, WebhookSecret};
use url::Url;

use super::{ConfigError, Settings, Values};

/// A token shorter than this could be guessed.
const TOKEN_CHARACTERS: usize = 32;

/// What is told to whom. No message shows an address: it may hold a secret.
pub(crate) fn webhooks(values: &Values, settings: &Settings) -> Result<WebhookConfig, ConfigError> {
    const ADDRESS: &str = "BOWERBIRD_WEBHOOK_URL";
    const SECRET: &str = "BOWERBIRD_WEBHOOK_SECRET";
    const TYPES: &str = "BOWERBIRD_WEBHOOK_EVENTS";
    let mut addresses = Vec::new();
    for (number, text) in (1..).zip(values.list(ADDRESS)) {
        let refused = |problem: &str| ConfigError::named(ADDRESS, format!("address {number} {problem}"));
        let mut url = Url::parse(text).map_err(|_| refused("is no URL"))?;
        if !may_be_called(&url, &settings.egress_allow) {
            return Err(refused("must be https, without a password, or its host:port in BOWERBIRD_EGRESS_ALLOW"));
        }
        url.set_fragment(None);
        addresses.push(url.as_str().parse().map_err(|_| refused("is no URL"))?);
    }
    let mut secrets = Vec::new();
    for text in values.list(SECRET) {
        secrets.push(WebhookSecret::parse(text).map_err(|error| ConfigError::named(SECRET, error.to_string()))?);
    }
    if secrets.is_empty() && !addresses.is_empty() {
        let problem =
            "it is not set, and BOWERBIRD_WEBHOOK_URL is; make one with `bowerbird keys generate webhook-secret`";
        return Err(ConfigError::named(SECRET, problem));
    }
    let types: Vec<String> = values.list(TYPES).into_iter().map(str::to_owned).collect();
    if let Some(unknown) = types.iter().find(|kind| !EVENT_TYPES.contains(&kind.as_str())) {
        let known = EVENT_TYPES.join(", ");
        return Err(ConfigError::named(TYPES, format!("there is no type `{unknown}`; the types are {known}")));
    }
    Ok(WebhookConfig { addresses, secrets, types })
}

/// What the operator's listener asks for.
pub(crate) fn admin_token(values: &Values) -> Result<Option<Secret>, ConfigError> {
    const NAME: &str = "BOWERBIRD_ADMIN_TOKEN";
    let Some(token) = values.get(NAME) else { return Ok(None) };
    if token.len() < TOKEN_CHARACTERS || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(ConfigError::named(NAME, "it needs 32 characters or more, all of them printable ASCII"));
    }
    Ok(Some(Secret::new(token)))
}

/// Whether it may be called at all; whether its host is public is found out when it is called.
fn may_be_called(url: &Url, egress_allow: &[String]) -> bool {
    let bare = url.username().is_empty() && url.password().is_none() && url.host().is_some();
    let listed = || {
        let (host, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default());
        let named = format!("{host}:{port}");
        egress_allow.iter().any(|entry| entry.eq_ignore_ascii_case(&named))
    };
    bare && (url.scheme() == "https" || url.scheme() == "http" && listed())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn read(pairs: &[(&str, &str)]) -> Result<WebhookConfig, ConfigError> {
        let lookup = |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        let values = Values::gather(&|_| None, &lookup, None)?;
        webhooks(&values, &Settings::from_values(&values)?)
    }

    #[test]
    fn nothing_is_told_to_nobody_and_every_address_is_told_the_default_types() {
        assert!(read(&[]).unwrap().addresses.is_empty());
        let addresses = "https://a.example/hook?key=1,http://localhost:9000/hook#x";
        let config = read(&[
            ("BOWERBIRD_WEBHOOK_URL", addresses),
            ("BOWERBIRD_WEBHOOK_SECRET", SECRET),
            ("BOWERBIRD_EGRESS_ALLOW", "localhost:9000"),
        ])
        .unwrap();
        assert_eq!(config.addresses, ["https://a.example/hook?key=1", "http://localhost:9000/hook"]);
        assert!(
            config.types.iter().any(|kind| kind == "needs_reauth")
                && !config.types.iter().any(|kind| kind == "refreshed")
        );
    }

    #[test]
    fn bad_values_name_their_variable_and_show_no_secret() {
        let address = ("BOWERBIRD_WEBHOOK_URL", "https://a.example/canary");
        let secret = ("BOWERBIRD_WEBHOOK_SECRET", SECRET);
        for (pairs, name) in [
            (vec![address], "BOWERBIRD_WEBHOOK_SECRET"),
            (vec![address, ("BOWERBIRD_WEBHOOK_SECRET", "canary")], "BOWERBIRD_WEBHOOK_SECRET"),
            (vec![("BOWERBIRD_WEBHOOK_URL", "http://a.example/canary"), secret], "BOWERBIRD_WEBHOOK_URL"),
            (vec![("BOWERBIRD_WEBHOOK_URL", "https://canary@a.example/"), secret], "BOWERBIRD_WEBHOOK_URL"),
            (vec![("BOWERBIRD_WEBHOOK_URL", "canary"), secret], "BOWERBIRD_WEBHOOK_URL"),
            (vec![address, secret, ("BOWERBIRD_WEBHOOK_EVENTS", "refreshd")], "BOWERBIRD_WEBHOOK_EVENTS"),
        ] {
            let Err(error) = read(&pairs) else { panic!("{pairs:?}") };
            assert!(matches!(error, ConfigError::Invalid { name: named, .. } if named == name), "{pairs:?}: {error}");
            assert!(!error.to_string().contains("canary"), "{error}");
        }
    }

    #[test]
    fn a_token_is_long_and_fits_a_header() {
        let token = |value: &str| {
            let lookup = |name: &str| (name == "BOWERBIRD_ADMIN_TOKEN").then(|| value.to_owned());
            admin_token(&Values::gather(&|_| None, &lookup, None).unwrap())
        };
        assert!(token("0123456789abcdef0123456789abcdef").unwrap().is_some());
        assert!(token("short").is_err());
        assert!(token("0123456789abcdef 0123456789abcdef").is_err());
    }
}
