//! A credential's state as columns.

use bowerbird_core::ports::StoreError;
use bowerbird_core::{CredentialState, NeedsReauth, Timestamp};

use crate::row::RowOf;
use crate::statement::Statement;

/// The four columns that say where a credential stands.
#[derive(Debug)]
pub(super) struct StateColumns {
    state: &'static str,
    reason: Option<&'static str>,
    lease_until: Option<i64>,
    intent_at: Option<i64>,
}

impl StateColumns {
    pub(super) fn of(state: &CredentialState) -> Self {
        let none = Self { state: "ok", reason: None, lease_until: None, intent_at: None };
        match state {
            CredentialState::Ok => none,
            CredentialState::Refreshing { lease_until, intent_at } => Self {
                state: "refreshing",
                lease_until: Some(lease_until.as_millis()),
                intent_at: Some(intent_at.as_millis()),
                ..none
            },
            CredentialState::Unknown { intent_at } => {
                Self { state: "unknown", intent_at: Some(intent_at.as_millis()), ..none }
            }
            CredentialState::NeedsReauth(reason) => Self { state: "needs_reauth", reason: Some(reason.code()), ..none },
        }
    }

    /// Adds four values: state, reason, lease, intent.
    pub(super) fn add_to(&self, statement: Statement) -> Statement {
        statement.with(self.state).with(self.reason).with(self.lease_until).with(self.intent_at)
    }
}

/// Reads a state out of the columns for state, lease and intent.
pub(super) fn read_state(
    row: RowOf<'_>,
    [state, lease_until, intent_at]: [&'static str; 3],
) -> Result<CredentialState, StoreError> {
    let time = |column: &'static str| -> Result<Timestamp, StoreError> {
        let millis = row.optional_integer(column)?;
        millis.map(Timestamp::from_millis).ok_or_else(|| row.inconsistent(column))
    };
    match row.text(state)?.as_str() {
        "ok" => Ok(CredentialState::Ok),
        "refreshing" => {
            Ok(CredentialState::Refreshing { lease_until: time(lease_until)?, intent_at: time(intent_at)? })
        }
        "unknown" => Ok(CredentialState::Unknown { intent_at: time(intent_at)? }),
        "needs_reauth" => read_reason(row).map(CredentialState::NeedsReauth),
        _ => Err(row.inconsistent(state)),
    }
}

/// Reads the reason of a credential that needs a person.
pub(in crate::stores) fn read_reason(row: RowOf<'_>) -> Result<NeedsReauth, StoreError> {
    let code = row.optional_text("reason")?;
    code.as_deref().and_then(NeedsReauth::from_code).ok_or_else(|| row.inconsistent("reason"))
}
