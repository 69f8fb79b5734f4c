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

    /// Signs in with Chromium at a page of the real server that an app was given, by `drive-continue.mjs`, reads the page of
    /// the server under test that names the app, and goes on, or declines. Gives what it saw: `link` is what the page offers,
    /// `opened` what the browser was sent to.
    pub async fn drive_continue(
        &self,
        authorization_url: &str,
        base_url: &str,
        pictures: &Path,
        person: &RealAccount,
        goes_on: bool,
    ) -> Value {
        let (pictures, does) = (pictures.display().to_string(), if goes_on { "continue" } else { "decline" });
        let arguments = [authorization_url, base_url, &pictures, &person.handle, &person.password, does];
        self.drive("drive-continue.mjs", &arguments).await
    }

    /// A web app at a port of an origin that the server under test lists, and a stranger's page, which sign in with Chromium in
    /// windows of their own, by `drive-window.mjs`; gives what they saw.
    pub async fn drive_window(&self, base_url: &str, listed_port: u16, pictures: &Path, person: &RealAccount) -> Value {
        let (port, pictures) = (listed_port.to_string(), pictures.display().to_string());
        self.drive("drive-window.mjs", &[base_url, &port, &pictures, &person.handle, &person.password]).await
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
