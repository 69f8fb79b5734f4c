//! One-time codes for apps.

use bowerbird_core::ports::Stores;
use bowerbird_core::{Handoff, HandoffCodeHash, Redemption};

use super::fixtures::{T0, account_id, at, device_id, is_refused, race, signed_in};

const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

fn handoff(number: u8) -> Handoff {
    Handoff {
        code: HandoffCodeHash([number; 32]),
        account: account_id(1),
        device: Some(device_id(7)),
        device_name: "Safari on iPhone".to_owned(),
        challenge: Some(CHALLENGE.to_owned()),
        created_at: T0,
        expires_at: at(60),
    }
}

async fn redeem(stores: &Stores, number: u8, proof: Option<&str>, seconds: i64) -> Redemption {
    stores.handoffs.redeem(&HandoffCodeHash([number; 32]), proof, at(seconds)).await.unwrap()
}

/// A code gives what was stored with it, to the right proof, once.
pub async fn it_comes_back_once_as_it_was(stores: Stores) {
    signed_in(&stores, 1).await;
    let bare = Handoff { device: None, challenge: None, ..handoff(2) };
    for one in [&handoff(1), &bare] {
        stores.handoffs.insert(one).await.unwrap();
    }
    assert!(is_refused(&stores.handoffs.insert(&handoff(1)).await), "a code is there once");
    assert_eq!(redeem(&stores, 9, Some(CHALLENGE), 1).await, Redemption::Unknown);
    assert_eq!(redeem(&stores, 1, Some(CHALLENGE), 1).await, Redemption::Redeemed(handoff(1)));
    assert_eq!(redeem(&stores, 1, Some(CHALLENGE), 1).await, Redemption::Unknown);
    assert_eq!(redeem(&stores, 2, None, 1).await, Redemption::Redeemed(bare));
}

/// Of fifty exchanges of one code, one gets it, and the others learn nothing.
pub async fn one_of_fifty_redeems(stores: Stores) {
    signed_in(&stores, 1).await;
    stores.handoffs.insert(&handoff(1)).await.unwrap();
    let outcomes = race(50, |_| {
        let handoffs = stores.handoffs.clone();
        async move { handoffs.redeem(&HandoffCodeHash([1; 32]), Some(CHALLENGE), at(1)).await.unwrap() }
    })
    .await;
    let redeemed = outcomes.iter().filter(|outcome| matches!(outcome, Redemption::Redeemed(_))).count();
    assert_eq!(redeemed, 1);
    assert!(outcomes.iter().all(|outcome| !matches!(outcome, Redemption::WrongVerifier { .. })), "{outcomes:?}");
}

/// The third wrong verifier ends a code, for the right one too, also when they come at once.
pub async fn three_wrong_verifiers_burn_it(stores: Stores) {
    signed_in(&stores, 1).await;
    stores.handoffs.insert(&handoff(1)).await.unwrap();
    for left in [2, 1, 0] {
        assert_eq!(redeem(&stores, 1, Some("wrong"), 1).await, Redemption::WrongVerifier { left });
    }
    assert_eq!(redeem(&stores, 1, Some(CHALLENGE), 1).await, Redemption::Unknown);

    stores.handoffs.insert(&handoff(2)).await.unwrap();
    let outcomes = race(20, |_| {
        let handoffs = stores.handoffs.clone();
        async move { handoffs.redeem(&HandoffCodeHash([2; 32]), Some("wrong"), at(1)).await.unwrap() }
    })
    .await;
    let tried = outcomes.iter().filter(|outcome| matches!(outcome, Redemption::WrongVerifier { .. })).count();
    assert_eq!(tried, 3, "{outcomes:?}");
    assert_eq!(redeem(&stores, 2, Some(CHALLENGE), 1).await, Redemption::Unknown);

    // Two wrong ones leave it to the right one.
    stores.handoffs.insert(&handoff(3)).await.unwrap();
    for _ in 0..2 {
        redeem(&stores, 3, Some("wrong"), 1).await;
    }
    assert_eq!(redeem(&stores, 3, Some(CHALLENGE), 1).await, Redemption::Redeemed(handoff(3)));
}

