//! What a row of `@tijs/atproto-oauth-hono` says.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bowerbird_atproto::ForeignSignIn;
use bowerbird_core::{Did, Secret, SecretBytes, Timestamp};
use bowerbird_oauth::SigningKey;
use bowerbird_storage_sql::ForeignRow;
use serde::Deserialize;

/// Why a row is no sign-in that could be taken over. None of these shows what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RowFault {
    /// The key does not name an account.
    #[error("the row's key names no account")]
    NoSubject,
    /// Far more than a sign-in.
    #[error("the row is larger than a sign-in can be")]
    TooLarge,
    /// Not the JSON that it should be.
    #[error("the row is not a sign-in, or a damaged one")]
    Malformed,
    /// The key names one account, the value another.
    #[error("the row's key and its content name different accounts")]
    Contradiction,
    /// The old server itself would not use it any more.
    #[error("the sign-in is over at the old server")]
    Expired,
    /// It cannot be renewed.
    #[error("there is no refresh token")]
    NoRefreshToken,
    /// The private key is not one, or does not belong to the public one.
    #[error("the DPoP key is not a usable ES256 key")]
    BadKey,
}

impl RowFault {
    /// The stable code.
    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::NoSubject => "no_subject",
            Self::TooLarge => "too_large",
            Self::Malformed => "malformed",
            Self::Contradiction => "contradiction",
            Self::Expired => "expired",
            Self::NoRefreshToken => "no_refresh_token",
            Self::BadKey => "bad_key",
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    did: Option<String>,
    #[serde(default)]
    handle: Option<String>,
    pds_url: String,
    access_token: Secret,
    refresh_token: Option<Secret>,
    #[serde(rename = "dpopPrivateKeyJWK")]
    dpop_private_key: PrivatePart,
    #[serde(rename = "dpopPublicKeyJWK")]
    dpop_public_key: Option<PublicPart>,
    /// Milliseconds.
    token_expires_at: Option<f64>,
}

/// A private JWK. It is read into a place that is overwritten when it is dropped.
#[derive(Deserialize)]
struct PrivatePart {
    kty: Option<String>,
    crv: Option<String>,
    d: Option<Secret>,
    #[serde(flatten)]
    public: PublicPart,
}

#[derive(Deserialize)]
struct PublicPart {
    x: Option<String>,
    y: Option<String>,
}

/// Who a row is about, for the report; as far as it can be told.
#[derive(Debug, Default)]
pub(super) struct Whose {
    pub(super) did: Option<String>,
    pub(super) handle: Option<String>,
}

/// Reads a row.
pub(super) fn read(row: &ForeignRow, now: Timestamp, whose: &mut Whose) -> Result<ForeignSignIn, RowFault> {
    let subject = row.subject.as_deref().and_then(|text| Did::parse(text).ok()).ok_or(RowFault::NoSubject)?;
    whose.did = Some(subject.to_string());
    let absent = if row.length > 0 { RowFault::TooLarge } else { RowFault::Malformed };
    let value = row.value.as_ref().ok_or(absent)?;
    let stored: Stored = serde_json::from_slice(value.expose()).map_err(|_| RowFault::Malformed)?;
    whose.handle = stored.handle.filter(|handle| bowerbird_core::Handle::parse(handle).is_ok());
    if stored.did.is_some_and(|did| did != subject.as_str()) {
        return Err(RowFault::Contradiction);
    }
    let millis = |text: &Option<String>| text.as_deref().and_then(|text| text.trim().parse::<f64>().ok());
    if millis(&row.expires_at).is_some_and(|ends| time(ends) <= now) {
        return Err(RowFault::Expired);
    }
    let refresh_token = stored.refresh_token.filter(|token| !token.is_empty()).ok_or(RowFault::NoRefreshToken)?;
    let dpop_key = signing_key(&stored.dpop_private_key).ok_or(RowFault::BadKey)?;
    if stored.dpop_public_key.is_some_and(|public| !is_half_of(&public, &dpop_key)) {
        return Err(RowFault::BadKey);
    }
    Ok(ForeignSignIn {
        did: subject,
        pds: stored.pds_url,
        access_token: stored.access_token,
        refresh_token,
        dpop_key,
        expires_at: stored.token_expires_at.map(time),
        signed_in_at: millis(&row.created_at).map(time).filter(|at| at.as_seconds() > 0).unwrap_or(now),
    })
}

fn signing_key(part: &PrivatePart) -> Option<SigningKey> {
    let is = |text: &Option<String>, expected: &str| text.as_deref() == Some(expected);
    if !is(&part.kty, "EC") || !is(&part.crv, "P-256") {
        return None;
    }
    let scalar = SecretBytes::new(URL_SAFE_NO_PAD.decode(part.d.as_ref()?.expose()).ok()?);
    let key = SigningKey::from_scalar(scalar.expose().try_into().ok()?).ok()?;
    is_half_of(&part.public, &key).then_some(key)
}

fn is_half_of(public: &PublicPart, key: &SigningKey) -> bool {
    let ours = serde_json::to_value(key.public_jwk()).unwrap_or_default();
    let same = |name: &str, theirs: &Option<String>| theirs.as_deref() == ours[name].as_str();
    same("x", &public.x) && same("y", &public.y)
}

