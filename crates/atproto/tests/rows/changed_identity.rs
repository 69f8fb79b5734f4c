//! People who change who they are, or where they live, just before they sign in: what was looked up of them a moment ago
//! must not stand in their way, and must not let a flood of sign-ins become a flood of lookups.

use std::time::Duration;

use bowerbird_testkit::fault::{FaultNetwork, Misbehave, endpoint};
use futures_util::future::join_all;
use serde_json::json;
use url::Url;

use crate::world::World;

/// Longer than a document is good for, and far shorter than what else is remembered.
const A_MOMENT: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread")]
async fn a_handle_that_was_just_taken_signs_in() {
    let world = World::start().await;
    let alice = world.network.add_account("alice.test");
    let before = world.sign_in("alice.test").await;
    world.network.rename_account(&alice.did, "new.test");
    world.clock.let_pass(A_MOMENT);
    let after = world.sign_in("new.test").await;
    assert_eq!((after.account.id, after.account.handle.as_str()), (before.account.id, "new.test"));
    assert_eq!(world.refused_start("alice.test").await, ("invalid_handle", 400), "the old one is nobody's");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handle_that_changed_hands_is_the_new_owners_at_once() {
    let world = World::start().await;
    let alice = world.network.add_account("house.test");
    let bob = world.network.add_account("bob.test");
    assert_eq!(world.sign_in("house.test").await.account.did.as_str(), alice.did);
    world.network.rename_account(&alice.did, "alice.test");
    world.network.rename_account(&bob.did, "house.test");
    world.clock.let_pass(A_MOMENT);
    let login = world.sign_in("house.test").await;
    assert_eq!((login.account.did.as_str(), login.account.handle.as_str()), (&*bob.did, "house.test"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_moved_signs_in_at_its_new_server() {
    let network = FaultNetwork::start().await;
    let (new_home, _) = network.add_self_hosted();
    let world = World::on(network, |_| ());
    let alice = world.network.add_account("alice.test");
    let before = world.sign_in("alice.test").await;
    world.network.move_account(&alice.did, &new_home);
    world.clock.let_pass(A_MOMENT);
    let repair = world.atproto.logins.start_repair(before.account.id, None, crate::world::BROWSER, "/".into()).await;
    let by_did = world.start_login(&alice.did).await;
    let by_handle = world.start_login("alice.test").await;
    for started in [repair, by_did, by_handle] {
        let url: Url = started.unwrap().authorize_url;
        assert_eq!(url.origin(), Url::parse(new_home.origin()).unwrap().origin());
    }
    let after = world.sign_in("alice.test").await;
    assert_eq!((after.account.id, after.account.pds.as_str()), (before.account.id, new_home.origin()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_just_added_behind_an_entryway_can_be_signed_in_at() {
    let network = FaultNetwork::start_with_entryway().await;
    let entryway = network.authorization_server();
    let added = network.add_pds(&entryway);
    let world = World::on(network, |_| ());
    world.network.add_account("alice.test");
    let bob = world.network.add_account_at(&added, "bob.test");
    let without_it = json!({"protected_resources": [world.network.pds().origin()]});
    entryway.server().misbehave(endpoint::AUTHORIZATION_SERVER, Misbehave::merge(without_it));
    world.sign_in("alice.test").await;
    assert_eq!(world.refused_start(&bob.did).await, ("as_metadata_invalid", 502));
    entryway.server().behave();
    world.clock.let_pass(A_MOMENT);
    assert_eq!(world.sign_in("bob.test").await.account.did.as_str(), bob.did);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_bad_sign_ins_is_one_lookup_at_a_time() {
    let world = World::start().await;
    let alice = world.network.add_account("alice.test");
    world.network.add_account("theirs.test");
    // Names Alice, who does not claim it.
    world.network.point_handle_to("theirs.test", &alice.did);
    world.sign_in("alice.test").await;
    for _ in 0..3 {
        world.clock.let_pass(A_MOMENT);
        let before = world.network.plc().lookups(&alice.did);
        let refusals = join_all((0..40).map(|_| world.refused_start("theirs.test"))).await;
        assert!(refusals.iter().all(|refusal| *refusal == ("invalid_handle", 400)), "{refusals:?}");
        // The clock goes on by itself: on a slow machine a document may grow old under the flood.
        let lookups = world.network.plc().lookups(&alice.did) - before;
        assert!((1..=4).contains(&lookups), "{lookups} lookups for 40 sign-ins");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_sign_ins_under_an_entryway_that_lists_them_not_asks_it_once() {
    let network = FaultNetwork::start_with_entryway().await;
    let entryway = network.authorization_server();
    let stranger = network.add_pds(&entryway);
    let world = World::on(network, |_| ());
    let mallory = world.network.add_account_at(&stranger, "mallory.test");
    let without_it = json!({"protected_resources": [world.network.pds().origin()]});
    entryway.server().misbehave(endpoint::AUTHORIZATION_SERVER, Misbehave::merge(without_it));
    assert_eq!(world.refused_start(&mallory.did).await, ("as_metadata_invalid", 502));
    world.clock.let_pass(A_MOMENT);
    let asked = || entryway.server().count(endpoint::AUTHORIZATION_SERVER);
    let before = asked();
    for _ in 0..40 {
        assert_eq!(world.refused_start(&mallory.did).await, ("as_metadata_invalid", 502));
    }
    assert!((1..=4).contains(&(asked() - before)), "{} times in 40 sign-ins", asked() - before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_down_is_asked_once_for_a_handle_that_is_known() {
    let world = World::start().await;
    let alice = world.network.add_account("alice.test");
    world.sign_in("alice.test").await;
    world.clock.let_pass(A_MOMENT);
    world.network.clear_logs();
    world.network.plc().server().misbehave(endpoint::ANY, Misbehave::status(500));
    assert_eq!(world.refused_start("alice.test").await, ("identity_unresolvable", 502));
    assert_eq!(world.network.plc().lookups(&alice.did), 1);
    assert_eq!(world.network.pds().server().count(endpoint::RESOLVE_HANDLE), 0);
}
