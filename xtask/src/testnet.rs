//! The real AT Protocol servers on loopback: installed from `testnet/`, started and ended.

use crate::exec::{self, Server};
use crate::ports;
use crate::tools;
use crate::ui::Ui;
use crate::workspace::Workspace;
use anyhow::{Context, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// An installed test network.
pub(crate) struct Testnet {
    /// The folder that holds `node22/`, `node_modules/` and the scripts.
    pub(crate) folder: PathBuf,
}

/// A running PLC and PDS, and an `AppView` when it was asked for.
pub(crate) struct Network {
    server: Server,
    /// What `start.mjs` said of itself.
    pub(crate) facts: NetworkFacts,
    databases: Option<Databases>,
}

/// The line that `start.mjs` prints when it is ready.
#[derive(Debug, Deserialize)]
pub(crate) struct NetworkFacts {
    /// Base URL of the PLC directory.
    pub(crate) plc: String,
    /// Base URL of the PDS, which is its own authorization server.
    pub(crate) pds: String,
    /// Base URL of the `AppView`.
    pub(crate) appview: Option<String>,
    /// The DID of the `AppView`, which calls name in `atproto-proxy`.
    #[serde(rename = "appviewDid")]
    pub(crate) appview_did: Option<String>,
    /// Base URL of the control server, which reads the request log and sets faults.
    pub(crate) control: String,
    /// The accounts by handle.
    pub(crate) accounts: BTreeMap<String, TestAccount>,
}

/// An account of the test network.
#[derive(Debug, Deserialize)]
pub(crate) struct TestAccount {
    /// Its DID, another one on every start.
    pub(crate) did: String,
    /// The password of its owner.
    pub(crate) password: String,
}

/// Private PostgreSQL and Redis servers for the `AppView`, ended when this value is dropped.
struct Databases {
    script: PathBuf,
    environment: Vec<(String, String)>,
}

impl Testnet {
    /// Installs the test network unless this very version of it is there. The first time takes about a minute.
    pub(crate) fn install(ui: &Ui, workspace: &Workspace) -> Result<Self> {
        tools::ensure(ui, &[tools::TESTNET])?;
        let folder = workspace.testnet();
        let mut setup = Command::new(workspace.root.join("testnet/setup.sh"));
        exec::quietly(ui, "test network (the first time: 620 MB, about a minute)", setup.arg(&folder))?;
        Ok(Self { folder })
    }

    /// The Node that runs the scripts.
    pub(crate) fn node(&self) -> PathBuf {
        self.folder.join("node22/bin/node")
    }

    /// Starts the network on its usual ports, or on free ones where those are taken.
    pub(crate) fn start(&self, ui: &Ui, logs: &Path, appview: bool) -> Result<Network> {
        self.start_with(ui, logs, appview, &[])
    }

    /// The same with variables of `start.mjs`, which take the place of the usual ones.
    pub(crate) fn start_with(
        &self,
        ui: &Ui,
        logs: &Path,
        appview: bool,
        variables: &[(&str, String)],
    ) -> Result<Network> {
        let databases = if appview { Some(Databases::start(ui, &self.folder)?) } else { None };
        let mut command = Command::new(self.node());
        command.arg(self.folder.join("start.mjs")).current_dir(&self.folder).env("EXIT_WITH_STDIN", "1");
        for (name, usual) in [("PLC_PORT", 2582), ("PDS_PORT", 2583), ("CONTROL_PORT", 2580), ("BSKY_PORT", 2584)] {
            command.env(name, ports::free_port_or(usual)?.to_string());
        }
        if let Some(databases) = &databases {
            command.env("APPVIEW", "1").env("SEED", "1").envs(databases.environment.iter().cloned());
        }
        command.envs(variables.iter().map(|(name, value)| (*name, value)));
        let progress = ui.progress(if appview { "PLC, PDS and AppView" } else { "PLC and PDS" });
        // Hundreds of accounts may be asked for.
        let limit = Duration::from_mins(5);
        let (server, line) =
            Server::start_and_read("the test network", &mut command, &logs.join("network.log"), limit)?;
        let facts = serde_json::from_str(&line).with_context(|| format!("start.mjs printed no facts but: {line}"))?;
        progress.done(ui);
        Ok(Network { server, facts, databases })
    }

    /// Plays the user's browser: signs in on the authorization server, consents, and returns the callback's URL.
    pub(crate) fn approve(&self, authorization_url: &str, handle: &str, password: &str) -> Result<String> {
        let mut command = Command::new(self.node());
        command.arg(self.folder.join("approve.mjs")).args([authorization_url, handle, password]);
        Ok(exec::output(&mut command)?.trim().to_owned())
    }
}

impl Network {
    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> Result<bool> {
        Ok(self.server.ended()?.is_none())
    }

    /// Ends the servers, the databases last.
    pub(crate) fn stop(mut self) {
        self.server.stop();
        drop(self.databases.take());
    }
}

impl Databases {
    fn start(ui: &Ui, folder: &Path) -> Result<Self> {
        tools::ensure(ui, &[tools::APPVIEW])?;
        let ports = [("PGPORT", ports::free_port_or(55432)?), ("RPORT", ports::free_port_or(56379)?)];
        let mut environment: Vec<(String, String)> =
            ports.iter().map(|(name, port)| ((*name).to_owned(), port.to_string())).collect();
        let script = folder.join("pgredis.sh");
        let mut command = Command::new(&script);
        let printed =
            exec::quietly(ui, "PostgreSQL and Redis", command.arg("start").envs(environment.iter().cloned()))?;
        let pairs = printed.iter().filter_map(|line| line.strip_prefix("export ")).flat_map(|line| line.split(' '));
        environment.extend(
            pairs.filter_map(|pair| pair.split_once('=')).map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        Ok(Self { script, environment })
    }
}

impl Drop for Databases {
    fn drop(&mut self) {
        let mut command = Command::new(&self.script);
        // Nobody is left to tell; the next start reuses the same folder.
        drop(exec::output(command.arg("stop").envs(self.environment.iter().cloned())));
    }
}
