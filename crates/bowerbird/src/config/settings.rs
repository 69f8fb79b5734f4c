//! The values, typed and checked together.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use bowerbird_server::MobileConfig;
use url::{Host, Url};

use super::{ConfigError, Values, mobile};

/// Whether upstream tokens may be shown (DECISIONS 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExposeTokens {
    /// Never.
    Off,
    /// For development on a loopback base URL.
    Debug,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Every setting that is not a secret.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) base_url: Url,
    pub(crate) listen: SocketAddr,
    pub(crate) admin_listen: Option<SocketAddr>,
    pub(crate) data_dir: PathBuf,
    pub(crate) database_url: String,
    pub(crate) app_name: String,
    pub(crate) logo_uri: Option<Url>,
    pub(crate) policy_uri: Option<Url>,
    pub(crate) tos_uri: Option<Url>,
    pub(crate) scope: String,
    pub(crate) mobile: MobileConfig,
    pub(crate) session_ttl: i64,
    pub(crate) plc_url: Url,
    pub(crate) handle_resolver_url: Option<Url>,
    pub(crate) resolver: String,
    pub(crate) slingshot_url: Url,
    pub(crate) allowed_pds: Vec<String>,
    pub(crate) allow_foreign_endpoints: bool,
    pub(crate) egress_allow: Vec<String>,
    pub(crate) dns_servers: Vec<SocketAddr>,
    pub(crate) extra_roots: Option<PathBuf>,
    pub(crate) cors_origins: Vec<String>,
    pub(crate) trusted_proxies: Vec<String>,
    pub(crate) proxy_services: Vec<String>,
    pub(crate) proxy_deny: Vec<String>,
    pub(crate) proxy_allow: Vec<String>,
    pub(crate) expose_tokens: ExposeTokens,
    pub(crate) app_passwords: bool,
    pub(crate) cluster_id: Option<String>,
    pub(crate) log: String,
    pub(crate) log_format: LogFormat,
}

impl Settings {
    /// Types and checks the values.
    pub(crate) fn from_values(values: &Values) -> Result<Self, ConfigError> {
        let base_url = origin(values, "BOWERBIRD_BASE_URL")?.ok_or_else(|| missing("BOWERBIRD_BASE_URL"))?;
        let loopback = is_loopback(&base_url);
        if base_url.scheme() != "https" && !loopback {
            let problem = "outside of loopback addresses it must start with https://";
            return Err(ConfigError::named("BOWERBIRD_BASE_URL", problem));
        }
        let data_dir = PathBuf::from(text(values, "BOWERBIRD_DATA_DIR")?);
        let database_url = values
            .get("BOWERBIRD_DATABASE_URL")
            .map_or_else(|| format!("sqlite:{}", data_dir.join("bowerbird.sqlite").display()), str::to_owned);
        let expose_tokens =
            choice(values, "BOWERBIRD_EXPOSE_TOKENS", &[("off", ExposeTokens::Off), ("debug", ExposeTokens::Debug)])?;
        if expose_tokens == ExposeTokens::Debug && !loopback {
            return Err(ConfigError::named("BOWERBIRD_EXPOSE_TOKENS", "`debug` works on a loopback base URL only"));
        }
        let scope = text(values, "BOWERBIRD_SCOPE")?;
        if !scope.split_ascii_whitespace().any(|part| part == "atproto") {
            return Err(ConfigError::named("BOWERBIRD_SCOPE", "it must contain `atproto`"));
        }
        let listen: SocketAddr = parse(values, "BOWERBIRD_LISTEN", "an address and port such as 127.0.0.1:8080")?;
        Ok(Self {
            listen,
            admin_listen: admin_listen(values, listen)?,
            database_url,
            app_name: text(values, "BOWERBIRD_APP_NAME")?,
            logo_uri: https(values, "BOWERBIRD_LOGO_URI")?,
            policy_uri: https(values, "BOWERBIRD_POLICY_URI")?,
            tos_uri: https(values, "BOWERBIRD_TOS_URI")?,
            scope,
            mobile: mobile::mobile(values)?,
            session_ttl: session_ttl(values)?,
            plc_url: origin(values, "BOWERBIRD_PLC_URL")?.ok_or_else(|| missing("BOWERBIRD_PLC_URL"))?,
            handle_resolver_url: origin(values, "BOWERBIRD_HANDLE_RESOLVER_URL")?,
            resolver: choice(
                values,
                "BOWERBIRD_RESOLVER",
                &[("native", "native"), ("slingshot", "slingshot"), ("hybrid", "hybrid")],
            )?
            .to_owned(),
            slingshot_url: origin(values, "BOWERBIRD_SLINGSHOT_URL")?
                .ok_or_else(|| missing("BOWERBIRD_SLINGSHOT_URL"))?,
            allowed_pds: owned(values.list("BOWERBIRD_ALLOWED_PDS")),
            allow_foreign_endpoints: choice(
                values,
                "BOWERBIRD_ALLOW_FOREIGN_ENDPOINTS",
                &[("false", false), ("true", true)],
            )?,
            egress_allow: owned(values.list("BOWERBIRD_EGRESS_ALLOW")),
            dns_servers: values
                .list("BOWERBIRD_DNS_SERVERS")
                .into_iter()
                .map(|part| {
                    part.parse().map_err(|_| {
                        ConfigError::named("BOWERBIRD_DNS_SERVERS", "write addresses with ports, such as 9.9.9.9:53")
                    })
                })
                .collect::<Result<_, _>>()?,
            extra_roots: values.get("BOWERBIRD_EXTRA_ROOTS").map(PathBuf::from),
            cors_origins: cors_origins(values)?,
            trusted_proxies: owned(values.list("BOWERBIRD_TRUSTED_PROXIES")),
            proxy_services: owned(values.list("BOWERBIRD_PROXY_SERVICES")),
            proxy_deny: owned(values.list("BOWERBIRD_PROXY_DENY")),
            proxy_allow: owned(values.list("BOWERBIRD_PROXY_ALLOW")),
            expose_tokens,
            app_passwords: choice(values, "BOWERBIRD_APP_PASSWORDS", &[("false", false), ("true", true)])?,
            cluster_id: values.get("BOWERBIRD_CLUSTER_ID").map(str::to_owned),
            log: text(values, "BOWERBIRD_LOG")?,
            log_format: choice(
                values,
                "BOWERBIRD_LOG_FORMAT",
                &[("text", LogFormat::Text), ("json", LogFormat::Json)],
            )?,
            base_url,
            data_dir,
        })
    }

