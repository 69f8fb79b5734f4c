//! A person with a browser.

use serde_json::Value;
use url::Url;

use crate::http_client::{Answer, CookieJar, TestClient, TestRequest};
use crate::real::{RealAccount, RealBrowser};

/// A browser with a cookie jar, in front of one bowerbird server. It follows no redirect by itself.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// Its cookies.
    pub jar: CookieJar,
    client: TestClient,
    base_url: String,
}

impl Visitor {
    /// A browser without cookies.
    pub fn new(client: TestClient, base_url: &str) -> Self {
        Self { jar: CookieJar::default(), client, base_url: base_url.trim_end_matches('/').to_owned() }
    }

    /// The URL of a path of the server; whole URLs stay as they are.
    pub fn url(&self, path: &str) -> String {
        if path.contains("://") { path.to_owned() } else { format!("{}{path}", self.base_url) }
    }

    /// Sends a request with the jar's cookies and takes the answer's. A `Cookie` header of the request is sent instead.
    pub async fn send(&mut self, mut request: TestRequest) -> Answer {
        let url = Url::parse(&request.url).unwrap_or_else(|error| panic!("{}: {error}", request.url));
        let named = request.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("cookie"));
        if !named && let Some(cookies) = self.jar.header(&url, false) {
            request = request.header("cookie", &cookies);
        }
        let answer = self.client.send(request).await;
        self.jar.take(&url, &answer.header_all("set-cookie"));
        answer
    }

    /// Opens a page, as by typing its address.
    pub async fn get(&mut self, path: &str) -> Answer {
        let request = TestRequest::get(&self.url(path));
        self.send(navigation(request, "none")).await
    }

    /// Calls an API from a page of the server: JSON, same origin, with the CSRF header.
    pub async fn post(&mut self, path: &str, body: &Value) -> Answer {
        let request = TestRequest::post_json(&self.url(path), body);
        let request = self.from_own_page(request);
        self.send(request).await
    }

    /// DELETEs from a page of the server.
    pub async fn delete(&mut self, path: &str) -> Answer {
        let request = self.from_own_page(TestRequest::new("DELETE", &self.url(path)));
        self.send(request).await
    }

    /// Submits a form of a page of the server; its hidden `csrf` field is the caller's to give.
    pub async fn submit(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let request = TestRequest::post_form(&self.url(path), fields).header("origin", &self.base_url);
        self.send(navigation(request, "same-origin")).await
    }

    /// What a script of the server's own pages adds to a request.
    pub fn from_own_page(&self, request: TestRequest) -> TestRequest {
        request
            .header("origin", &self.base_url)
            .header("sec-fetch-site", "same-origin")
            .header("sec-fetch-mode", "cors")
            .header("sec-fetch-dest", "empty")
            .header("bowerbird-csrf", "1")
    }

    /// Begins a login and returns the authorization page's URL; panics when the server does not redirect.
    pub async fn start_login(&mut self, identifier: &str) -> String {
        let answer = self.try_start_login(identifier).await;
        assert!(matches!(answer.status, 302 | 303), "/login answered {}: {}", answer.status, answer.text());
        answer.location().to_owned()
    }

    /// Begins a login.
    pub async fn try_start_login(&mut self, identifier: &str) -> Answer {
        let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("handle", identifier).finish();
        self.get(&format!("/login?{query}")).await
    }

    /// Opens the authorization page of a fault server, which decides at once, and returns the callback's URL.
    pub async fn authorize(&mut self, authorization_url: &str) -> String {
        let request = navigation(TestRequest::get(authorization_url), "cross-site");
        let answer = self.send(request).await;
        assert_eq!(answer.status, 303, "the authorization page said: {}", answer.text());
        answer.location().to_owned()
    }

    /// Comes back to the server by the callback.
    pub async fn finish_login(&mut self, callback_url: &str) -> Answer {
        self.send(navigation(TestRequest::get(callback_url), "cross-site")).await
    }

    /// Logs in at a fault server; returns the callback's answer, whatever it is.
    pub async fn login(&mut self, identifier: &str) -> Answer {
        let page = self.start_login(identifier).await;
        let callback = self.authorize(&page).await;
        self.finish_login(&callback).await
    }

    /// Logs in at the real server, with its pages.
    pub async fn login_at_real(&mut self, browser: &RealBrowser, account: &RealAccount) -> Answer {
        let page = self.start_login(&account.handle).await;
        let callback = browser.approve(&page, account).await;
        self.finish_login(&callback).await
    }

    /// The seal in the jar.
    pub fn seal(&self) -> Option<String> {
        let cookie = self.jar.get("__Host-sid").or_else(|| self.jar.get("sid"));
        cookie.map(|cookie| cookie.value.clone())
    }

    /// The answer of `GET /api/auth/session`.
    pub async fn session(&mut self) -> Answer {
        let request = self.from_own_page(TestRequest::get(&self.url("/api/auth/session")));
        self.send(request).await
    }
}

fn navigation(request: TestRequest, site: &str) -> TestRequest {
    request
        .header("accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8")
        .header("sec-fetch-site", site)
        .header("sec-fetch-mode", "navigate")
        .header("sec-fetch-dest", "document")
}
