//! Chromium on the pages of the server under test.

use std::path::Path;

use serde_json::Value;
use tokio::process::Command;

use super::network::{RealAccount, RealNetwork};

impl RealNetwork {
    /// Goes through the pages of a server with Chromium, by `drive-pages.mjs`, as two people who share a device; keeps
    /// pictures of them in a folder, and gives what it saw. Panics where a step is not possible, with the page's text.
    pub async fn drive_pages(&self, base_url: &str, pictures: &Path, people: [&RealAccount; 2]) -> Value {
        let people = people.map(|person| format!("{}:{}", person.handle, person.password));
        let pictures = pictures.display().to_string();
        self.drive("drive-pages.mjs", &[base_url, &pictures, self.control(), &people[0], &people[1]]).await
    }

    /// Opens the page for apps with Chromium, by `drive-mobile.mjs`, signs in, and stops where a phone would open the app;
    /// gives what it saw, with that address as `link`.
    pub async fn drive_mobile(&self, page_url: &str, pictures: &Path, person: &RealAccount) -> Value {
        let pictures = pictures.display().to_string();
        self.drive("drive-mobile.mjs", &[page_url, &pictures, &person.handle, &person.password]).await
    }

    async fn drive(&self, script: &str, arguments: &[&str]) -> Value {
        let mut command = Command::new(self.folder.join("node22/bin/node"));
        command.arg(self.folder.join(script)).args(arguments).current_dir(&self.folder);
        let output = command.kill_on_drop(true).output().await.expect("Node runs");
        let (seen, trouble) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{trouble}");
        serde_json::from_str(&seen).unwrap_or_else(|error| panic!("not what was seen ({error}): {seen} {trouble}"))
    }
}