    /// Whether the base URL is a loopback address, where missing secrets may be made.
    pub(crate) fn is_loopback(&self) -> bool {
        is_loopback(&self.base_url)
    }
}

/// The operator's listener: apart from the public one, and with a token where others could reach it.
fn admin_listen(values: &Values, public: SocketAddr) -> Result<Option<SocketAddr>, ConfigError> {
    const NAME: &str = "BOWERBIRD_ADMIN_LISTEN";
    let Some(given) = values.get(NAME) else { return Ok(None) };
    let form = |_| ConfigError::named(NAME, "write an address and port such as 127.0.0.1:9090");
    let address: SocketAddr = given.parse().map_err(form)?;
    let shares_addresses = address.ip() == public.ip() || address.ip().is_unspecified() || public.ip().is_unspecified();
    if address.port() == public.port() && address.port() != 0 && shares_addresses {
        return Err(ConfigError::named(NAME, "it must not be the address that the public uses, BOWERBIRD_LISTEN"));
    }
    if !address.ip().is_loopback() && values.get("BOWERBIRD_ADMIN_TOKEN").is_none() {
        let problem = "outside of loopback addresses it needs BOWERBIRD_ADMIN_TOKEN";
        return Err(ConfigError::named(NAME, problem));
    }
    Ok(Some(address))
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        None => false,
    }
}

fn missing(name: &'static str) -> ConfigError {
    ConfigError::named(name, "it is not set")
}

fn text(values: &Values, name: &'static str) -> Result<String, ConfigError> {
    values.get(name).map(str::to_owned).ok_or_else(|| missing(name))
}

fn owned(parts: Vec<&str>) -> Vec<String> {
    parts.into_iter().map(str::to_owned).collect()
}

fn parse<T: std::str::FromStr>(values: &Values, name: &'static str, form: &str) -> Result<T, ConfigError> {
    text(values, name)?.parse().map_err(|_| ConfigError::named(name, format!("write {form}")))
}

fn choice<T: Copy>(values: &Values, name: &'static str, choices: &[(&str, T)]) -> Result<T, ConfigError> {
    let given = text(values, name)?;
    choices.iter().find(|(key, _)| *key == given).map(|(_, value)| *value).ok_or_else(|| {
        let keys: Vec<_> = choices.iter().map(|(key, _)| format!("`{key}`")).collect();
        ConfigError::named(name, format!("write one of {}", keys.join(", ")))
    })
}

/// An origin without path, query, fragment and user.
fn origin(values: &Values, name: &'static str) -> Result<Option<Url>, ConfigError> {
    let Some(given) = values.get(name) else { return Ok(None) };
    let problem = || ConfigError::named(name, "write an origin such as https://app.example.org, without a path");
    let url = Url::parse(given).map_err(|_| problem())?;
    let plain = matches!(url.scheme(), "https" | "http")
        && url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    if plain && url.has_host() { Ok(Some(url)) } else { Err(problem()) }
}

