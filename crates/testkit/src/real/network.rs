//! A running PLC and PDS.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde::Deserialize;

use super::browser::RealBrowser;
use crate::child::{Captured, ChildProcess, thread_sleep};
use crate::fault::{DnsAnswer, FaultDns};
use crate::http_client::TestClient;

/// How long the servers may take to start: importing them alone takes seconds on a busy machine.
const START_LIMIT: Duration = Duration::from_mins(2);

/// How to start the network; see `testnet/README.md` for the variables.
#[derive(Clone, Debug, Default)]
pub struct NetworkOptions {
    environment: Vec<(String, String)>,
}

impl NetworkOptions {
    /// Sets a variable of `start.mjs`.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The accounts as `handle:password`; alice.test, bob.test and carla.test otherwise.
    #[must_use]
    pub fn accounts(self, accounts: &[&str]) -> Self {
        self.env("ACCOUNTS", &accounts.join(","))
    }

    /// Lets the PDS fetch `https://HOST/…` from a base URL.
    #[must_use]
    pub fn map_host(self, host: &str, to: &str) -> Self {
        self.env("HOSTMAP", &format!("{host}={to}"))
    }

    /// A second PDS on the PLC of another network, with handles that end like `.two.test`.
    #[must_use]
    pub fn joining(self, other: &RealNetwork, handle_domain: &str) -> Self {
        self.env("PLC_URL", other.plc()).env("HANDLE_DOMAIN", handle_domain)
    }
}

/// An account of the real network.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RealAccount {
    /// The handle.
    #[serde(default)]
    pub handle: String,
    /// The DID, another one at every start.
    pub did: String,
    /// The password.
    pub password: String,
    /// An app password.
    pub app_password: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Facts {
    plc: String,
    pds: String,
    issuer: String,
    control: String,
    accounts: BTreeMap<String, RealAccount>,
}

/// The real PLC directory and PDS (or a further PDS); ends when it is dropped.
#[derive(Debug)]
pub struct RealNetwork {
    facts: Facts,
    pub(super) folder: PathBuf,
    child: ChildProcess,
    pub(super) client: TestClient,
}

impl RealNetwork {
    /// Whether the network is installed. Where it is not, prints that the test is skipped; on CI (`CI=true`) its absence
    /// is a failure.
    pub fn available() -> bool {
        if folder().is_some() {
            return true;
        }
        assert!(!on_ci(), "BOWERBIRD_TESTNET_DIR is not set: run the tests by `cargo xtask test`");
        eprintln!("skipped: BOWERBIRD_TESTNET_DIR is not set (`cargo xtask test` installs the test network)");
        false
    }

