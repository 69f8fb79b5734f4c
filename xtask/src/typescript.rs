//! The TypeScript client: its locked packages, its build and its own tests, with the Node of the test network.

use crate::exec;
use crate::testnet::Testnet;
use crate::ui::Ui;
use crate::workspace::Workspace;
use anyhow::{Context, Result};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What was installed, beside what it is: a copy of the lock file.
const INSTALLED: &str = "node_modules/.installed-lock.json";
const LOCK: &str = "package-lock.json";

/// The client with the packages that build it.
pub(crate) struct TypeScriptClient {
    /// The package's folder.
    pub(crate) folder: PathBuf,
    /// The search path, with Node's folder first.
    path: OsString,
}

impl TypeScriptClient {
    /// Installs the packages unless exactly those are there: the compiler, and the types of Node.
    pub(crate) fn install(ui: &Ui, workspace: &Workspace, testnet: &Testnet) -> Result<Self> {
        let folder = workspace.root.join("clients/typescript");
        let client = Self { path: path_with(&testnet.node())?, folder };
        let (lock, installed) = (client.folder.join(LOCK), client.folder.join(INSTALLED));
        let wanted = fs::read(&lock).with_context(|| format!("cannot read {}", lock.display()))?;
        if fs::read(&installed).ok().as_ref() != Some(&wanted) {
            let mut npm = client.npm(&["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-progress"]);
            exec::quietly(ui, "packages of the TypeScript client", &mut npm)?;
            fs::write(&installed, wanted).with_context(|| format!("cannot write {}", installed.display()))?;
        }
        Ok(client)
    }

    /// Compiles the client and its tests.
    pub(crate) fn build(&self, ui: &Ui) -> Result<()> {
        exec::quietly(ui, "building the TypeScript client", &mut self.npm(&["run", "--silent", "build"]))?;
        exec::quietly(ui, "building its tests", &mut self.npm(&["run", "--silent", "build:test"]))?;
        Ok(())
    }

    /// Runs its own tests, which are built.
    pub(crate) fn tests(&self) -> Command {
        self.npm(&["run", "--silent", "test:built"])
    }

    fn npm(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("npm");
        command.args(arguments).current_dir(&self.folder).env("PATH", &self.path);
        command
    }
}

fn path_with(node: &Path) -> Result<OsString> {
    let folder = node.parent().context("Node is in no folder")?.to_path_buf();
    let others = std::env::var_os("PATH").unwrap_or_default();
    Ok(std::env::join_paths(std::iter::once(folder).chain(std::env::split_paths(&others)))?)
}
