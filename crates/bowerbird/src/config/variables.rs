//! Every configuration variable, declared once. The loader, the command-line flags, `bowerbird config show` and the
//! reference page are all made from this list.

/// One variable.
#[derive(Debug)]
pub(crate) struct Variable {
    /// Its name in the environment.
    pub(crate) name: &'static str,
    /// Another name that is accepted in the environment.
    pub(crate) alias: Option<&'static str>,
    /// What applies when it is not set; None: nothing, or as `meaning` says.
    pub(crate) default: Option<&'static str>,
    /// Whether its value is a secret: never a flag (other users see a command line), never shown.
    pub(crate) secret: bool,
    /// What it is, with its unit and form.
    pub(crate) meaning: &'static str,
}

impl Variable {
    /// The key in `bowerbird.toml`: `BOWERBIRD_BASE_URL` is `base_url`.
    pub(crate) fn key(&self) -> String {
        self.name.trim_start_matches("BOWERBIRD_").to_ascii_lowercase()
    }

    /// The flag: `BOWERBIRD_BASE_URL` is `--base-url`.
    pub(crate) fn flag(&self) -> String {
        self.key().replace('_', "-")
    }
}

const fn plain(name: &'static str, default: &'static str, meaning: &'static str) -> Variable {
    Variable { name, alias: None, default: Some(default), secret: false, meaning }
}

const fn optional(name: &'static str, meaning: &'static str) -> Variable {
    Variable { name, alias: None, default: None, secret: false, meaning }
}

const fn secret(name: &'static str, alias: Option<&'static str>, meaning: &'static str) -> Variable {
    Variable { name, alias, default: None, secret: true, meaning }
}

/// One that OpenTelemetry has a name for, which is accepted too.
const fn standard(
    name: &'static str,
    alias: &'static str,
    default: Option<&'static str>,
    meaning: &'static str,
) -> Variable {
    Variable { name, alias: Some(alias), default, secret: false, meaning }
}