    /// Whether Chromium is installed for [`Self::chromium`] (`BOWERBIRD_CHROMIUM`, or `/usr/bin/chromium`). Where it is
    /// not, prints that the test is skipped; on CI its absence is a failure.
    pub fn chromium_available() -> bool {
        #[expect(
            clippy::disallowed_methods,
            reason = "where the browser is, is one of the things that tests are told so"
        )]
        let path =
            std::env::var_os("BOWERBIRD_CHROMIUM").map_or_else(|| PathBuf::from("/usr/bin/chromium"), PathBuf::from);
        if path.exists() {
            return true;
        }
        assert!(!on_ci(), "{} is not there: run the tests by `cargo xtask test`", path.display());
        eprintln!("skipped: no Chromium at {}", path.display());
        false
    }

    /// Starts the network on free ports and waits until it is ready.
    pub async fn start(options: NetworkOptions) -> Self {
        let folder = folder().expect("RealNetwork::available says whether it can be started");
        let mut command = Command::new(folder.join("node22/bin/node"));
        command.arg(folder.join("start.mjs")).current_dir(&folder).env("EXIT_WITH_STDIN", "1");
        for name in ["PLC_PORT", "PDS_PORT", "CONTROL_PORT", "BSKY_PORT"] {
            command.env(name, "0");
        }
        command.envs(options.environment);
        let mut child = ChildProcess::spawn(&mut command, Captured::default(), Captured::default());
        let mut facts = Self::wait_for_facts(&mut child).await;
        for (handle, account) in &mut facts.accounts {
            account.handle.clone_from(handle);
        }
        Self { facts, folder, child, client: TestClient::new() }
    }

    async fn wait_for_facts(child: &mut ChildProcess) -> Facts {
        const STEP: Duration = Duration::from_millis(20);
        for _ in 0..START_LIMIT.as_millis() / STEP.as_millis() {
            if let Some((line, _)) = child.stdout.text().split_once('\n') {
                return serde_json::from_str(line).unwrap_or_else(|error| panic!("not the facts ({error}): {line}"));
            }
            if child.ended().is_some() {
                break;
            }
            thread_sleep(STEP).await;
        }
        panic!("the real network did not start: {}", child.stderr.text());
    }

    /// The PLC directory.
    pub fn plc(&self) -> &str {
        &self.facts.plc
    }

    /// The PDS.
    pub fn pds(&self) -> &str {
        &self.facts.pds
    }

    /// The issuer, which is the PDS.
    pub fn issuer(&self) -> &str {
        &self.facts.issuer
    }

    pub(super) fn control(&self) -> &str {
        &self.facts.control
    }

    /// An account by its handle.
    pub fn account(&self, handle: &str) -> &RealAccount {
        self.facts.accounts.get(handle).unwrap_or_else(|| panic!("no account {handle} in {:?}", self.facts.accounts))
    }

    /// Every account.
    pub fn accounts(&self) -> impl Iterator<Item = &RealAccount> {
        self.facts.accounts.values()
    }

    /// A browser for the pages of the real server, by plain HTTP.
    pub fn browser(&self) -> RealBrowser {
        RealBrowser::plain(&self.folder)
    }

    /// A real headless Chromium for them.
    pub fn chromium(&self) -> RealBrowser {
        RealBrowser::chromium(&self.folder)
    }

    /// `localhost:PORT` of PLC and PDS, comma separated.
    pub fn egress_allow(&self) -> String {
        let host = |url: &str| url.trim_start_matches("http://").trim_end_matches('/').to_owned();
        format!("{},{}", host(self.plc()), host(self.pds()))
    }

    /// The settings that wire a bowerbird process to this network.
    pub fn environment(&self) -> Vec<(String, String)> {
        let set = |name: &str, value: String| (name.to_owned(), value);
        vec![
            set("BOWERBIRD_PLC_URL", self.plc().to_owned()),
            set("BOWERBIRD_HANDLE_RESOLVER_URL", self.pds().to_owned()),
            set("BOWERBIRD_EGRESS_ALLOW", self.egress_allow()),
        ]
    }

    /// Writes every account's handle into a DNS server as `_atproto.` TXT: the way to resolve the handles of two PDSes,
    /// each of which knows only its own.
    pub fn announce_in(&self, dns: &FaultDns) {
        for account in self.accounts() {
            let record = DnsAnswer::Txt(vec![format!("did={}", account.did)]);
            dns.script(&format!("_atproto.{}", account.handle), "TXT", vec![record]);
        }
    }

    /// The process id of the servers.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// What the servers wrote to standard error: their view of what went wrong.
    pub fn stderr(&self) -> String {
        self.child.stderr.text()
    }
}

#[expect(clippy::disallowed_methods, reason = "where the test network is, is the one thing that tests are told so")]
fn folder() -> Option<PathBuf> {
    std::env::var_os("BOWERBIRD_TESTNET_DIR").filter(|folder| !folder.is_empty()).map(PathBuf::from)
}

#[expect(clippy::disallowed_methods, reason = "a missing network is a failure on CI only")]
pub(super) fn on_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| value == "true")
}
