//! Sending: signatures, retries, restarts, several instances.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

use crate::support::{ADDRESS, Behaviour, Came, House, KEY, pass, settled};

/// Checks the signature by another implementation than ours.
fn verify(came: &Came) {
    let signed = [came.header("webhook-id"), ".", came.header("webhook-timestamp"), "."].concat();
    let signed = [signed.as_bytes(), came.request.body()].concat();
    let signature = STANDARD.decode(came.header("webhook-signature").strip_prefix("v1,").unwrap()).unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &KEY);
    hmac::verify(&key, &signed, &signature).unwrap();
    let other = hmac::Key::new(hmac::HMAC_SHA256, b"another key");
    assert!(hmac::verify(&other, &signed, &signature).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_webhook_says_what_happened_and_is_signed() {
    let house = House::new();
    let one = house.start();
    let alice = house.account(1).await;
    house.ends(&alice, &[&one]).await;
    let [came] = &house.receiver.came()[..] else { panic!("one webhook") };
    verify(came);
    assert_eq!(came.request.method(), "POST");
    assert_eq!(came.request.uri(), ADDRESS);
    assert_eq!(came.header("webhook-timestamp"), "1767225600");
    let body = came.json();
    let (account, connection) = (alice.0.id.to_string(), alice.1.to_string());
    assert_eq!(
        body,
        serde_json::json!({
            "id": came.header("webhook-id").strip_prefix("evt_").unwrap(),
            "type": "needs_reauth",
            "occurredAt": "2026-01-01T00:00:00Z",
            "accountId": account,
            "connectionId": connection,
            "did": "did:web:n1.example",
            "handle": "n1.example",
            "reason": "revoked",
            "message": "Access was withdrawn or has ended at the account's server.",
            "repairUrl": format!("https://bower.example/login/repair/{account}"),
        })
    );
    assert_eq!(house.waiting().await, 0);
    assert_eq!(one.figure("bowerbird_webhook_attempts_total{outcome=\"delivered\"}"), "1");
}

#[tokio::test(start_paused = true)]
async fn a_receiver_in_trouble_is_asked_again_with_growing_pauses() {
    let house = House::new();
    let one = house.start();
    let alice = house.account(1).await;
    *house.receiver.script.lock() =
        vec![Behaviour::Status(500), Behaviour::Unreachable, Behaviour::Status(302), Behaviour::RetryAfter("7")];
    house.ends(&alice, &[&one]).await;
    pass(Duration::from_hours(2)).await;
    let came = house.receiver.came();
    assert_eq!(came.len(), 5);
    let gaps: Vec<u64> = came.windows(2).map(|pair| pair[1].after.saturating_sub(pair[0].after).as_secs()).collect();
    for (gap, expected) in gaps.iter().zip([4..=6, 26..=34, 107..=133, 7..=8]) {
        assert!(expected.contains(gap), "{gaps:?}");
    }
    for attempt in &came {
        verify(attempt);
        assert_eq!(attempt.header("webhook-id"), came[0].header("webhook-id"));
        assert_eq!(attempt.request.body(), came[0].request.body());
    }
    assert_ne!(came[0].header("webhook-timestamp"), came[4].header("webhook-timestamp"), "the time of the attempt");
}

#[tokio::test(start_paused = true)]
async fn a_restart_loses_nothing_not_even_what_was_under_way() {
    let house = House::new();
    let one = house.start();
    let alice = house.account(1).await;
    *house.receiver.script.lock() = vec![Behaviour::Silent];
    house.ends(&alice, &[&one]).await;
    assert_eq!(house.receiver.came().len(), 1);
    one.die().await;
    let _two = house.start();
    pass(Duration::from_secs(55)).await;
    assert_eq!(house.receiver.came().len(), 1, "it may still be under way");
    pass(Duration::from_secs(15)).await;
    let came = house.receiver.came();
    assert_eq!(came.len(), 2);
    assert_eq!(came[0].header("webhook-id"), came[1].header("webhook-id"));
    pass(Duration::from_hours(2)).await;
    assert_eq!((house.receiver.came().len(), house.waiting().await), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn several_instances_send_each_webhook_once() {
    let house = House::new();
    let instances = [house.start(), house.start(), house.start()];
    for number in 0..30 {
        let person = house.account(number).await;
        house.ends(&person, &[&instances[usize::from(number) % 3]]).await;
    }
    pass(Duration::from_mins(1)).await;
    let mut ids: Vec<String> = house.receiver.came().iter().map(|came| came.header("webhook-id").to_owned()).collect();
    assert_eq!(ids.len(), 30);
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 30);
}

#[tokio::test(start_paused = true)]
async fn it_is_given_up_after_forty_hours_or_when_the_receiver_is_gone() {
    let house = House::new();
    let one = house.start();
    let (alice, bob) = (house.account(1).await, house.account(2).await);
    *house.receiver.script.lock() = vec![Behaviour::Status(410)];
    house.ends(&alice, &[&one]).await;
    assert_eq!((house.receiver.came().len(), house.waiting().await), (1, 0));
    *house.receiver.script.lock() = vec![Behaviour::Status(500); 50];
    house.ends(&bob, &[&one]).await;
    pass(Duration::from_hours(60)).await;
    assert_eq!((house.receiver.came().len(), house.waiting().await), (1 + 12, 0));
    assert_eq!(one.figure("bowerbird_webhook_attempts_total{outcome=\"given_up\"}"), "2");
    assert_eq!(one.figure("bowerbird_webhook_attempts_total{outcome=\"failed\"}"), "11");
}

#[tokio::test(start_paused = true)]
async fn an_address_that_is_down_holds_up_no_other() {
    let mut house = House::new();
    house.addresses = vec!["https://down.example/", "https://up.example/"];
    let one = house.start();
    let people = [house.account(1).await, house.account(2).await];
    // Whichever of the two is asked first does not answer, ever; the other one is told of both.
    *house.receiver.script.lock() = vec![Behaviour::Silent];
    for person in &people {
        house.ends(person, &[&one]).await;
    }
    settled(&[&one]).await;
    let came = house.receiver.came();
    let silent = came[0].request.uri().clone();
    assert_eq!(came.iter().filter(|came| *came.request.uri() != silent).count(), 2);
}
