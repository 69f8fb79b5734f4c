//! Our seals and those of the npm package iron-session, each opened by the other.
//!
//! Runs where the package is installed: `BOWERBIRD_TESTNET_DIR` names a folder with `node_modules/iron-session`.
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use bowerbird_core::testing::SeededEntropy;
use bowerbird_core::{DeviceSessionId, Did, Secret, Timestamp};
use bowerbird_vault::{SealError, SealPayload, SealRing, unnamed_device};
use serde_json::{Value, json};

const OLD: &str = "the-older-secret-of-at-least-32-characters";
const NEW: &str = "the-newer-secret-of-at-least-32-characters";

fn testnet() -> Option<PathBuf> {
    let folder = PathBuf::from(std::env::var_os("BOWERBIRD_TESTNET_DIR")?);
    folder.join("node_modules/iron-session").is_dir().then_some(folder)
}

fn iron_session(folder: &Path, asked: &Value) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/iron_session.mjs");
    let mut node = Command::new("node")
        .arg(script)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    node.stdin.take().unwrap().write_all(asked.to_string().as_bytes()).unwrap();
    let output = node.wait_with_output().unwrap();
    assert!(output.status.success(), "node failed");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn real_iron_session_opens_ours_and_we_open_its() {
    let Some(folder) = testnet() else {
        eprintln!("skipped: BOWERBIRD_TESTNET_DIR names no folder with node_modules/iron-session");
        return;
    };
    // iron-session reads the system's clock, so that ours must be real too.
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now = Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap());
    let entropy = SeededEntropy::new(u64::try_from(now.as_millis()).unwrap());
    let ring = |secrets: &[&str]| SealRing::new(secrets.iter().map(|text| Secret::new(*text)).collect()).unwrap();
    let (before, rotated) = (ring(&[OLD]), ring(&[NEW, OLD]));
    let payload = SealPayload {
        did: Did::parse("did:plc:hdhoaan3xa3jiuq4fg4mefid").unwrap(),
        sid: DeviceSessionId::random(&entropy),
        created_at: now,
        last_accessed: now.plus_millis(1),
    };
    let data = json!({
        "did": payload.did, "sid": payload.sid,
        "createdAt": payload.created_at.as_millis(), "lastAccessed": payload.last_accessed.as_millis(),
    });
    let seal = |ring: &SealRing, ttl| ring.seal(&payload, Duration::from_secs(ttl), now, &entropy).expose().to_owned();
    let past = before.seal(&payload, Duration::from_secs(10), now.plus_seconds(-100), &entropy);
    let both = json!({"1": OLD, "2": NEW});

    let answer = iron_session(
        &folder,
        &json!({
            "open": [
                {"seal": seal(&before, 600), "password": OLD},
                {"seal": seal(&before, 0), "password": {"1": OLD}},
                {"seal": seal(&before, 600), "password": both},
                {"seal": seal(&rotated, 600), "password": both},
                {"seal": seal(&rotated, 600), "password": OLD},
                {"seal": seal(&before, 600), "password": NEW},
                {"seal": past.expose(), "password": OLD},
            ],
            "seal": [
                {"data": data, "password": OLD, "ttl": 600},
                {"data": data, "password": both, "ttl": 0},
                {"data": {"did": payload.did}, "password": OLD, "ttl": 600},
            ],
        }),
    );

    // It answers {} to what it does not open.
    let expected = [&data, &data, &data, &data, &json!({}), &json!({}), &json!({})];
    let opened = answer["opened"].as_array().unwrap();
    assert_eq!(opened.len(), expected.len());
    for (number, (opened, expected)) in opened.iter().zip(expected).enumerate() {
        assert_eq!(opened, expected, "seal {number}");
    }

    let theirs: Vec<&str> = answer["sealed"].as_array().unwrap().iter().map(|seal| seal.as_str().unwrap()).collect();
    let with_old = rotated.open(theirs[0], now).unwrap();
    assert_eq!((&with_old.payload, with_old.sealed_with_newest), (&payload, false));
    assert!(with_old.expires_at.is_some());
    assert!(before.open(theirs[0], now).unwrap().sealed_with_newest);
    assert_eq!(before.open(theirs[0], now.plus_seconds(700)), Err(SealError::Expired));
    let with_new = rotated.open(theirs[1], now).unwrap();
    assert_eq!((&with_new.payload, with_new.sealed_with_newest, with_new.expires_at), (&payload, true, None));
    assert_eq!(before.open(theirs[1], now), Err(SealError::UnknownKey));
    let of_hono = before.open(theirs[2], now).unwrap();
    assert_eq!((&of_hono.payload.did, of_hono.payload.sid), (&payload.did, unnamed_device(&payload.did)));
}
