//! The grants of all authorization servers of a network. Token rules as measured: single-use refresh tokens without any
//! grace, a replay or any mistake after the token was found ends the whole grant.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::ledger::{CanaryKind, Ledger};
use super::network_clock::NetworkClock;

/// How a client authenticated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ClientProof {
    /// A public client.
    None,
    /// `private_key_jwt` with this key.
    Key { kid: String, jkt: String },
}

/// One person's consent for one client, and its current tokens.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    pub(crate) issuer: String,
    pub(crate) subject: String,
    pub(crate) client_id: String,
    pub(crate) client_proof: ClientProof,
    pub(crate) jkt: String,
    pub(crate) scope: String,
    pub(crate) access_token: String,
    pub(crate) access_expires_at: i64,
    pub(crate) refresh_token: String,
    pub(crate) refreshed_at: i64,
    pub(crate) began_at: i64,
    pub(crate) alive: bool,
}

/// What is known of a refresh token.
#[derive(Clone, Debug)]
pub(crate) enum RefreshStanding {
    Unknown,
    Current(Box<Grant>),
    Spent,
    Dead,
}

/// What is known of an access token.
#[derive(Clone, Debug)]
pub(crate) enum AccessStanding {
    Unknown,
    Live(Box<Grant>),
    Expired,
    Dead,
}

/// The grants; shared by clones.
#[derive(Clone, Debug)]
pub(crate) struct Grants {
    book: Arc<Mutex<Book>>,
    ledger: Ledger,
    clock: NetworkClock,
}

#[derive(Debug, Default)]
struct Book {
    grants: HashMap<u64, Grant>,
    next: u64,
    by_refresh: HashMap<String, u64>,
    by_access: HashMap<String, AccessRecord>,
}

#[derive(Debug)]
struct AccessRecord {
    grant: u64,
    expires_at: i64,
    /// A stateless authorization server's old access tokens outlive a rotation (and a revocation).
    outlives_rotation: bool,
}

impl Grants {
    pub(crate) fn new(ledger: &Ledger, clock: &NetworkClock) -> Self {
        Self { book: Arc::default(), ledger: ledger.clone(), clock: clock.clone() }
    }

    /// Opens a grant with its first tokens; the template's tokens are ignored. Returns its number and itself.
    pub(crate) fn open(&self, template: Grant, access_millis: i64, stateless: bool) -> (u64, Grant) {
        let mut book = self.book.lock();
        book.next += 1;
        let id = book.next;
        book.grants.insert(id, template);
        let grant = self.put_tokens(&mut book, id, access_millis, stateless);
        (id, grant)
    }

    fn put_tokens(&self, book: &mut Book, id: u64, access_millis: i64, stateless: bool) -> Grant {
        let now = self.clock.now_millis();
        let grant = book.grants.get_mut(&id).expect("an open grant");
        grant.access_token = self.ledger.mint(CanaryKind::AccessToken, &grant.issuer);
        grant.refresh_token = self.ledger.mint(CanaryKind::RefreshToken, &grant.issuer);
        grant.access_expires_at = now + access_millis;
        grant.refreshed_at = now;
        let grant = grant.clone();
        book.by_refresh.insert(grant.refresh_token.clone(), id);
        let record = AccessRecord { grant: id, expires_at: grant.access_expires_at, outlives_rotation: stateless };
        book.by_access.insert(grant.access_token.clone(), record);
        grant
    }

    pub(crate) fn refresh_standing(&self, refresh_token: &str) -> RefreshStanding {
        let book = self.book.lock();
        let grant = book.by_refresh.get(refresh_token).and_then(|id| book.grants.get(id));
        match grant {
            None => RefreshStanding::Unknown,
            Some(grant) if grant.refresh_token != refresh_token => RefreshStanding::Spent,
            Some(grant) if !grant.alive => RefreshStanding::Dead,
            Some(grant) => RefreshStanding::Current(Box::new(grant.clone())),
        }
    }

    /// Rotates the tokens of the grant with this current refresh token; None when another request was faster.
    pub(crate) fn rotate(&self, refresh_token: &str, access_millis: i64, stateless: bool) -> Option<Grant> {
        let mut book = self.book.lock();
        let id = *book.by_refresh.get(refresh_token)?;
        let current = book.grants.get(&id).filter(|grant| grant.alive && grant.refresh_token == refresh_token)?;
        // Stateful: the old access token dies with the rotation.
        let old_access = current.access_token.clone();
        if !stateless {
            book.by_access.get_mut(&old_access)?.outlives_rotation = false;
        }
        Some(self.put_tokens(&mut book, id, access_millis, stateless))
    }

    pub(crate) fn end(&self, id: u64) {
        if let Some(grant) = self.book.lock().grants.get_mut(&id) {
            grant.alive = false;
        }
    }

    /// Ends the grant that a token, current or spent, belongs to. False when there is none.
    pub(crate) fn end_by_token(&self, token: &str) -> bool {
        let id = {
            let book = self.book.lock();
            book.by_refresh.get(token).copied().or_else(|| book.by_access.get(token).map(|record| record.grant))
        };
        id.inspect(|&id| self.end(id)).is_some()
    }

    /// Ends every grant of an account; returns how many were alive.
    pub(crate) fn end_all_of(&self, subject: &str) -> usize {
        let mut book = self.book.lock();
        let alive = book.grants.values_mut().filter(|grant| grant.alive && grant.subject == subject);
        alive.map(|grant| grant.alive = false).count()
    }

    pub(crate) fn access_standing(&self, access_token: &str) -> AccessStanding {
        let book = self.book.lock();
        let Some(record) = book.by_access.get(access_token) else { return AccessStanding::Unknown };
        let Some(grant) = book.grants.get(&record.grant) else { return AccessStanding::Unknown };
        let current = grant.alive && grant.access_token == access_token;
        if !current && !record.outlives_rotation {
            AccessStanding::Dead
        } else if self.clock.now_millis() >= record.expires_at {
            AccessStanding::Expired
        } else {
            AccessStanding::Live(Box::new(grant.clone()))
        }
    }

    /// Expires every access token given so far.
    pub(crate) fn expire_all_access_tokens(&self) {
        let mut book = self.book.lock();
        for record in book.by_access.values_mut() {
            record.expires_at = 0;
        }
        for grant in book.grants.values_mut() {
            grant.access_expires_at = 0;
        }
    }

    /// How many grants an account has alive.
    pub(crate) fn alive_of(&self, subject: &str) -> usize {
        self.book.lock().grants.values().filter(|grant| grant.alive && grant.subject == subject).count()
    }
}
