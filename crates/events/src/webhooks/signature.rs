//! The signature of a webhook (Standard Webhooks): HMAC-SHA-256 over id, time and body.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// How a secret begins.
const PREFIX: &str = "whsec_";
/// Accepts base64 with and without padding.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A secret that signs webhooks, ready to use.
#[derive(Clone)]
pub struct WebhookSecret(Hmac<Sha256>);

/// A text that is no webhook secret. Never shows the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a webhook secret is `whsec_` and 24 to 64 bytes in base64")]
pub struct WebhookSecretError;

impl WebhookSecret {
    /// Reads `whsec_…`.
    pub fn parse(text: &str) -> Result<Self, WebhookSecretError> {
        let encoded = text.strip_prefix(PREFIX).ok_or(WebhookSecretError)?;
        let mut key = LENIENT.decode(encoded).map_err(|_| WebhookSecretError)?;
        if !(24..=64).contains(&key.len()) {
            return Err(WebhookSecretError);
        }
        let mac = Hmac::new_from_slice(&key).map_err(|_| WebhookSecretError);
        key.fill(0);
        mac.map(Self)
    }

    /// Writes 32 random bytes as a secret.
    pub fn generate(random: &[u8; 32]) -> String {
        format!("{PREFIX}{}", STANDARD.encode(random))
    }

    fn sign(&self, message: &str, seconds: i64, body: &str) -> String {
        let mut mac = self.0.clone();
        for part in [message, ".", &seconds.to_string(), ".", body] {
            mac.update(part.as_bytes());
        }
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

impl std::fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WebhookSecret")
    }
}

/// The header `webhook-signature`: one signature for each secret, so that a receiver may have the old or the new one.
pub(crate) fn header(secrets: &[WebhookSecret], message: &str, seconds: i64, body: &str) -> String {
    secrets.iter().map(|secret| secret.sign(message, seconds, body)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Standard Webhooks specification's reference libraries.
    #[test]
    fn the_published_vector_is_met() {
        let secret = WebhookSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signature = header(&[secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, "{\"test\": 2432232314}");
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn every_secret_signs_and_another_implementation_agrees() {
        let keys = [[7; 32], [9; 32]];
        let secrets: Vec<_> =
            keys.iter().map(|key| WebhookSecret::parse(&WebhookSecret::generate(key)).unwrap()).collect();
        let signatures = header(&secrets, "evt_1", 5, "{}");
        for (key, signature) in keys.iter().zip(signatures.split(' ')) {
            let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key);
            let tag = ring::hmac::sign(&key, b"evt_1.5.{}");
            assert_eq!(signature, format!("v1,{}", STANDARD.encode(tag)));
        }
    }

    #[test]
    fn only_secrets_of_the_form_are_taken_and_none_is_shown() {
        let short = format!("whsec_{}", STANDARD.encode([1; 23]));
        let long = format!("whsec_{}", STANDARD.encode([1; 65]));
        for bad in ["", "whsec_", "secret-canary-0123456789abcdef0123", "whsec_!!!", &short, &long] {
            assert!(WebhookSecret::parse(bad).is_err(), "{bad}");
        }
        let good = WebhookSecret::generate(&[3; 32]);
        assert!(WebhookSecret::parse(good.trim_end_matches('=')).is_ok(), "padding is not needed");
        assert_eq!(format!("{:?}", WebhookSecret::parse(&good).unwrap()), "WebhookSecret");
    }
}