/// A missing verifier is a wrong one; so is one where none was announced.
pub async fn a_proof_is_exact_also_where_none_is_expected(stores: Stores) {
    signed_in(&stores, 1).await;
    stores.handoffs.insert(&handoff(1)).await.unwrap();
    assert_eq!(redeem(&stores, 1, None, 1).await, Redemption::WrongVerifier { left: 2 });
    let lower = CHALLENGE.to_lowercase();
    assert_eq!(redeem(&stores, 1, Some(&lower), 1).await, Redemption::WrongVerifier { left: 1 });
    let bare = Handoff { challenge: None, ..handoff(2) };
    stores.handoffs.insert(&bare).await.unwrap();
    assert_eq!(redeem(&stores, 2, Some(CHALLENGE), 1).await, Redemption::WrongVerifier { left: 2 });
    assert_eq!(redeem(&stores, 2, None, 1).await, Redemption::Redeemed(bare));
}

/// At its end a code is unknown; a millisecond before, it is not. Purging removes what has ended and counts it.
pub async fn expired_is_unknown_and_purged(stores: Stores) {
    signed_in(&stores, 1).await;
    for number in 1..=3 {
        stores.handoffs.insert(&handoff(number)).await.unwrap();
    }
    stores.handoffs.insert(&Handoff { expires_at: at(61), ..handoff(4) }).await.unwrap();
    assert_eq!(redeem(&stores, 1, Some(CHALLENGE), 60).await, Redemption::Unknown);
    assert_eq!(redeem(&stores, 2, Some("wrong"), 60).await, Redemption::Unknown, "nothing is counted any more");
    let last =
        stores.handoffs.redeem(&HandoffCodeHash([3; 32]), Some(CHALLENGE), at(60).plus_millis(-1)).await.unwrap();
    assert_eq!(last, Redemption::Redeemed(handoff(3)));
    assert_eq!(stores.handoffs.purge(at(59)).await.unwrap(), 0);
    assert_eq!(stores.handoffs.purge(at(60)).await.unwrap(), 2);
    assert_eq!(stores.handoffs.purge(at(60)).await.unwrap(), 0);
    assert!(matches!(redeem(&stores, 4, Some(CHALLENGE), 60).await, Redemption::Redeemed(_)));
}

/// Nothing is handed over of an account that is gone.
pub async fn it_goes_with_its_account(stores: Stores) {
    assert!(is_refused(&stores.handoffs.insert(&handoff(1)).await));
    signed_in(&stores, 1).await;
    stores.handoffs.insert(&handoff(1)).await.unwrap();
    assert!(stores.accounts.remove(account_id(1)).await.unwrap());
    assert_eq!(redeem(&stores, 1, Some(CHALLENGE), 1).await, Redemption::Unknown);
}

/// A code that was taken back is given out once more, to whoever takes it back, and exchanges nothing.
pub async fn one_that_is_withdrawn_is_gone(stores: Stores) {
    signed_in(&stores, 1).await;
    for number in 1..=2 {
        stores.handoffs.insert(&handoff(number)).await.unwrap();
    }
    let code = HandoffCodeHash([1; 32]);
    assert_eq!(stores.handoffs.withdraw(&code).await.unwrap(), Some(handoff(1)), "without its verifier");
    assert_eq!(stores.handoffs.withdraw(&code).await.unwrap(), None);
    assert_eq!(redeem(&stores, 1, Some(CHALLENGE), 1).await, Redemption::Unknown);
    assert!(matches!(redeem(&stores, 2, Some(CHALLENGE), 1).await, Redemption::Redeemed(_)), "the other one stays");
    assert_eq!(stores.handoffs.withdraw(&HandoffCodeHash([2; 32])).await.unwrap(), None, "an exchanged one is gone");
}
