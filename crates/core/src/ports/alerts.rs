//! What a watch over an installation keeps: the incidents that people were told of, the webhooks that are to be sent, and
//! a census of the credentials.

use async_trait::async_trait;

use super::{Cas, StoreError};
use crate::{AccountId, ConnectionId, NeedsReauth, Timestamp};

/// What an incident is about. There is one open incident of a subject at most.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum IncidentSubject {
    /// The access of a connection. Its incident goes when its credential is removed.
    Access(ConnectionId),
    /// A part of the installation, such as `suspended`.
    Installation(&'static str),
}

impl IncidentSubject {
    /// The subject as one text, the key in stores.
    pub fn key(&self) -> String {
        match self {
            Self::Access(connection) => connection.to_string(),
            Self::Installation(part) => format!("installation/{part}"),
        }
    }
}

/// Something that is wrong until it is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incident {
    /// What it is about.
    pub subject: IncidentSubject,
    /// A stable name.
    pub kind: &'static str,
    /// A stable code; empty when the kind says it all.
    pub reason: &'static str,
    /// When it began.
    pub since: Timestamp,
}

/// A webhook to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDelivery {
    /// Names it; random.
    pub id: String,
    /// Names where it goes to; the address itself may hold a secret and is not stored.
    pub endpoint: String,
    /// Names what is told, the same at every endpoint and in every attempt.
    pub message: String,
    /// What is sent.
    pub body: String,
    /// Whose it is, if anybody's: it goes when the account is removed.
    pub account: Option<AccountId>,
    /// Now; it is due at once.
    pub created_at: Timestamp,
}

/// A webhook that was claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedDelivery {
    /// See [`NewDelivery::id`].
    pub id: String,
    /// See [`NewDelivery::message`].
    pub message: String,
    /// See [`NewDelivery::body`].
    pub body: String,
    /// How often it was claimed, this time included.
    pub attempts: u32,
    /// Until when nobody else gets it; names the claim.
    pub until: Timestamp,
}

/// How old the tokens of a credential are, in classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TokenAge {
    /// Less than an hour.
    UnderHour,
    /// Less than a day.
    UnderDay,
    /// Less than seven days.
    UnderWeek,
    /// Less than 14 days.
    UnderFortnight,
    /// Less than 90 days.
    UnderQuarter,
    /// More.
    Older,
}

impl TokenAge {
    /// Every class, youngest first.
    pub const ALL: [Self; 6] =
        [Self::UnderHour, Self::UnderDay, Self::UnderWeek, Self::UnderFortnight, Self::UnderQuarter, Self::Older];

    /// The ages that end the classes but the last, in seconds.
    pub const BOUNDS: [i64; 5] = [3600, 86_400, 604_800, 1_209_600, 7_776_000];

    /// The class of an age.
    pub fn of_seconds(seconds: i64) -> Self {
        let at = Self::BOUNDS.iter().position(|bound| seconds < *bound).unwrap_or(Self::BOUNDS.len());
        Self::ALL[at]
    }

    /// The stable name, such as `under_1d`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::UnderHour => "under_1h",
            Self::UnderDay => "under_1d",
            Self::UnderWeek => "under_7d",
            Self::UnderFortnight => "under_14d",
            Self::UnderQuarter => "under_90d",
            Self::Older => "90d_or_more",
        }
    }
}

/// In which state a credential is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CountedState {
    /// It is renewed when that is due.
    Ok,
    /// It is being renewed.
    Refreshing,
    /// The outcome of its last refresh is unknown.
    Unknown,
    /// The person must sign in again.
    NeedsReauth(NeedsReauth),
}

impl CountedState {
    /// The stable name, such as `needs_reauth`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refreshing => "refreshing",
            Self::Unknown => "unknown",
            Self::NeedsReauth(_) => "needs_reauth",
        }
    }
}

/// Credentials that are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CensusEntry {
    /// How they stand.
    pub state: CountedState,
    /// How old their tokens are.
    pub age: TokenAge,
    /// How many they are.
    pub number: u64,
    /// When the oldest of these tokens were issued.
    pub oldest: Timestamp,
}

/// An access about which the open incidents do not say the truth, since whoever was to tell it died first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UntoldAccess {
    /// Whose access.
    pub account: AccountId,
    /// Which connection's.
    pub connection: ConnectionId,
    /// Why it needs its person, though no incident says so; None: it works, though an incident says that it does not.
    pub reason: Option<NeedsReauth>,
}

/// Incidents, webhooks that wait, and the census.
#[async_trait]
pub trait AlertStore: Send + Sync {
    /// Opens an incident, and stores what is to be sent about it in the same step. Stale, with nothing stored, when it is
    /// open already with the same kind and reason, or when the access it is about works or is gone: whoever asks with
    /// Stale in hand has nothing to tell. [`StoreError::Refused`] when the account of a delivery is gone.
    async fn open(&self, incident: &Incident, deliveries: &[NewDelivery]) -> Result<Cas, StoreError>;
    /// Closes the incident of a subject, and stores what is to be sent about it in the same step. Stale, with nothing
    /// stored, when none is open.
    async fn close(&self, subject: &IncidentSubject, deliveries: &[NewDelivery]) -> Result<Cas, StoreError>;
    /// Accesses that need their person without an incident that says so, or work in spite of one; at most `limit` of each.
    /// One walk over every credential.
    async fn untold(&self, limit: u32) -> Result<Vec<UntoldAccess>, StoreError>;
    /// Stores what is to be sent about something that is no incident.
    async fn enqueue(&self, deliveries: &[NewDelivery]) -> Result<(), StoreError>;
    /// When the next webhook to an endpoint is due; None when none waits.
    async fn next_due(&self, endpoint: &str) -> Result<Option<Timestamp>, StoreError>;
    /// Takes webhooks to an endpoint that are due at `now`, the longest due first; nobody else gets them before `until`.
    async fn claim(
        &self,
        endpoint: &str,
        now: Timestamp,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<ClaimedDelivery>, StoreError>;
    /// Ends a webhook, sent or given up. Stale when the claim is over and somebody else has it.
    async fn settle(&self, claimed: &ClaimedDelivery) -> Result<Cas, StoreError>;
    /// Makes a webhook due again at a time. Stale when the claim is over.
    async fn postpone(&self, claimed: &ClaimedDelivery, due_at: Timestamp) -> Result<Cas, StoreError>;
    /// How many webhooks wait, counted up to a number.
    async fn waiting(&self, at_most: u32) -> Result<u64, StoreError>;
    /// Removes webhooks that were stored before a time, whatever became of their endpoint; returns how many.
    async fn purge(&self, created_before: Timestamp) -> Result<u64, StoreError>;
    /// Counts every credential. One walk over all of them: not for every request.
    async fn census(&self, now: Timestamp) -> Result<Vec<CensusEntry>, StoreError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_fall_into_the_class_that_their_bounds_say() {
        for (seconds, age) in [
            (-5, TokenAge::UnderHour),
            (3599, TokenAge::UnderHour),
            (3600, TokenAge::UnderDay),
            (604_799, TokenAge::UnderWeek),
            (1_209_600, TokenAge::UnderQuarter),
            (7_776_000, TokenAge::Older),
        ] {
            assert_eq!(TokenAge::of_seconds(seconds), age, "{seconds}");
        }
    }
}
