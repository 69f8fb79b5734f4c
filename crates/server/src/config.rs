//! What the server must know to serve.

use url::Url;

use crate::mobile::MobileConfig;

/// The settings of the face towards clients.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// The origin under which clients reach this server, such as `https://app.example.org`. Never taken from a request.
    pub base_url: Url,
    /// The name of the app, for people.
    pub app_name: String,
    /// How long a session lasts after its last use, in seconds; capped by what the authorization server gives
    /// (DECISIONS 15).
    pub session_ttl: i64,
    /// The origins that may call with credentials from a browser; compared exactly. Empty: none.
    pub cors_origins: Vec<String>,
    /// The addresses or networks of reverse proxies whose `X-Forwarded-For` or `Forwarded` is believed.
    pub trusted_proxies: Vec<String>,
    /// Whether upstream access tokens may be shown on a loopback base URL (DECISIONS 4).
    pub expose_tokens: bool,
    /// Whether people may sign in with app passwords.
    pub app_passwords: bool,
    /// What is said about apps.
    pub mobile: MobileConfig,
    /// The privacy policy, linked from the pages.
    pub policy_uri: Option<Url>,
    /// The terms of service, linked from the pages.
    pub tos_uri: Option<Url>,
    /// The version of the program, for the OpenAPI document and the health answer.
    pub version: &'static str,
}
