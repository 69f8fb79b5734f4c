//! The people of a network: DID, handle, home.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::threads::random;

/// An identity of a network; it has no password, since authorization servers approve by script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultAccount {
    /// The DID.
    pub did: String,
    /// The handle.
    pub handle: String,
    /// The origin of the PDS.
    pub pds: String,
}

/// The accounts; shared by clones.
#[derive(Clone, Debug, Default)]
pub(crate) struct Accounts(Arc<Mutex<BTreeMap<String, Entry>>>);

#[derive(Clone, Debug)]
struct Entry {
    account: FaultAccount,
    document: Option<Value>,
    handle_points_to: Option<String>,
}

impl Accounts {
    pub(crate) fn add(&self, did: &str, handle: &str, pds: &str) -> FaultAccount {
        let account = FaultAccount { did: did.to_owned(), handle: handle.to_owned(), pds: pds.to_owned() };
        let entry = Entry { account: account.clone(), document: None, handle_points_to: None };
        self.0.lock().insert(did.to_owned(), entry);
        account
    }

    pub(crate) fn by_did(&self, did: &str) -> Option<FaultAccount> {
        self.0.lock().get(did).map(|entry| entry.account.clone())
    }

    /// The DID that a handle's own side names, which a test may have bent.
    pub(crate) fn did_of_handle(&self, handle: &str) -> Option<String> {
        let book = self.0.lock();
        let entry = book.values().find(|entry| entry.account.handle.eq_ignore_ascii_case(handle))?;
        Some(entry.handle_points_to.clone().unwrap_or_else(|| entry.account.did.clone()))
    }

    /// By DID or handle, as a person types it.
    pub(crate) fn named(&self, identifier: &str) -> Option<FaultAccount> {
        let book = self.0.lock();
        let fits = |entry: &&Entry| entry.account.did == identifier || entry.account.handle == identifier;
        book.values().find(fits).map(|entry| entry.account.clone())
    }

    pub(crate) fn hosted_at(&self, pds: &str) -> Vec<FaultAccount> {
        let book = self.0.lock();
        book.values().filter(|entry| entry.account.pds == pds).map(|entry| entry.account.clone()).collect()
    }

    pub(crate) fn document(&self, did: &str) -> Option<Value> {
        let book = self.0.lock();
        let entry = book.get(did)?;
        Some(entry.document.clone().unwrap_or_else(|| document_of(&entry.account)))
    }

    pub(crate) fn change(&self, did: &str, change: impl FnOnce(&mut FaultAccount)) {
        let mut book = self.0.lock();
        change(&mut book.get_mut(did).unwrap_or_else(|| panic!("{did} is no account of this network")).account);
    }

    pub(crate) fn set_document(&self, did: &str, document: Option<Value>) {
        let mut book = self.0.lock();
        book.get_mut(did).unwrap_or_else(|| panic!("{did} is no account of this network")).document = document;
    }

    pub(crate) fn point_handle_to(&self, handle: &str, did: Option<String>) {
        let mut book = self.0.lock();
        let entry = book.values_mut().find(|entry| entry.account.handle == handle);
        entry.unwrap_or_else(|| panic!("{handle} is no account of this network")).handle_points_to = did;
    }
}

/// A fresh did:plc: 24 characters of base32.
pub(crate) fn new_plc_did() -> String {
    let letter = |byte: u8| char::from(b"abcdefghijklmnopqrstuvwxyz234567"[usize::from(byte % 32)]);
    format!("did:plc:{}", random::<24>().into_iter().map(letter).collect::<String>())
}

/// The DID document of an account, in the PLC directory's shape.
pub(crate) fn document_of(account: &FaultAccount) -> Value {
    json!({
        "@context": ["https://www.w3.org/ns/did/v1", "https://w3id.org/security/suites/secp256k1-2019/v1"],
        "id": account.did,
        "alsoKnownAs": [format!("at://{}", account.handle)],
        "verificationMethod": [{
            "id": "#atproto",
            "type": "EcdsaSecp256k1VerificationKey2019",
            "controller": account.did,
            "publicKeyMultibase": "zMhz9ebxM1mf5VSnJbyg8HwKtjSmfm674o9hphMTB5ASXzAr8UevHgBtRk4AAAW86ThRmUV4M1hBznZbYoTYsyppS",
        }],
        "service": [{"id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": account.pds}],
    })
}

/// An `app.bsky.actor.profile` record.
pub fn profile_record(display_name: &str, avatar_cid: Option<&str>, mime_type: &str) -> Value {
    let mut record = json!({"$type": "app.bsky.actor.profile", "displayName": display_name});
    if let Some(cid) = avatar_cid {
        record["avatar"] = json!({"$type": "blob", "ref": {"$link": cid}, "mimeType": mime_type, "size": 68});
    }
    record
}
