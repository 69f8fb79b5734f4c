//! The TypeScript client against a server under test: its end-to-end tests, run by Node.

use std::path::PathBuf;

use serde_json::{Value, json};
use tokio::process::Command;

use super::network::{RealNetwork, on_ci};
use crate::server::BowerbirdProcess;

impl RealNetwork {
    /// Whether the TypeScript client is built. Where it is not, prints that the test is skipped; on CI its absence is a
    /// failure.
    pub fn typescript_available() -> bool {
        if folder().is_some() {
            return true;
        }
        assert!(!on_ci(), "BOWERBIRD_TYPESCRIPT_DIR is not set: run the tests by `cargo xtask test`");
        eprintln!("skipped: BOWERBIRD_TYPESCRIPT_DIR is not set (`cargo xtask test` builds the TypeScript client)");
        false
    }

    /// Runs one of the client's end-to-end tests, such as `app`, against a server. `more` are variables for it. Panics
    /// with what it printed when a test fails.
    pub async fn run_typescript(&self, name: &str, server: &BowerbirdProcess, more: &[(&str, &str)]) {
        let folder = folder().expect("RealNetwork::typescript_available says whether it can be run");
        let file = folder.join(format!("build/e2e/{name}.test.js"));
        assert!(file.exists(), "{} is not built", file.display());
        let mut command = Command::new(self.folder.join("node22/bin/node"));
        command.args(["--test", "--test-reporter=tap"]).arg(file).current_dir(&folder);
        command.env("BOWERBIRD_URL", server.base_url()).env("BOWERBIRD_TESTNET_DIR", &self.folder);
        command.env("NETWORK", self.facts_for_node().to_string()).envs(more.iter().copied());
        let output = command.kill_on_drop(true).output().await.expect("Node runs");
        let (said, trouble) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{said}\n{trouble}\nThe server said: {}", server.stderr().text());
        // A file without a test would be a success too.
        let passed = said.lines().filter(|line| line.trim_start().starts_with("ok ")).count();
        assert!(passed > 1, "nothing was tested: {said}");
    }

    fn facts_for_node(&self) -> Value {
        let person = |account: &super::RealAccount| {
            json!({
                "handle": account.handle,
                "did": account.did,
                "password": account.password,
                "appPassword": account.app_password,
            })
        };
        json!({
            "pds": self.pds(),
            "control": self.control(),
            "people": self.accounts().map(person).collect::<Vec<_>>(),
        })
    }
}

#[expect(clippy::disallowed_methods, reason = "where the client is built, is one of the things that tests are told so")]
fn folder() -> Option<PathBuf> {
    std::env::var_os("BOWERBIRD_TYPESCRIPT_DIR").filter(|folder| !folder.is_empty()).map(PathBuf::from)
}