/// The list, in the order of the reference page.
pub(crate) const VARIABLES: &[Variable] = &[
    plain(
        "BOWERBIRD_BASE_URL",
        "http://127.0.0.1:8080",
        "Where people and apps reach this server: an origin, without a path. On a loopback address missing secrets are made on first start; on any other it must be https and a missing secret refuses to start.",
    ),
    plain("BOWERBIRD_LISTEN", "127.0.0.1:8080", "Address and port to listen on. Port 0 takes a free one."),
    plain(
        "BOWERBIRD_DATA_DIR",
        "./bowerbird-data",
        "Folder for the SQLite database and the keys that are made on first start; mode 0700.",
    ),
    optional(
        "BOWERBIRD_DATABASE_URL",
        "`sqlite:PATH` or `postgres://…`. Not set: `bowerbird.sqlite` in the data folder.",
    ),
    secret(
        "BOWERBIRD_REDIS_URL",
        None,
        "Redis or Valkey, shared by several instances: `redis://user:password@host:6379/0`, `rediss://…` for TLS, `redis+cluster://host:port?node=host:port` for a cluster. Holds nothing that cannot be lost. Not set: instances on PostgreSQL tell each other of changes through the database.",
    ),
    secret(
        "BOWERBIRD_COOKIE_SECRET",
        None,
        "Secrets that seal sessions, newest first, comma separated, 32 characters or more each. All listed ones open; the first one seals. Make one with `bowerbird keys generate cookie-secret`.",
    ),
    secret(
        "BOWERBIRD_ENCRYPTION_KEY",
        Some("TOKEN_ENCRYPTION_KEY"),
        "Keys that encrypt stored credentials, newest first, comma separated: 32 bytes each, base64url or hexadecimal. Make one with `bowerbird keys generate encryption-key`.",
    ),
    optional(
        "BOWERBIRD_ENCRYPTION_KEY_FILE",
        "A file with those keys instead, one a line, newest first, that only the server may read (mode 0600 or 0400). Read again when it changes. A path below systemd's `CREDENTIALS_DIRECTORY` works.",
    ),
    optional(
        "BOWERBIRD_ENCRYPTION_KEYRING",
        "Name of an entry of the operating system's keyring with those keys instead, of the person who runs the server. Only in a program built with `--features os-keyring`. `bowerbird keys to-keyring` puts them there.",
    ),
    secret(
        "BOWERBIRD_CLIENT_KEYS",
        None,
        "Private JWK set of this OAuth client (ES256), as JSON or as the path of a file. The first key signs new logins. Not set: a public client, whose sessions end after 14 days. Make one with `bowerbird keys generate client`.",
    ),
    plain("BOWERBIRD_APP_NAME", "Bowerbird", "The name that authorization servers and pages show to people."),
    optional("BOWERBIRD_LOGO_URI", "https address of a logo, shown by authorization servers."),
    optional("BOWERBIRD_POLICY_URI", "https address of the privacy policy."),
    optional("BOWERBIRD_TOS_URI", "https address of the terms of service."),
    plain("BOWERBIRD_SCOPE", "atproto transition:generic", "The OAuth scope to ask for; must contain `atproto`."),
    plain(
        "BOWERBIRD_MOBILE_SCHEME",
        "app://auth-callback",
        "Where apps wait for the end of a sign-in, comma separated: custom schemes such as `myapp://auth-callback`, or https app links. The first one, unless an app names another of them. No client can add one.",
    ),
    plain(
        "BOWERBIRD_MOBILE_HANDOFF",
        "auto",
        "What an app is given at the end. `auto`: a one-time code to those that send `code_challenge_method=S256`, the session itself to those of the older contract. `code`: always a code. `session_token`: the session itself to whoever starts by `/api/auth/mobile-start`.",
    ),
    optional(
        "BOWERBIRD_ANDROID_APPS",
        "Android apps that this domain stands for, comma separated: `package=SHA-256 fingerprint` (upper-case hexadecimal with colons), one entry for each fingerprint. Served as `/.well-known/assetlinks.json`.",
    ),
    optional(
        "BOWERBIRD_APPLE_APPS",
        "iOS and macOS apps that this domain stands for, comma separated: `TEAMID.bundle.id`. Served as `/.well-known/apple-app-site-association`.",
    ),
    plain(
        "BOWERBIRD_SESSION_TTL",
        "604800",
        "Seconds that a session lives without use. A public client's is capped at 14 days.",
    ),
    plain("BOWERBIRD_PLC_URL", "https://plc.directory", "The directory of did:plc identities."),
    optional(
        "BOWERBIRD_HANDLE_RESOLVER_URL",
        "A server asked to resolve handles beside DNS and https (`com.atproto.identity.resolveHandle`). Its answers are verified.",
    ),
    plain(
        "BOWERBIRD_RESOLVER",
        "native",
        "`native`, `slingshot` or `hybrid`: whether a Slingshot server is asked for hints about identities. Its answers are verified.",
    ),
    plain("BOWERBIRD_SLINGSHOT_URL", "https://slingshot.microcosm.blue", "The Slingshot server."),
    optional(
        "BOWERBIRD_ALLOWED_PDS",
        "Host names, comma separated: only accounts on these servers, or on names below them, may sign in. Not set: any server.",
    ),
    plain(
        "BOWERBIRD_ALLOW_FOREIGN_ENDPOINTS",
        "false",
        "`true` accepts authorization servers whose endpoints are on another origin than their issuer.",
    ),
    optional(
        "BOWERBIRD_EGRESS_ALLOW",
        "`host:port` pairs, comma separated, that may be private addresses or plain http. For development and test networks.",
    ),
    optional("BOWERBIRD_DNS_SERVERS", "`address:port` pairs, comma separated. Not set: the system's."),
    optional("BOWERBIRD_EXTRA_ROOTS", "PEM file with further certificate authorities to trust for outgoing https."),
    optional(
        "BOWERBIRD_CORS_ORIGINS",
        "Origins, comma separated, whose pages may call this server with credentials. Not set: none.",
    ),
    optional(
        "BOWERBIRD_TRUSTED_PROXIES",
        "Addresses or networks, comma separated, whose `X-Forwarded-For` is believed. Not set: none.",
    ),
    plain(
        "BOWERBIRD_PROXY_SERVICES",
        "did:web:api.bsky.app,did:web:api.bsky.chat,did:web:video.bsky.app,did:plc:ar7c4by46qjdydhdevvrndac",
        "Services that a call may name in `atproto-proxy`, comma separated: a DID (all its services) or `did#service`; `*` allows any.",
    ),
    optional(
        "BOWERBIRD_PROXY_DENY",
        "Further methods that the proxy refuses: NSIDs, or prefixes ending in `.*`, comma separated.",
    ),
    optional(
        "BOWERBIRD_PROXY_ALLOW",
        "Methods that the proxy lets through although they are refused by default, comma separated.",
    ),
    plain(
        "BOWERBIRD_APP_PASSWORDS",
        "false",
        "`true` lets people sign in with an app password where their server has no OAuth. Never with a main password. Accounts that signed in so go on working when it is turned off again.",
    ),
    plain(
        "BOWERBIRD_EXPOSE_TOKENS",
        "off",
        "`debug` shows the account server's access token in `/api/auth/session`, never the refresh token; only on a loopback base URL, for development.",
    ),
    optional(
        "BOWERBIRD_CLUSTER_ID",
        "The id of the installation that the database must belong to; a copied database is refused. Not set: whatever the database says.",
    ),
    secret(
        "BOWERBIRD_WEBHOOK_URL",
        None,
        "Addresses, comma separated, that are told of events by signed webhooks; https, or plain http to a `host:port` of `BOWERBIRD_EGRESS_ALLOW`. Not set: none. Needs `BOWERBIRD_WEBHOOK_SECRET`.",
    ),
    secret(
        "BOWERBIRD_WEBHOOK_SECRET",
        None,
        "Secrets that sign webhooks, newest first, comma separated: `whsec_` and base64 (Standard Webhooks). All listed ones sign. Make one with `bowerbird keys generate webhook-secret`.",
    ),
    plain(
        "BOWERBIRD_WEBHOOK_EVENTS",
        "needs_reauth,lost_response,outcome_unknown,recovered,unsaved_answers,answers_saved,refreshing_suspended,refreshing_resumed",
        "Types of events that webhooks tell, comma separated; add `refreshed` to hear of every renewal.",
    ),
    optional(
        "BOWERBIRD_ADMIN_LISTEN",
        "Address and port of the operator's listener: `/metrics`, `/events`, `/health`, `/ready`. A loopback or private address; never the one of `BOWERBIRD_LISTEN`. Not set: none.",
    ),
    secret(
        "BOWERBIRD_ADMIN_TOKEN",
        None,
        "What the operator's listener asks for as bearer, 32 characters or more. Required when it listens on anything but loopback.",
    ),
    standard(
        "BOWERBIRD_OTLP_ENDPOINT",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        None,
        "Address of an OpenTelemetry collector that takes traces by OTLP over HTTP, such as `http://127.0.0.1:4318`; `/v1/traces` is appended. Not set: no traces.",
    ),
    secret(
        "BOWERBIRD_OTLP_HEADERS",
        Some("OTEL_EXPORTER_OTLP_HEADERS"),
        "Headers for the collector, such as a key: `name=value`, comma separated, values percent-encoded.",
    ),
    standard("BOWERBIRD_SERVICE_NAME", "OTEL_SERVICE_NAME", Some("bowerbird"), "The name of this server in traces."),
    standard(
        "BOWERBIRD_TRACES_SAMPLER",
        "OTEL_TRACES_SAMPLER",
        Some("parentbased_always_on"),
        "Which requests are traced: `always_on`, `always_off`, `traceidratio`, or one of them after `parentbased_`, which heeds what a trusted proxy decided.",
    ),
    standard(
        "BOWERBIRD_TRACES_SAMPLER_ARG",
        "OTEL_TRACES_SAMPLER_ARG",
        Some("1"),
        "The share of requests that `traceidratio` traces, 0 to 1.",
    ),
    plain("BOWERBIRD_LOG", "info", "What to log, such as `warn` or `info,bowerbird_vault=debug`."),
    plain("BOWERBIRD_LOG_FORMAT", "text", "`text` or `json`, on standard error."),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique_and_carry_the_prefix() {
        let mut seen = HashSet::new();
        for variable in VARIABLES {
            assert!(variable.name.starts_with("BOWERBIRD_"), "{}", variable.name);
            assert!(seen.insert(variable.key()), "{} twice", variable.name);
        }
    }
}
