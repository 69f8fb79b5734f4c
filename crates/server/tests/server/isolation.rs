//! Row 73: all pairs of three tenants over every route that names an account.

use bowerbird_testkit::http_client::TestRequest;
use http::Method;

use crate::support::{House, Must as _};

#[tokio::test]
async fn row_73_nobody_reaches_an_account_of_somebody_else() {
    let house = House::open().await;
    let mut tenants = Vec::new();
    for name in ["alice.test", "bob.test", "carla.test"] {
        let account = house.network.add_account(name);
        let visitor = house.visitor_as(&account).await;
        let id = house.id_of(&account).await;
        tenants.push((account, visitor, id));
    }
    house.network.clear_logs();
    let mut compared = 0;
    for (asking, visitor, _) in &tenants {
        let app = house.app_of(visitor);
        for (other, _, other_id) in tenants.iter().filter(|(other, ..)| other.did != asking.did) {
            for name in [
                other_id.as_str(),
                other.did.as_str(),
                "6f9619ff-8b86-4011-b42d-00c04fc964ff",
                "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa",
            ] {
                for (method, path) in bowerbird_server::operations() {
                    let named = path.contains("{id}") || path.contains("{account_id}");
                    let target = path
                        .replace("{id}", name)
                        .replace("{account_id}", name)
                        .replace("{nsid}", "com.atproto.server.getSession");
                    let mut request = match path {
                        "/accounts/switch" | "/accounts/remove" => {
                            TestRequest::post_form(&app.url(&target), &[("account", name)])
                        }
                        _ => TestRequest::new(method.as_str(), &app.url(&target)),
                    };
                    if path.contains("{nsid}") {
                        request = request.header("bowerbird-account", name);
                    } else if !named && !path.starts_with("/accounts/s") && !path.starts_with("/accounts/r") {
                        continue;
                    }
                    let answer = app.send(request).await;
                    assert_eq!(answer.status, 404, "{method} {target} as {}: {}", asking.handle, answer.text());
                    assert_eq!(answer.header("bowerbird-error"), Some("account_not_found"));
                    let text = answer.text();
                    assert!(
                        !text.contains(&other.did)
                            && !text.contains(&other.handle)
                            && !text.contains(other_id.as_str()),
                        "{text}"
                    );
                    compared += 1;
                }
            }
        }
    }
    assert_eq!(compared, 3 * 2 * 4 * 8);
    assert_eq!(house.sent(), Vec::<String>::new(), "nothing was sent for any of them");
    for (account, mut visitor, _) in tenants {
        assert_eq!(visitor.session().await.expect_status(200).json()["did"], account.did.as_str());
    }
}

#[tokio::test]
async fn the_header_chooses_among_the_accounts_of_the_device() {
    let house = House::open().await;
    let (alice, bob) = (house.network.add_account("alice.test"), house.network.add_account("bob.test"));
    let mut visitor = house.visitor_as(&alice).await;
    visitor.login("bob.test").await.must_be(303);
    let app = house.app_of(&visitor);
    let whoami = async |account: Option<&str>| {
        let mut request = TestRequest::get(&app.url("/xrpc/com.atproto.server.getSession"));
        if let Some(account) = account {
            request = request.header("bowerbird-account", account);
        }
        app.send(request).await.expect_status(200).json()["did"].as_str().unwrap().to_owned()
    };
    assert_eq!(whoami(None).await, bob.did);
    assert_eq!(whoami(Some(&alice.did)).await, alice.did);
    assert_eq!(whoami(Some(&house.id_of(&alice).await)).await, alice.did);
    assert_eq!(whoami(None).await, bob.did, "choosing is not switching");
    let twice = TestRequest::new(Method::GET.as_str(), &app.url("/xrpc/com.atproto.server.getSession"))
        .header("bowerbird-account", &alice.did)
        .header("bowerbird-account", &bob.did);
    app.send(twice).await.must_be(400);
}
