//! Who may know whom: the table of the architecture page, as data. Every exception stands here with its reason.

/// A crate of the workspace.
pub(super) struct Room {
    pub(super) package: &'static str,
    /// The rooms below it; `*` is all of them.
    pub(super) knows: &'static [&'static str],
}

/// Libraries that one room uses on behalf of all others.
pub(super) struct Library {
    pub(super) names: &'static [&'static str],
    pub(super) what: &'static str,
    pub(super) homes: &'static [&'static str],
    pub(super) exceptions: &'static [Exception],
}

/// A room that may use such a library too.
pub(super) struct Exception {
    pub(super) package: &'static str,
    /// Only in its tests and examples.
    pub(super) dev_only: bool,
    /// Why; read by people, not by the check.
    #[expect(dead_code, reason = "the table is where the next person looks for it")]
    pub(super) reason: &'static str,
}

const OAUTH: &str = "bowerbird-oauth";
const CORE: &str = "bowerbird-core";
const VAULT: &str = "bowerbird-vault";
const ATPROTO: &str = "bowerbird-atproto";
const EVENTS: &str = "bowerbird-events";
const PLATFORMS: &str = "bowerbird-platforms";
const MASTODON: &str = "bowerbird-mastodon";
const NET: &str = "bowerbird-net";
const STORAGE_FILE: &str = "bowerbird-storage-file";
const STORAGE_SQL: &str = "bowerbird-storage-sql";
const STORAGE_REDIS: &str = "bowerbird-storage-redis";
const SECRETS_CLOUD: &str = "bowerbird-secrets-cloud";
const SECRETS_KEYRING: &str = "bowerbird-secrets-keyring";
const SERVER: &str = "bowerbird-server";
const CLIENT: &str = "bowerbird-client";
const CLIENT_FFI: &str = "bowerbird-client-ffi";
const TESTKIT: &str = "bowerbird-testkit";

/// Lowest first. Rooms that are planned stand here already, so that the first line of their code is checked.
pub(super) const ROOMS: &[Room] = &[
    Room { package: OAUTH, knows: &[] },
    Room { package: CORE, knows: &[OAUTH] },
    Room { package: VAULT, knows: &[OAUTH, CORE] },
    Room { package: EVENTS, knows: &[OAUTH, CORE, VAULT] },
    Room { package: NET, knows: &[OAUTH, CORE] },
    Room { package: STORAGE_FILE, knows: &[OAUTH, CORE] },
    Room { package: STORAGE_SQL, knows: &[OAUTH, CORE] },
    Room { package: STORAGE_REDIS, knows: &[OAUTH, CORE] },
    Room { package: SECRETS_CLOUD, knows: &[OAUTH, CORE] },
    Room { package: SECRETS_KEYRING, knows: &[OAUTH, CORE] },
    Room { package: PLATFORMS, knows: &[OAUTH, CORE, VAULT] },
    Room { package: ATPROTO, knows: &[OAUTH, CORE, VAULT] },
    Room { package: MASTODON, knows: &[OAUTH, CORE, VAULT, ATPROTO] },
    Room { package: SERVER, knows: &[OAUTH, CORE, VAULT, EVENTS, ATPROTO, PLATFORMS, MASTODON] },
    // The kit on the device stands beside the house: it knows the two pure rooms, and no server.
    Room { package: CLIENT, knows: &[OAUTH, CORE] },
    Room { package: CLIENT_FFI, knows: &[CLIENT] },
    Room { package: TESTKIT, knows: &["*"] },
    Room { package: "bowerbird", knows: &["*"] },
    Room { package: "xtask", knows: &[] },
];

/// Rooms in which nothing happens: no clock, no chance, no file, no socket.
pub(super) const PURE: &[&str] = &[OAUTH, CORE];

/// What a pure room cannot use without ceasing to be one.
pub(super) const EFFECTS: &[&str] = &["axum", "getrandom", "mio", "rand", "socket2", "tempfile", "tokio"];

/// Libraries with one home.
pub(super) const LIBRARIES: &[Library] = &[
    Library {
        names: &["hyper", "hyper-util"],
        what: "the HTTP client",
        homes: &[NET],
        exceptions: &[
            Exception { package: SERVER, dev_only: false, reason: "serves connections; it never opens one" },
            Exception { package: "bowerbird", dev_only: false, reason: "serves connections with limits of its own" },
            Exception {
                package: TESTKIT,
                dev_only: false,
                reason: "fault servers, and the actors that play a browser",
            },
        ],
    },
    Library {
        names: &["rustls", "rustls-native-certs", "tokio-rustls", "webpki-roots"],
        what: "TLS towards others",
        homes: &[NET],
        exceptions: &[
            Exception { package: TESTKIT, dev_only: false, reason: "fault servers that speak TLS" },
            Exception { package: STORAGE_REDIS, dev_only: false, reason: "tells the Redis driver to use ring" },
        ],
    },
    Library {
        names: &["hickory-proto", "hickory-resolver"],
        what: "the DNS client",
        homes: &[NET],
        exceptions: &[Exception {
            package: TESTKIT,
            dev_only: false,
            reason: "the fault DNS server writes its own answers",
        }],
    },
    Library {
        names: &["sqlx", "rusqlite", "libsqlite3-sys", "tokio-postgres"],
        what: "the database driver",
        homes: &[STORAGE_SQL],
        exceptions: &[Exception {
            package: TESTKIT,
            dev_only: true,
            reason: "fills a database with a million accounts for the bench",
        }],
    },
    Library {
        names: &["keyring-core", "keyring", "secret-service", "zbus", "zbus-secret-service-keyring-store"],
        what: "the keyring's client",
        homes: &[SECRETS_KEYRING, CLIENT],
        exceptions: &[],
    },
    Library {
        names: &["ureq"],
        what: "the HTTP client of the device, which speaks to one server that its app names, or to those of its people",
        homes: &[CLIENT],
        exceptions: &[],
    },
    Library { names: &["redis", "fred"], what: "the Redis driver", homes: &[STORAGE_REDIS], exceptions: &[] },
];

/// Crates that must not be in the graph at all, however deep.
pub(super) const NOWHERE: &[(&str, &str)] = &[
    ("aws-lc-rs", "ring is the one provider of TLS and of ES256"),
    ("aws-lc-sys", "ring is the one provider of TLS and of ES256"),
    ("curl", "bowerbird-net is the only HTTP client"),
    ("isahc", "bowerbird-net is the only HTTP client"),
    ("native-tls", "rustls is the only TLS"),
    ("openssl", "rustls is the only TLS"),
    ("openssl-sys", "rustls is the only TLS"),
    ("reqwest", "bowerbird-net is the only HTTP client: no redirects, no environment proxies, checked addresses"),
    ("surf", "bowerbird-net is the only HTTP client"),
];
