//! What a program that comes from another library asks for its stores: an adapter of its own with times to live and a clean-up
//! that counts, one refresh among several processes, and a way on when another one was faster.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bowerbird_atproto::{OAuthClient, OAuthSession, StateStore};
use bowerbird_core::ports::{Clock, StoreError};
use bowerbird_core::testing::TestClock;
use bowerbird_core::{AuthorizationRequestRecord, StateHash, Timestamp};
use bowerbird_net::SystemClock;
use http::Method;
use parking_lot::Mutex;

use crate::oauth_client::{Library, callback_of};

/// A key-value store with times to live, such as Redis or Deno KV, behind the three methods that a store of logins needs.
#[derive(Default)]
struct KeyValue {
    rows: Mutex<HashMap<StateHash, (AuthorizationRequestRecord, Timestamp)>>,
}

#[async_trait]
impl StateStore for KeyValue {
    /// `set(key, value, ttl)`
    async fn insert(&self, record: &AuthorizationRequestRecord, cap: u64) -> Result<(), StoreError> {
        let mut rows = self.rows.lock();
        if rows.len() as u64 >= cap {
            return Err(StoreError::Full);
        }
        rows.insert(record.state, (record.clone(), record.expires_at));
        Ok(())
    }

    /// `get(key)` and `delete(key)` in one step
    async fn take(&self, state: &StateHash, now: Timestamp) -> Result<Option<AuthorizationRequestRecord>, StoreError> {
        let taken = self.rows.lock().remove(state);
        Ok(taken.filter(|(_, ends)| now < *ends).map(|(record, _)| record))
    }

    /// `cleanup()`, with its count
    async fn purge(&self, now: Timestamp) -> Result<u64, StoreError> {
        let mut rows = self.rows.lock();
        let before = rows.len();
        rows.retain(|_, (_, ends)| now < *ends);
        Ok((before - rows.len()) as u64)
    }
}

async fn sign_in(client: &OAuthClient, handle: &str) -> OAuthSession {
    let (url, _) = client.start_authorization(handle, None).await.unwrap();
    client.handle_callback_query(callback_of(&url).await.query().unwrap()).await.unwrap()
}

async fn call(client: &OAuthClient, session: &OAuthSession) -> u16 {
    let url = format!("{}/xrpc/com.atproto.server.getSession", session.pds_url());
    client.make_authenticated_request(session, Method::GET, &url).await.unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_043_a_store_of_ones_own_has_times_to_live_and_a_clean_up_that_counts() {
    let mut library = Library::start().await;
    library.network.add_account("alice.test");
    let (states, clock) = (Arc::new(KeyValue::default()), Arc::new(TestClock::new()));
    clock.jump_to(SystemClock::new().now());
    library.use_states(states.clone());
    let client = library.client_at(clock.clone());

    let session = sign_in(&client, "alice.test").await;
    assert_eq!(states.rows.lock().len(), 0, "a login that was ended is taken out");
    assert_eq!(call(&client, &session).await, 200);
    let (left, _) = client.start_authorization("alice.test", None).await.unwrap();
    clock.advance(Duration::from_mins(5));
    let (younger, _) = client.start_authorization("alice.test", None).await.unwrap();
    let seconds = |ends: &Timestamp| ends.millis_since(clock.now()) / 1000;
    let mut lives: Vec<i64> = states.rows.lock().values().map(|(_, ends)| seconds(ends)).collect();
    lives.sort_unstable();
    assert_eq!(lives, [300, 600], "each is told its time to live");
    assert_eq!(client.cleanup().await.unwrap(), 0);
    clock.advance(Duration::from_secs(301));
    assert_eq!(client.cleanup().await.unwrap(), 1, "the older one");
    assert_eq!(client.cleanup().await.unwrap(), 0);
    // What has expired is of no use, whether it was cleaned up or not.
    clock.advance(Duration::from_mins(5));
    for url in [left, younger] {
        let ended = client.handle_callback_query(callback_of(&url).await.query().unwrap()).await;
        assert_eq!(ended.unwrap_err().to_string(), "Invalid or expired state parameter");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_044_of_two_programs_on_one_store_one_refreshes_and_no_lock_is_needed() {
    let library = Library::start().await;
    library.network.add_account("alice.test");
    // Two processes, as far as a store can tell: nothing but the store is shared.
    let (one, two) = (library.client(), library.client());
    let session = sign_in(&one, "alice.test").await;
    assert_eq!((call(&one, &session).await, call(&two, &session).await), (200, 200));
    let server = library.network.authorization_server();
    library.network.expire_all_access_tokens();
    let before = server.token_calls();
    let calls = (0..20).map(|number| call(if number % 2 == 0 { &one } else { &two }, &session));
    let statuses = futures_util::future::join_all(calls).await;
    assert_eq!(statuses, [200; 20]);
    // One more when a nonce was asked for, which spends nothing.
    let sent = server.token_calls() - before;
    assert!((1..=2).contains(&sent), "{sent} requests for a refresh");
    library.network.ledger().assert_no_replays();
    library.network.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_045_a_program_that_was_overtaken_reads_the_successor_and_spends_nothing() {
    let library = Library::start().await;
    library.network.add_account("alice.test");
    let (one, two) = (library.client(), library.client());
    let session = sign_in(&one, "alice.test").await;
    // Both have the token in memory; then one renews it, and the old one is dead at that moment.
    assert_eq!((call(&one, &session).await, call(&two, &session).await), (200, 200));
    one.refresh_session(&session).await.unwrap();
    let server = library.network.authorization_server();
    let before = server.token_calls();
    assert_eq!(call(&two, &session).await, 200, "the answer is the call's own, not a failure to be repeated");
    assert_eq!(server.token_calls(), before, "the successor was in the store; nothing was sent for it");
    library.network.ledger().assert_no_replays();
    library.network.assert_clean();
}
