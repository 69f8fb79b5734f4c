//! An entry as JSON text. The tokens in it are sealed; the rest is what the row holds in clear as well.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bowerbird_core::ports::SpillEntry;
use bowerbird_core::{ConnectionId, CredentialState, Generation, NeedsReauth, Schedule, SealedTokens, Timestamp};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Written {
    connection: ConnectionId,
    seen: i64,
    granted: i64,
    access_token: String,
    refresh_token: Option<String>,
    issued_at: i64,
    access_expires_at: i64,
    scope: String,
    state: WrittenState,
    attempts: u32,
    not_before: Option<i64>,
    due_at: Option<i64>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WrittenState {
    Ok,
    Refreshing { lease_until: i64, intent_at: i64 },
    Unknown { intent_at: i64 },
    NeedsReauth(String),
}

/// Writes an entry.
pub(crate) fn encode(entry: &SpillEntry) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&Written {
        connection: entry.connection,
        seen: entry.seen.0,
        granted: entry.granted.0,
        access_token: STANDARD_NO_PAD.encode(&entry.tokens.access_token),
        refresh_token: entry.tokens.refresh_token.as_ref().map(|token| STANDARD_NO_PAD.encode(token)),
        issued_at: entry.tokens.issued_at.as_millis(),
        access_expires_at: entry.tokens.access_expires_at.as_millis(),
        scope: entry.tokens.scope.clone(),
        state: match &entry.state {
            CredentialState::Ok => WrittenState::Ok,
            CredentialState::Refreshing { lease_until, intent_at } => {
                WrittenState::Refreshing { lease_until: lease_until.as_millis(), intent_at: intent_at.as_millis() }
            }
            CredentialState::Unknown { intent_at } => WrittenState::Unknown { intent_at: intent_at.as_millis() },
            CredentialState::NeedsReauth(reason) => WrittenState::NeedsReauth(reason.code().to_owned()),
        },
        attempts: entry.schedule.attempts,
        not_before: entry.schedule.not_before.map(Timestamp::as_millis),
        due_at: entry.schedule.due_at.map(Timestamp::as_millis),
    })
}

/// Reads an entry; None when another release wrote it in another way.
pub(crate) fn decode(text: &[u8]) -> Option<SpillEntry> {
    let written: Written = serde_json::from_slice(text).ok()?;
    let refresh_token = match written.refresh_token {
        Some(token) => Some(STANDARD_NO_PAD.decode(token).ok()?),
        None => None,
    };
    Some(SpillEntry {
        connection: written.connection,
        seen: Generation(written.seen),
        granted: Generation(written.granted),
        tokens: SealedTokens {
            access_token: STANDARD_NO_PAD.decode(written.access_token).ok()?,
            refresh_token,
            issued_at: Timestamp::from_millis(written.issued_at),
            access_expires_at: Timestamp::from_millis(written.access_expires_at),
            scope: written.scope,
        },
        state: match written.state {
            WrittenState::Ok => CredentialState::Ok,
            WrittenState::Refreshing { lease_until, intent_at } => CredentialState::Refreshing {
                lease_until: Timestamp::from_millis(lease_until),
                intent_at: Timestamp::from_millis(intent_at),
            },
            WrittenState::Unknown { intent_at } => {
                CredentialState::Unknown { intent_at: Timestamp::from_millis(intent_at) }
            }
            WrittenState::NeedsReauth(code) => CredentialState::NeedsReauth(NeedsReauth::from_code(&code)?),
        },
        schedule: Schedule {
            attempts: written.attempts,
            not_before: written.not_before.map(Timestamp::from_millis),
            due_at: written.due_at.map(Timestamp::from_millis),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_comes_back() {
        let at = Timestamp::from_millis;
        let mut states = vec![
            CredentialState::Ok,
            CredentialState::Refreshing { lease_until: at(9), intent_at: at(8) },
            CredentialState::Unknown { intent_at: at(-7) },
        ];
        states.extend(NeedsReauth::ALL.map(CredentialState::NeedsReauth));
        for (number, state) in (1..).zip(states) {
            let entry = SpillEntry {
                connection: ConnectionId::parse("00000000-0000-4000-8000-000000000001").unwrap(),
                seen: Generation(number),
                granted: Generation(number - 1),
                tokens: SealedTokens {
                    access_token: vec![0, 255, 1],
                    refresh_token: (number % 2 == 0).then(|| vec![9; 100]),
                    issued_at: at(1),
                    access_expires_at: at(2),
                    scope: "atproto \"\u{fffd}\n".to_owned(),
                },
                state,
                schedule: Schedule { attempts: 3, not_before: Some(at(4)), due_at: None },
            };
            let text = encode(&entry).unwrap();
            assert_eq!(decode(&text), Some(entry));
            assert!(std::str::from_utf8(&text).is_ok(), "a frame's magic cannot be in it");
        }
        assert_eq!(decode(b"{}"), None);
    }
}
