//! The person's browser on the real server's pages.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::network::RealAccount;

/// Signs in, consents or rejects, by `approve.mjs` or `approve-chromium.mjs`.
#[derive(Clone, Debug)]
pub struct RealBrowser {
    folder: PathBuf,
    script: &'static str,
    arguments: Vec<String>,
}

impl RealBrowser {
    pub(super) fn plain(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), script: "approve.mjs", arguments: Vec::new() }
    }

    pub(super) fn chromium(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), script: "approve-chromium.mjs", arguments: Vec::new() }
    }

    /// Keeps its cookies in a file over several logins (plain browser only): the server then knows the device.
    #[must_use]
    pub fn remembering(mut self, jar: &Path) -> Self {
        self.arguments.extend(["--jar".to_owned(), jar.display().to_string(), "--remember".to_owned()]);
        self
    }

    /// Grants this scope instead of the one asked for (plain browser only).
    #[must_use]
    pub fn granting(mut self, scope: &str) -> Self {
        self.arguments.extend(["--scope".to_owned(), scope.to_owned()]);
        self
    }

    /// Saves pictures of the pages (Chromium only).
    #[must_use]
    pub fn with_pictures(mut self, folder: &Path) -> Self {
        self.arguments.extend(["--shots".to_owned(), folder.display().to_string()]);
        self
    }

    /// Signs in and consents; returns the URL that the server sends the browser back to, which is not opened.
    pub async fn approve(&self, authorization_url: &str, account: &RealAccount) -> String {
        self.run(authorization_url, account, &[]).await.unwrap_or_else(|reason| panic!("no consent: {reason}"))
    }

    /// Rejects; returns the URL that the server sends the browser back to.
    pub async fn deny(&self, authorization_url: &str, account: &RealAccount) -> String {
        self.run(authorization_url, account, &["--deny"]).await.unwrap_or_else(|reason| panic!("no denial: {reason}"))
    }

    /// The same as [`Self::approve`], with the reason when the server does not redirect.
    pub async fn try_approve(&self, authorization_url: &str, account: &RealAccount) -> Result<String, String> {
        self.run(authorization_url, account, &[]).await
    }

    async fn run(&self, authorization_url: &str, account: &RealAccount, more: &[&str]) -> Result<String, String> {
        let mut command = Command::new(self.folder.join("node22/bin/node"));
        command.arg(self.folder.join(self.script)).current_dir(&self.folder);
        command.args([authorization_url, &account.handle, &account.password]).args(&self.arguments).args(more);
        let output = command.kill_on_drop(true).output().await.map_err(|error| error.to_string())?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }
}
