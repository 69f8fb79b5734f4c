//! Text from outside: stored as it is, or refused; never cut, changed or run.

use bowerbird_core::ports::{Cas, NewAccount, StoreError, Stores};
use bowerbird_core::{Connection, CredentialRecord, DeviceSession, Platform, Profile};

use super::fixtures::{at, connection, connection_id, device, did, grant, login, signed_in};

/// Texts that have hurt others.
fn hostile() -> Vec<String> {
    let mut texts: Vec<String> = [
        "",
        " ",
        "' OR 1=1 --",
        "'; DROP TABLE accounts; --",
        "\" OR \"\"=\"",
        "$1 ?1 :name @name %s {}",
        "\\' \\\\ \\0 \\x00",
        "a\0b",
        "\u{1b}[31mred\u{1b}[0m",
        "line\r\nSet-Cookie: sid=1",
        "e\u{301} \u{e9}",
        "İstanbul ß ſ",
        "\u{202e}gnp.exe",
        "👩‍👩‍👧‍👦🏳️‍🌈",
        "\u{feff}bom\u{ffff}\u{10ffff}",
        "NULL",
        "%_*",
    ]
    .map(str::to_owned)
    .to_vec();
    texts.push("x".repeat(2048));
    texts.push("語".repeat(682));
    texts
}

/// Whether a write was made; a refusal is fine, anything else is not.
fn made<T>(outcome: Result<T, StoreError>, text: &str) -> bool {
    match outcome {
        Ok(_) => true,
        Err(StoreError::Refused(_)) => false,
        Err(error) => panic!("{text:?} broke the store: {error:?}"),
    }
}

/// Every text column gives back what it was given, or the write was refused and nothing changed.
pub async fn hostile_text_is_kept_or_refused(stores: Stores) {
    for (number, text) in (1..).zip(hostile()) {
        let text = text.as_str();
        let account = signed_in(&stores, number).await;
        let renamed = NewAccount { handle: text.to_owned(), pds: text.to_owned(), ..login(number, at(90)) };
        if made(stores.accounts.sign_in(renamed).await, text) {
            let kept = stores.accounts.find(account.id).await.unwrap().unwrap();
            assert_eq!((kept.handle.as_str(), kept.pds.as_str()), (text, text));
        } else {
            assert_eq!(stores.accounts.find(account.id).await.unwrap(), Some(account.clone()));
        }

        let profile = Profile { display_name: Some(text.to_owned()), avatar: Some(text.to_owned()) };
        let expected =
            if made(stores.accounts.set_profile(account.id, &profile).await, text) { profile } else { account.profile };
        assert_eq!(stores.accounts.find(account.id).await.unwrap().unwrap().profile, expected);

        let session = DeviceSession { device_name: text.to_owned(), ..device(number, &[number]) };
        let expected = made(stores.device_sessions.insert(&session).await, text).then_some(session.clone());
        assert_eq!(stores.device_sessions.find(&session.id, at(50)).await.unwrap(), expected);

        stores.connections.ensure(&connection(number)).await.unwrap();
        let mut record = CredentialRecord {
            issuer: text.to_owned(),
            audience: text.to_owned(),
            subject: text.to_owned(),
            client_kid: Some(text.to_owned()),
            ..grant(number)
        };
        text.clone_into(&mut record.tokens.scope);
        let expected = made(stores.credentials.replace(&record, None).await, text).then_some(record);
        assert_eq!(stores.credentials.find(connection_id(number)).await.unwrap(), expected);
    }
    assert_eq!(stores.accounts.list(None, 1000).await.unwrap().len(), hostile().len());
}

/// As a key, a text finds itself and nothing else: no pattern, no folding of case, accents or spaces.
pub async fn hostile_text_finds_only_itself(stores: Stores) {
    let account = signed_in(&stores, 1).await;
    let mut stored = Vec::new();
    for (number, text) in (1..).zip(hostile()) {
        let offered = Connection {
            id: connection_id(number),
            platform: Platform::named(text.clone()),
            subject: text.clone(),
            ..connection(1)
        };
        if made(stores.connections.ensure(&offered).await, &text) {
            stored.push(offered);
        }
    }
    assert!(stored.len() >= hostile().len() - 1, "at most NUL is refused");
    for wanted in &stored {
        let found = stores.connections.find(account.id, &wanted.platform, &wanted.subject).await.unwrap();
        assert_eq!(found.as_ref(), Some(wanted));
    }
    let kek = bowerbird_core::WrappedDataKey { account: account.id, kek_id: "k'1".to_owned(), wrapped: vec![1] };
    stores.data_keys.ensure(&kek).await.unwrap();
    assert_eq!(stores.data_keys.rewrap(&kek, "' OR 1=1 --").await.unwrap(), Cas::Stale);
    assert_eq!(stores.accounts.find_by_did(&did(1)).await.unwrap().map(|found| found.id), Some(account.id));
}
