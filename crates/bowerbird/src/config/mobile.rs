//! What is said about apps.

use bowerbird_server::{AndroidApp, AppAddress, HandoffMode, MobileConfig};

use super::{ConfigError, Values};

const SCHEME: &str = "BOWERBIRD_MOBILE_SCHEME";
const HANDOFF: &str = "BOWERBIRD_MOBILE_HANDOFF";
const ANDROID: &str = "BOWERBIRD_ANDROID_APPS";
const APPLE: &str = "BOWERBIRD_APPLE_APPS";

/// Reads and checks the settings for apps.
pub(super) fn mobile(values: &Values) -> Result<MobileConfig, ConfigError> {
    let address =
        |part: &str| part.parse::<AppAddress>().map_err(|error| ConfigError::named(SCHEME, error.to_string()));
    let addresses: Vec<AppAddress> = values.list(SCHEME).into_iter().map(address).collect::<Result<_, _>>()?;
    let Some(first) = addresses.first() else {
        return Err(ConfigError::named(SCHEME, "write at least one address such as myapp://auth-callback"));
    };
    let handoff = match values.get(HANDOFF).unwrap_or_default() {
        "auto" => HandoffMode::Auto,
        "code" => HandoffMode::Code,
        "session_token" if first.is_link() => {
            let problem = "`session_token` needs a custom scheme first in BOWERBIRD_MOBILE_SCHEME: an https app link is given codes only";
            return Err(ConfigError::named(HANDOFF, problem));
        }
        "session_token" => HandoffMode::SessionToken,
        _ => return Err(ConfigError::named(HANDOFF, "write one of `auto`, `code`, `session_token`")),
    };
    Ok(MobileConfig { addresses, handoff, android_apps: android_apps(values)?, apple_apps: apple_apps(values)? })
}

fn android_apps(values: &Values) -> Result<Vec<AndroidApp>, ConfigError> {
    let problem = || {
        ConfigError::named(
            ANDROID,
            "write package=fingerprint, such as org.example.app=14:6D:E9:…: 32 bytes in upper-case hexadecimal, with colons",
        )
    };
    let mut apps: Vec<AndroidApp> = Vec::new();
    for entry in values.list(ANDROID) {
        let (package, fingerprint) = entry.split_once('=').ok_or_else(problem)?;
        let (package, fingerprint) = (package.trim(), fingerprint.trim());
        let name = |part: &str| {
            part.starts_with(|c: char| c.is_ascii_alphabetic())
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        };
        let byte = |part: &str| part.len() == 2 && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F'));
        let is_package = package.contains('.') && package.split('.').all(name);
        if !is_package || fingerprint.split(':').count() != 32 || !fingerprint.split(':').all(byte) {
            return Err(problem());
        }
        match apps.iter_mut().find(|app| app.package == package) {
            Some(app) => app.fingerprints.push(fingerprint.to_owned()),
            None => apps.push(AndroidApp { package: package.to_owned(), fingerprints: vec![fingerprint.to_owned()] }),
        }
    }
    Ok(apps)
}

fn apple_apps(values: &Values) -> Result<Vec<String>, ConfigError> {
    let check = |entry: &str| {
        let (team, bundle) = entry.split_once('.')?;
        let is_team = team.len() == 10 && team.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        let is_bundle = !bundle.is_empty()
            && bundle.split('.').all(|part| !part.is_empty())
            && bundle.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'));
        (is_team && is_bundle).then(|| entry.to_owned())
    };
    let problem = || ConfigError::named(APPLE, "write TEAMID.bundle.id, such as ABCDE12345.org.example.app");
    values.list(APPLE).into_iter().map(|entry| check(entry).ok_or_else(problem)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINGERPRINT: &str =
        "14:6D:E9:83:C5:73:06:50:D8:EE:B9:95:2F:34:FC:64:16:A0:83:42:E6:1D:BE:A8:8A:04:96:B2:3F:CF:44:E5";

    fn read(pairs: &[(&str, &str)]) -> Result<MobileConfig, ConfigError> {
        let lookup = |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        mobile(&Values::gather(&|_| None, &lookup, None)?)
    }

    #[test]
    fn the_defaults_serve_the_documented_scheme() {
        let config = read(&[]).unwrap();
        assert_eq!(config.addresses.iter().map(AppAddress::as_str).collect::<Vec<_>>(), ["app://auth-callback"]);
        assert_eq!(config.handoff, HandoffMode::Auto);
        assert!(config.android_apps.is_empty() && config.apple_apps.is_empty());
    }

    #[test]
    fn several_apps_are_several_entries() {
        let two = format!("org.example.app={FINGERPRINT}, org.example.app={FINGERPRINT},org.example.b={FINGERPRINT}");
        let config = read(&[
            (SCHEME, "limit://auth, https://app.example.org/auth"),
            (HANDOFF, "code"),
            (ANDROID, &two),
            (APPLE, "ABCDE12345.org.example.app"),
        ])
        .unwrap();
        assert_eq!(config.addresses.len(), 2);
        assert_eq!(config.android_apps.len(), 2);
        assert_eq!(config.android_apps[0].fingerprints.len(), 2);
        assert_eq!(config.apple_apps, ["ABCDE12345.org.example.app"]);
    }

    #[test]
    fn each_bad_value_names_its_variable() {
        let lower = format!("org.example.app={}", FINGERPRINT.to_lowercase());
        for (name, value) in [
            (SCHEME, "javascript://x"),
            (SCHEME, "app://a,http://b/c"),
            (SCHEME, ","),
            (HANDOFF, "token"),
            (ANDROID, "org.example.app"),
            (ANDROID, "org.example.app=AA:BB"),
            (ANDROID, &lower),
            (ANDROID, "app\"=x"),
            (APPLE, "org.example.app"),
            (APPLE, "ABCDE12345."),
            (APPLE, "ABCDE12345.a\"b"),
        ] {
            let read = read(&[(name, value)]);
            assert!(matches!(read, Err(ConfigError::Invalid { name: named, .. }) if named == name), "{name}={value}");
        }
        let link = [(SCHEME, "https://app.example.org/auth"), (HANDOFF, "session_token")];
        assert!(matches!(read(&link), Err(ConfigError::Invalid { name: HANDOFF, .. })));
    }
}
