//! An app without cookies.

use serde_json::Value;

use crate::http_client::{Answer, TestClient, TestRequest};

/// A program that shows its seal as a bearer.
#[derive(Clone, Debug)]
pub struct App {
    client: TestClient,
    base_url: String,
    seal: String,
}

impl App {
    /// An app with a seal.
    pub fn new(client: TestClient, base_url: &str, seal: &str) -> Self {
        Self { client, base_url: base_url.trim_end_matches('/').to_owned(), seal: seal.to_owned() }
    }

    /// GETs a path.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(TestRequest::get(&self.url(path))).await
    }

    /// POSTs JSON to a path.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(TestRequest::post_json(&self.url(path), body)).await
    }

    /// Sends a request with the seal added.
    pub async fn send(&self, request: TestRequest) -> Answer {
        self.client.send(request.header("authorization", &format!("Bearer {}", self.seal))).await
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base_url)
    }
}
