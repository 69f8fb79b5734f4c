//! Where the project's files are.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The project's root and its build folder.
pub(crate) struct Workspace {
    /// The folder of the root `Cargo.toml`.
    pub(crate) root: PathBuf,
    /// Cargo's target folder, wherever the user's configuration puts it.
    pub(crate) target: PathBuf,
}

impl Workspace {
    /// Asks Cargo, so that a moved target folder is honoured.
    pub(crate) fn find() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask has no parent folder")?.to_path_buf();
        let metadata = metadata(&root, &["--no-deps"])?;
        let target = metadata["target_directory"].as_str().context("cargo metadata names no target_directory")?;
        Ok(Self { target: PathBuf::from(target), root })
    }

    /// A Cargo command that runs in the root.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = Command::new(cargo_program());
        command.current_dir(&self.root);
        // `cargo run` tells this program about its own package. Passed on, that would rebuild every crate whose build
        // script watches such a variable (ring does), once now and once more when Cargo is called without it.
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
                command.env_remove(&*name);
            }
        }
        command
    }

    /// Everything that Cargo knows of the workspace and its dependencies.
    pub(crate) fn metadata(&self) -> Result<Value> {
        metadata(&self.root, &[])
    }

    /// The built `bowerbird` program of a profile folder (`debug`, `release`).
    pub(crate) fn program(&self, profile: &str) -> PathBuf {
        self.target.join(profile).join("bowerbird")
    }

    /// A folder of this name under the build folder, made if it is not there.
    pub(crate) fn scratch(&self, name: &str) -> Result<PathBuf> {
        let folder = self.target.join(name);
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(folder)
    }

    /// Where the test network is installed: under the build folder, so the sources stay clean.
    pub(crate) fn testnet(&self) -> PathBuf {
        self.target.join("testnet")
    }
}

fn cargo_program() -> String {
    std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned())
}

fn metadata(root: &Path, flags: &[&str]) -> Result<Value> {
    let answer = Command::new(cargo_program())
        .args(["metadata", "--format-version=1"])
        .args(flags)
        .current_dir(root)
        .output()
        .context("cannot run cargo metadata")?;
    if !answer.status.success() {
        bail!("cargo metadata failed:\n{}", String::from_utf8_lossy(&answer.stderr));
    }
    serde_json::from_slice(&answer.stdout).context("cargo metadata printed something else than JSON")
}