fn https(values: &Values, name: &'static str) -> Result<Option<Url>, ConfigError> {
    let Some(given) = values.get(name) else { return Ok(None) };
    match Url::parse(given) {
        Ok(url) if url.scheme() == "https" => Ok(Some(url)),
        _ => Err(ConfigError::named(name, "write an https:// address")),
    }
}

fn session_ttl(values: &Values) -> Result<i64, ConfigError> {
    let ttl: i64 = parse(values, "BOWERBIRD_SESSION_TTL", "a number of seconds")?;
    // iron-session subtracts the clock skew of 60 s from a cookie's age, so less makes no sense; the upper end is
    // what an authorization server gives a confidential client at most.
    if (300..=63_072_000).contains(&ttl) {
        Ok(ttl)
    } else {
        Err(ConfigError::named("BOWERBIRD_SESSION_TTL", "write 300 (5 minutes) to 63072000 (2 years)"))
    }
}

fn cors_origins(values: &Values) -> Result<Vec<String>, ConfigError> {
    let check = |part: &str| {
        let url = Url::parse(part).ok().filter(|url| matches!(url.scheme(), "https" | "http"));
        let exact = url.map(|url| url.origin().ascii_serialization()).filter(|origin| origin == part);
        exact.ok_or_else(|| {
            ConfigError::named(
                "BOWERBIRD_CORS_ORIGINS",
                "write origins such as https://app.example.org, exactly as a browser sends them",
            )
        })
    };
    values.list("BOWERBIRD_CORS_ORIGINS").into_iter().map(check).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Result<Settings, ConfigError> {
        assert!(pairs.iter().all(|(name, _)| crate::config::VARIABLES.iter().any(|known| known.name == *name)));
        let lookup = |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Settings::from_values(&Values::gather(&|_| None, &lookup, None)?)
    }

    #[test]
    fn the_defaults_make_a_loopback_server() {
        let settings = settings(&[]).unwrap();
        assert!(settings.is_loopback());
        assert_eq!(settings.database_url, "sqlite:./bowerbird-data/bowerbird.sqlite");
    }

    #[test]
    fn each_bad_value_names_its_variable() {
        for (name, value) in [
            ("BOWERBIRD_BASE_URL", "http://app.example.org"),
            ("BOWERBIRD_BASE_URL", "https://app.example.org/path"),
            ("BOWERBIRD_BASE_URL", "app"),
            ("BOWERBIRD_LISTEN", "8080"),
            ("BOWERBIRD_SCOPE", "transition:generic"),
            ("BOWERBIRD_SESSION_TTL", "1"),
            ("BOWERBIRD_SESSION_TTL", "soon"),
            ("BOWERBIRD_RESOLVER", "magic"),
            ("BOWERBIRD_LOGO_URI", "http://example.org/logo.png"),
            ("BOWERBIRD_CORS_ORIGINS", "https://a.example.org/"),
            ("BOWERBIRD_DNS_SERVERS", "9.9.9.9"),
            ("BOWERBIRD_LOG_FORMAT", "xml"),
            ("BOWERBIRD_ADMIN_LISTEN", "9090"),
            ("BOWERBIRD_ADMIN_LISTEN", "127.0.0.1:8080"),
            ("BOWERBIRD_ADMIN_LISTEN", "0.0.0.0:8080"),
            ("BOWERBIRD_ADMIN_LISTEN", "10.0.0.1:9090"),
            ("BOWERBIRD_ADMIN_LISTEN", "0.0.0.0:9090"),
            ("BOWERBIRD_APP_PASSWORDS", "maybe"),
        ] {
            assert!(
                matches!(settings(&[(name, value)]), Err(ConfigError::Invalid { name: named, .. }) if named == name),
                "{name}={value}"
            );
        }
    }

    #[test]
    fn the_operators_listener_is_apart_and_has_a_token_where_others_reach_it() {
        let token = ("BOWERBIRD_ADMIN_TOKEN", "0123456789abcdef0123456789abcdef");
        let listen = |address| ("BOWERBIRD_ADMIN_LISTEN", address);
        assert!(settings(&[listen("127.0.0.1:9090")]).unwrap().admin_listen.is_some());
        assert!(settings(&[listen("[::1]:9090")]).unwrap().admin_listen.is_some());
        assert!(settings(&[listen("127.0.0.2:8080")]).is_ok(), "another address");
        assert!(settings(&[listen("0.0.0.0:9090"), token]).is_ok());
        assert!(settings(&[listen("127.0.0.1:8080"), token]).is_err(), "a token does not make it another address");
    }

    #[test]
    fn tokens_are_never_exposed_on_a_public_address() {
        let public = ("BOWERBIRD_BASE_URL", "https://app.example.org");
        assert!(settings(&[public, ("BOWERBIRD_EXPOSE_TOKENS", "debug")]).is_err());
        assert!(settings(&[("BOWERBIRD_EXPOSE_TOKENS", "debug")]).is_ok());
    }
}
