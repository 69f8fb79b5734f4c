//! Every vector of `fixtures/iron.json`, which the npm libraries themselves wrote: seals that open, seals that do not
//! and why, and one with all intermediate values.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use bowerbird_core::Timestamp;
use bowerbird_core::ports::Entropy;
use bowerbird_vault::iron::{self, IronError, IronKey, SealForm};
use serde_json::Value;

/// When the vectors are opened, unless they say otherwise: after `bad_expired`, before all that should open.
const NOW: Timestamp = Timestamp::from_millis(1_764_000_000_000);

struct Passwords(Value);

impl Passwords {
    /// A bare string opens seals of every id; a map only those that it names, an empty id being `default`.
    fn find(&self, id: &str) -> Option<Result<IronKey, IronError>> {
        let entry = match &self.0 {
            Value::String(_) => &self.0,
            map => map.get(if id.is_empty() { "default" } else { id })?,
        };
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Some(match entry {
            Value::String(secret) => IronKey::new(secret),
            split => IronKey::split(&text(&split["encryption"]), &text(&split["integrity"])),
        })
    }
}

/// Opens as `@hapi/iron` does: a short password is found before any seal is looked at closely.
fn unseal(vector: &Value, now: Timestamp) -> Result<(Value, SealForm), IronError> {
    let passwords = Passwords(vector["unseal_passwords"].clone());
    let seal = vector["seal"].as_str().unwrap();
    let id = seal.split('*').nth(1).unwrap_or_default();
    let key = passwords.find(id).transpose()?;
    let unsealed = iron::unseal(seal, |asked| (asked == id).then_some(key.as_ref()).flatten(), now)?;
    Ok((serde_json::from_slice(unsealed.content.expose()).unwrap(), unsealed.form))
}

/// What iron-session makes of it: the payload is under `persistent` where `~2` is missing, and most failures are `{}`.
fn as_iron_session(result: Result<(Value, SealForm), IronError>) -> Result<Value, IronError> {
    let nothing = || Value::Object(serde_json::Map::new());
    match result {
        Ok((value, SealForm::Current)) => Ok(value),
        Ok((value, SealForm::Bare)) => Ok(value.get("persistent").cloned().unwrap_or_else(nothing)),
        Err(IronError::Expired | IronError::BadMac | IronError::UnknownKey | IronError::PartCount) => Ok(nothing()),
        Err(error) => Err(error),
    }
}

fn matches(expected: &Value, result: Result<Value, IronError>, name: &str) {
    match (expected.get("value"), expected.get("error").and_then(Value::as_str)) {
        (Some(value), None) => assert_eq!(&result.unwrap_or_else(|error| panic!("{name}: {error}")), value, "{name}"),
        // The libraries add which id they were looking for.
        (None, Some(text)) => assert!(text.starts_with(&result.unwrap_err().to_string()), "{name}: {text}"),
        _ => panic!("{name}: neither a value nor an error is expected"),
    }
}

fn vectors() -> Vec<Value> {
    let document: Value = serde_json::from_str(include_str!("fixtures/iron.json")).unwrap();
    document["vectors"].as_array().unwrap().clone()
}

#[test]
fn all_vectors_open_or_fail_as_in_the_libraries() {
    let vectors = vectors();
    assert_eq!(vectors.len(), 23);
    let mut checked = 0;
    for vector in &vectors {
        let name = vector["name"].as_str().unwrap();
        // Written by a library other than iron-session: the content itself is what is expected.
        let from_session = vector["lib"].as_str().is_none_or(|lib| lib != "@hapi/iron" && lib != "iron-webcrypto");
        if let Some(expected) = vector.get("expect") {
            let result = unseal(vector, NOW);
            let legacy = name == "is_legacy_no_version_suffix";
            let seen = if from_session || legacy { as_iron_session(result) } else { result.map(|(value, _)| value) };
            matches(expected, seen, name);
            checked += 1;
        }
        if let Some(expected) = vector.get("expect_hapi") {
            matches(expected, unseal(vector, NOW).map(|(value, _)| value), name);
            checked += 1;
        }
        // iron-session always has a map, so that an unnamed id finds nothing there: not a matter of the seal.
        if let Some(expected) = vector.get("expect_iron_session")
            && name != "hapi_no_id_no_suffix"
        {
            matches(expected, as_iron_session(unseal(vector, NOW)), name);
            checked += 1;
        }
        for case in vector.get("cases").and_then(Value::as_array).into_iter().flatten() {
            let after = case["now_ms_minus_exp"].as_i64().unwrap();
            let now = Timestamp::from_millis(vector["expiration_ms"].as_i64().unwrap() + after);
            matches(&case["expect"], as_strict(unseal(vector, now)), name);
            checked += 1;
        }
    }
    // 36 expectations are in the file; the one left out above has its own test.
    assert_eq!(checked, 35, "an expectation went unchecked");
}

fn as_strict(result: Result<(Value, SealForm), IronError>) -> Result<Value, IronError> {
    result.map(|(value, _)| value)
}

#[test]
fn an_unnamed_key_finds_nothing_in_a_map() {
    let vector = vectors().into_iter().find(|vector| vector["name"] == "hapi_no_id_no_suffix").unwrap();
    let key = IronKey::new(vector["unseal_passwords"].as_str().unwrap()).unwrap();
    let seal = vector["seal"].as_str().unwrap();
    let opened = iron::unseal(seal, |id| (id == "1").then_some(&key), NOW);
    assert_eq!(opened.err(), Some(IronError::UnknownKey));
}

/// Gives the salts and the initialization vector of the vector with the known intermediates.
struct KnownEntropy;

impl Entropy for KnownEntropy {
    fn fill(&self, destination: &mut [u8]) {
        assert_eq!(destination.len(), 80);
        destination[..32].fill(0);
        destination[32..48].fill(7);
        destination[48..].fill(0xff);
    }
}

#[test]
fn sealing_gives_the_very_bytes_of_the_library() {
    let vector = vectors().into_iter().find(|vector| vector["name"] == "deterministic_fixed_salt_iv").unwrap();
    let key = IronKey::new(vector["unseal_passwords"]["1"].as_str().unwrap()).unwrap();
    let json = vector["intermediates"]["json"].as_str().unwrap();
    let seal = iron::seal(json.as_bytes(), "1", &key, None, &KnownEntropy);
    assert_eq!(seal.expose(), vector["seal"].as_str().unwrap());
}
