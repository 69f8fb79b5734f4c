//! The control server of the real network: lifetimes, faults, its request log, grants.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::network::{RealAccount, RealNetwork};
use crate::fault::FaultServer;
use crate::http_client::TestRequest;
use crate::server::BowerbirdProcess;

/// A fault in front of the real PDS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerFault {
    /// This status instead of processing.
    Status(u16),
    /// This status with this XRPC error instead of processing.
    Refuse(u16, &'static str),
    /// The connection is reset before anything is processed.
    Reset,
    /// The request is processed, and its answer dropped.
    Lost,
    /// The request is processed this many milliseconds later.
    Delay(u64),
}

impl RealNetwork {
    async fn control_call(&self, method: &str, call: &str, parameters: &[(&str, &str)]) -> Value {
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        let mut url = format!("{}{call}", self.control());
        if !query.is_empty() {
            write!(url, "?{query}").expect("writing to a string");
        }
        self.client.send(TestRequest::new(method, &url)).await.expect_status(200).json()
    }

    /// Access tokens minted from now on live this long.
    pub async fn set_access_millis(&self, millis: u64) {
        self.control_call("POST", "/config", &[("accessTtlMs", &millis.to_string())]).await;
    }

    /// Sets any of `accessTtlMs`, `dpopRotationMs`, `sessionLifetimeMs`, `refreshLifetimeMs`.
    pub async fn configure(&self, name: &str, millis: u64) {
        self.control_call("POST", "/config", &[(name, &millis.to_string())]).await;
    }

    /// Makes every DPoP nonce invalid at once.
    pub async fn renew_nonces(&self) {
        self.control_call("POST", "/new-nonce-secret", &[]).await;
    }

    /// Lays a fault on a path for the next `times` requests.
    pub async fn fault(&self, path: &str, fault: ServerFault, times: u32) {
        let (mode, extra) = match fault {
            ServerFault::Status(status) => ("status", vec![("status", status.to_string())]),
            ServerFault::Refuse(status, error) => {
                ("status", vec![("status", status.to_string()), ("error", error.to_owned())])
            }
            ServerFault::Reset => ("reset", vec![]),
            ServerFault::Lost => ("lost", vec![]),
            ServerFault::Delay(millis) => ("delay", vec![("delayMs", millis.to_string())]),
        };
        let times = times.to_string();
        let mut parameters = vec![("path", path), ("mode", mode), ("times", &times)];
        parameters.extend(extra.iter().map(|(name, value)| (*name, value.as_str())));
        self.control_call("POST", "/fault", &parameters).await;
    }

    /// The faults that were laid, as `{path, mode, times, …}`; `times` counts down to 0.
    pub async fn faults(&self) -> Vec<Value> {
        self.control_call("GET", "/fault", &[]).await.as_array().cloned().unwrap_or_default()
    }

    /// Takes every fault away.
    pub async fn clear_faults(&self) {
        self.control_call("DELETE", "/fault", &[]).await;
    }

    /// Requests that reached the PDS on paths beginning so, as `{method, url, at, status, ms}`.
    pub async fn log(&self, path: &str) -> Vec<Value> {
        let log = self.control_call("GET", "/log", &[("path", path)]).await;
        log.as_array().cloned().unwrap_or_default()
    }

    /// Forgets them.
    pub async fn clear_log(&self) {
        self.control_call("DELETE", "/log", &[]).await;
    }

    /// Lets the PDS fetch `https://HOST/…` from a base URL from now on.
    pub async fn map_host(&self, host: &str, to: &str) {
        self.control_call("POST", "/hostmap", &[("host", host), ("to", to)]).await;
    }

    /// Lets the PDS fetch the metadata and keys of a server with a public URL such as `https://bff.home.arpa`. Keep what
    /// comes back: its log shows what the PDS fetched.
    pub async fn map_server(&self, server: &BowerbirdProcess) -> FaultServer {
        let front = server.front();
        self.map_host(&server.host(), front.origin()).await;
        front
    }

    /// Forgets a client's metadata and keys, which the PDS keeps for ten minutes.
    pub async fn forget_client(&self, client_id: &str, jwks_uri: &str) {
        self.control_call("POST", "/forget-client", &[("id", client_id), ("jwks", jwks_uri)]).await;
    }

    /// Gives an account a handle on a domain of its owner, as its owner does: by DNS, then at the PDS. The account as it is
    /// then; whoever else looks for the handle must be told by a DNS of their own.
    pub async fn move_to_domain(&self, account: &RealAccount, handle: &str) -> RealAccount {
        self.control_call("POST", "/domain", &[("handle", handle), ("did", &account.did)]).await;
        let xrpc = |method: &str| format!("{}/xrpc/com.atproto.{method}", self.pds());
        let sign_in = json!({"identifier": account.did, "password": account.password});
        let request = TestRequest::post_json(&xrpc("server.createSession"), &sign_in);
        let session = self.client.send(request).await.expect_status(200).json();
        let request = TestRequest::post_json(&xrpc("identity.updateHandle"), &json!({"handle": handle}));
        let bearer = format!("Bearer {}", session["accessJwt"].as_str().expect("an access token"));
        let _updated = self.client.send(request.header("authorization", &bearer)).await.expect_status(200);
        RealAccount { handle: handle.to_owned(), ..account.clone() }
    }

    /// The grants of an account.
    pub async fn grants(&self, did: &str) -> Vec<Value> {
        self.control_call("GET", "/tokens", &[("did", did)]).await.as_array().cloned().unwrap_or_default()
    }

    /// Ends every grant of an account, as its owner would.
    pub async fn revoke_all(&self, did: &str) {
        self.control_call("POST", "/revoke-all", &[("did", did)]).await;
    }
}
