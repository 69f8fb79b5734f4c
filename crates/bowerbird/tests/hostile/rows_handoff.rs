//! The hand-off to apps through the whole program: what outlives a crash, and where none of its secrets may be.

use bowerbird_testkit::http_client::{Answer, TestRequest};
use bowerbird_testkit::sweep::Sweep;
use serde_json::{Value, json};

use crate::support::{House, Must as _, options};

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

async fn post(house: &House, path: &str, body: &Value) -> Answer {
    house.server.client().send(TestRequest::post_json(&house.server.url(path), body)).await
}

/// The code at the end of a sign-in that an app began.
async fn code(house: &House) -> String {
    let body = json!({"handle": "alice.test", "code_challenge": CHALLENGE, "code_challenge_method": "S256"});
    let begun = post(house, "/api/auth/start", &body).await.expect_status(200).json();
    let callback = house.server.visitor().authorize(begun["authUrl"].as_str().unwrap()).await;
    let end = house.server.client().get(&callback).await.expect_status(302);
    end.location().split_once("?code=").unwrap().1.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hand_off_outlives_a_crash_and_leaves_no_secret_anywhere() {
    let network = bowerbird_testkit::fault::FaultNetwork::start().await;
    network.add_account("alice.test");
    let trace = options(&network).env("BOWERBIRD_LOG", "trace");
    let mut house = House::with(network, trace).await;
    let code = code(&house).await;
    house.server.restart().await;
    post(&house, "/api/auth/tokens", &json!({"code": code, "code_verifier": "x".repeat(43)})).await.must_be(400);
    let exchange = json!({"code": code, "code_verifier": VERIFIER});
    let first = post(&house, "/api/auth/tokens", &exchange).await.expect_status(200).json();
    post(&house, "/api/auth/tokens", &exchange).await.must_refuse(400, "code_invalid");

    // The answer of a renewal is lost in a crash: what the app has is still good, and gives the same successor.
    let renew = json!({"refreshToken": first["refreshToken"]});
    let lost = post(&house, "/api/auth/tokens", &renew).await.expect_status(200).json();
    house.server.restart().await;
    let second = post(&house, "/api/auth/tokens", &renew).await.expect_status(200).json();
    assert_eq!(second["refreshToken"], lost["refreshToken"]);
    let session = TestRequest::get(&house.server.url("/api/auth/session"))
        .header("authorization", &format!("Bearer {}", second["accessToken"].as_str().unwrap()));
    house.server.client().send(session).await.must_be(200);
    house.assert_sound().await;

    let mut secrets = vec![code, VERIFIER.to_owned()];
    for answer in [&first, &lost, &second] {
        secrets.extend(["accessToken", "refreshToken", "sid"].map(|name| answer[name].as_str().unwrap().to_owned()));
    }
    let (log, out) = (house.server.stderr().bytes(), house.server.stdout().bytes());
    assert!(
        house.server.stderr().text().matches("/api/auth/tokens").count() >= 5,
        "a log at level trace tells of each call"
    );
    Sweep::new(&secrets).bytes("stderr", &log).bytes("stdout", &out).folder(&house.server.data_dir()).assert_clean();
}
