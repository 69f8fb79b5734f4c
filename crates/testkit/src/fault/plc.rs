//! The PLC directory.

use async_trait::async_trait;
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::accounts::{Accounts, document_of};
use super::http_server::{FaultServer, Site};
use super::reply::Reply;
use super::request_log::RecordedRequest;

/// The PLC directory of a network.
#[derive(Clone, Debug)]
pub struct Plc {
    server: FaultServer,
    accounts: Accounts,
}

impl Plc {
    pub(crate) fn start(server: FaultServer, accounts: &Accounts) -> Self {
        server.install(std::sync::Arc::new(PlcSite { accounts: accounts.clone() }));
        Self { server, accounts: accounts.clone() }
    }

    /// The server, for rules and its request log. Documents are at `/did:plc:…`.
    pub fn server(&self) -> &FaultServer {
        &self.server
    }

    /// The current document of a DID.
    pub fn document(&self, did: &str) -> Value {
        self.accounts.document(did).unwrap_or_else(|| panic!("{did} is no account of this network"))
    }

    /// The document that an account would have with another PDS.
    pub fn document_with_pds(&self, did: &str, pds: &str) -> Value {
        let mut account = self.accounts.by_did(did).unwrap_or_else(|| panic!("{did} is no account of this network"));
        pds.clone_into(&mut account.pds);
        document_of(&account)
    }

    /// Serves this document for a DID from now on; None: the true one again.
    pub fn set_document(&self, did: &str, document: Option<Value>) {
        self.accounts.set_document(did, document);
    }

    /// How often a DID was looked up.
    pub fn lookups(&self, did: &str) -> usize {
        self.server.count(&format!("/{did}"))
    }
}

struct PlcSite {
    accounts: Accounts,
}

#[async_trait]
impl Site for PlcSite {
    async fn answer(&self, request: &RecordedRequest, _upload: Option<Incoming>) -> Reply {
        let did = request.path().trim_start_matches('/').replace("%3A", ":").replace("%3a", ":");
        match self.accounts.document(&did).filter(|_| did.starts_with("did:plc:")) {
            Some(document) => Reply::text(200, "application/did+ld+json; charset=utf-8", document.to_string()),
            None => Reply::json(404, &json!({"message": format!("DID not registered: {did}")})),
        }
    }
}