#[expect(clippy::cast_possible_truncation, reason = "the cast saturates, and an absurd time is as good as none")]
fn time(millis: f64) -> Timestamp {
    Timestamp::from_millis(millis as i64)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const DID: &str = "did:plc:hdhoaan3xa3jiuq4fg4mefid";
    const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

    fn stored() -> Value {
        let key = SigningKey::from_scalar(&[7; 32]).unwrap();
        let mut private: Value = serde_json::from_str(key.private_jwk().expose()).unwrap();
        // As WebCrypto exports it.
        private["key_ops"] = json!(["sign"]);
        private["ext"] = true.into();
        let public = serde_json::to_value(key.public_jwk()).unwrap();
        json!({
            "did": DID, "handle": "alice.test", "pdsUrl": "https://pds.test", "accessToken": "a", "refreshToken": "r",
            "dpopPrivateKeyJWK": private, "dpopPublicKeyJWK": public, "tokenExpiresAt": 1_800_000_600_000_i64,
        })
    }

    fn row(value: &Value) -> ForeignRow {
        let text = value.to_string().into_bytes();
        ForeignRow {
            subject: Some(DID.to_owned()),
            length: i64::try_from(text.len()).unwrap(),
            value: Some(SecretBytes::new(text)),
            expires_at: None,
            created_at: Some("1799999000000".to_owned()),
        }
    }

    fn fault(row: &ForeignRow) -> Option<RowFault> {
        read(row, NOW, &mut Whose::default()).err()
    }

    #[test]
    fn a_whole_row_is_read_with_everything_in_it() {
        let mut whose = Whose::default();
        let sign_in = read(&row(&stored()), NOW, &mut whose).unwrap();
        assert_eq!((sign_in.did.as_str(), sign_in.pds.as_str()), (DID, "https://pds.test"));
        assert!(sign_in.access_token.matches("a") && sign_in.refresh_token.matches("r"));
        assert_eq!(sign_in.expires_at, Some(NOW.plus_seconds(600)));
        assert_eq!(sign_in.signed_in_at, NOW.plus_seconds(-1000));
        assert_eq!(sign_in.dpop_key.scalar().expose(), [7; 32]);
        assert_eq!((whose.did.as_deref(), whose.handle.as_deref()), (Some(DID), Some("alice.test")));
    }

    #[test]
    fn what_an_older_version_left_out_is_done_without() {
        let mut older = stored();
        for name in ["did", "handle", "dpopPublicKeyJWK", "tokenExpiresAt"] {
            older.as_object_mut().unwrap().remove(name);
        }
        let without = ForeignRow { created_at: Some(String::new()), ..row(&older) };
        let sign_in = read(&without, NOW, &mut Whose::default()).unwrap();
        assert_eq!((sign_in.expires_at, sign_in.signed_in_at), (None, NOW));
    }

    #[test]
    fn broken_rows_are_told_apart_and_shown_nowhere() {
        let with = |name: &str, value: Value| {
            let mut changed = stored();
            changed[name] = value;
            row(&changed)
        };
        let other = serde_json::to_value(SigningKey::from_scalar(&[8; 32]).unwrap().public_jwk()).unwrap();
        let bytes = |bytes: &[u8]| ForeignRow { value: Some(SecretBytes::new(bytes.to_vec())), ..row(&stored()) };
        for (row, expected) in [
            (ForeignRow { subject: Some("alice".to_owned()), ..row(&stored()) }, RowFault::NoSubject),
            (ForeignRow { subject: None, ..row(&stored()) }, RowFault::NoSubject),
            (ForeignRow { value: None, length: 1 << 30, ..row(&stored()) }, RowFault::TooLarge),
            (ForeignRow { value: None, length: 0, ..row(&stored()) }, RowFault::Malformed),
            (with("did", json!("did:plc:hdhoaan3xa3jiuq4fg4mefie")), RowFault::Contradiction),
            (with("refreshToken", json!("")), RowFault::NoRefreshToken),
            (with("refreshToken", Value::Null), RowFault::NoRefreshToken),
            (with("accessToken", json!(1)), RowFault::Malformed),
            (with("pdsUrl", Value::Null), RowFault::Malformed),
            (with("dpopPrivateKeyJWK", json!({"kty": "RSA"})), RowFault::BadKey),
            (with("dpopPrivateKeyJWK", json!({"kty": "EC", "crv": "P-256", "d": "AAAA"})), RowFault::BadKey),
            (with("dpopPrivateKeyJWK", json!("canary")), RowFault::Malformed),
            (with("dpopPublicKeyJWK", other), RowFault::BadKey),
            (ForeignRow { expires_at: Some("1799999999999".to_owned()), ..row(&stored()) }, RowFault::Expired),
            (bytes(b""), RowFault::Malformed),
            (bytes(b"\xff\xfe{}"), RowFault::Malformed),
            (bytes(br#"{"did":"#), RowFault::Malformed),
            (bytes(b"[]"), RowFault::Malformed),
        ] {
            assert_eq!(fault(&row), Some(expected), "{row:?}");
        }
        let nested = format!("{{\"did\":{}", "[".repeat(60_000));
        assert_eq!(fault(&bytes(nested.as_bytes())), Some(RowFault::Malformed));
        for odd in ["", "never", "1e400", "-5", "NaN", "99999999999999999999"] {
            let row = ForeignRow { created_at: Some(odd.to_owned()), ..row(&stored()) };
            assert!(read(&row, NOW, &mut Whose::default()).unwrap().signed_in_at >= NOW, "{odd}");
        }
    }
}
