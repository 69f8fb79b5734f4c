//! Handing a sign-in over to its app: the one-time code, what it is exchanged for, and how that is renewed (DECISIONS 2, 3).

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bowerbird_core::ports::{Cas, Clock, Entropy, HandoffStore, RenewalStore, StoreError};
use bowerbird_core::{
    Account, AccountId, DeviceSession, DeviceSessionId, HANDOFF_TRIES, Handoff, HandoffCodeHash, Redemption, Renewal,
    RenewalLine, Secret,
};
use bowerbird_oauth::PkceVerifier;
use bowerbird_vault::RenewalTexts;
use sha2::{Digest as _, Sha256};

use crate::accounts::Accounts;
use crate::arrival::{Arrivals, NoPlace};
use crate::device_sessions::DeviceSessions;
use crate::seals::{FreshSeal, Seals};
use crate::sign_out::Departures;

/// How long a code may be exchanged, in seconds.
const CODE_SECONDS: i64 = 60;
/// A proof that no challenge equals: it has another length.
const NO_PROOF: &str = "malformed";

/// The use cases of the hand-off. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Handoffs(Arc<HandoffParts>);

/// What they are made of.
pub(crate) struct HandoffParts {
    pub(crate) handoffs: Arc<dyn HandoffStore>,
    pub(crate) renewals: Arc<dyn RenewalStore>,
    pub(crate) texts: RenewalTexts,
    pub(crate) devices: DeviceSessions,
    pub(crate) accounts: Accounts,
    pub(crate) arrivals: Arrivals,
    pub(crate) departures: Departures,
    pub(crate) seals: Seals,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
}

/// A sign-in to be left for an app.
pub(crate) struct Left {
    pub(crate) account: AccountId,
    /// The app's present session, if it began with one.
    pub(crate) device: Option<DeviceSessionId>,
    pub(crate) device_name: String,
    pub(crate) challenge: Option<String>,
}

/// What an app holds after an exchange.
pub(crate) struct AppTokens {
    pub(crate) account: Arc<Account>,
    /// A seal for the next calls.
    pub(crate) access: FreshSeal,
    /// What the next exchange is made with.
    pub(crate) renewal: Secret,
    /// A seal for the whole life of the session, to be kept as a cookie.
    pub(crate) seal: FreshSeal,
}

/// Why an app is given nothing.
pub(crate) enum HandoffFault {
    /// The code is unknown, used, or too old.
    Code,
    /// The verifier is missing or not the one of the start.
    Verifier {
        left: u32,
    },
    /// The device of the app holds as many accounts as it may.
    Full,
    /// The refresh string is not authentic, or its session is over.
    Renewal,
    /// The refresh string was used by two: the session is ended.
    Reused,
    Store(StoreError),
}

impl From<StoreError> for HandoffFault {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Handoffs {
    pub(crate) fn new(parts: HandoffParts) -> Self {
        Self(Arc::new(parts))
    }

    /// Leaves a sign-in for its app, and gives the code that it is fetched with.
    pub(crate) async fn leave(&self, left: Left) -> Result<Secret, StoreError> {
        let mut bytes = [0; 32];
        self.0.entropy.fill(&mut bytes);
        let code = Secret::new(URL_SAFE_NO_PAD.encode(bytes));
        let now = self.0.clock.now();
        let handoff = Handoff {
            code: hash(code.expose()),
            account: left.account,
            device: left.device,
            device_name: left.device_name,
            challenge: left.challenge,
            created_at: now,
            expires_at: now.plus_seconds(CODE_SECONDS),
        };
        self.0.handoffs.insert(&handoff).await?;
        Ok(code)
    }

    /// Exchanges a code. On a task of its own: an app that hangs up must not leave a session that nobody names.
    pub(crate) async fn redeem(&self, code: &str, verifier: Option<&str>) -> Result<AppTokens, HandoffFault> {
        let (this, code) = (self.clone(), hash(code));
        let proof = verifier
            .map(|text| PkceVerifier::parse(text).map_or_else(|| NO_PROOF.to_owned(), |verifier| verifier.challenge()));
        on_a_task(async move { this.redeem_here(code, proof).await }).await
    }

    async fn redeem_here(&self, code: HandoffCodeHash, proof: Option<String>) -> Result<AppTokens, HandoffFault> {
        let parts = &self.0;
        let handoff = match parts.handoffs.redeem(&code, proof.as_deref(), parts.clock.now()).await? {
            Redemption::Redeemed(handoff) => handoff,
            Redemption::WrongVerifier { left } => {
                if left == 0 {
                    tracing::warn!(tries = HANDOFF_TRIES, "a one-time code was burned by wrong verifiers");
                }
                return Err(HandoffFault::Verifier { left });
            }
            Redemption::Unknown => return Err(HandoffFault::Code),
        };
        let Some(account) = parts.accounts.find(handoff.account).await? else { return Err(HandoffFault::Code) };
        let session = match parts.arrivals.place(&account, handoff.device.as_ref(), &handoff.device_name).await {
            Ok(session) => session,
            Err(NoPlace::Full) => return Err(HandoffFault::Full),
            // The account was removed in this very moment.
            Err(NoPlace::Store(StoreError::Refused(_))) => return Err(HandoffFault::Code),
            Err(NoPlace::Store(error)) => return Err(error.into()),
        };
        let mut line = RenewalLine([0; 16]);
        parts.entropy.fill(&mut line.0);
        parts.renewals.begin(&session.id, &line).await?;
        self.tokens(account, &session, &line, 1)
    }

    /// Takes a sign-in back that its person did not begin; false when it is over already. What was granted for it is given
    /// back, unless the account is on a device.
    pub(crate) async fn decline(&self, code: &str) -> Result<bool, StoreError> {
        let (this, code) = (self.clone(), hash(code));
        on_a_task(async move {
            let Some(handoff) = this.0.handoffs.withdraw(&code).await? else { return Ok(false) };
            tracing::warn!(account = %handoff.account, "a person declined a sign-in that an app began");
            if let Some(account) = this.0.accounts.find(handoff.account).await? {
                this.0.departures.turn_away(&account).await;
            }
            Ok(true)
        })
        .await
    }

    /// The same for a session that would have been handed over itself. What the device had before stays on it.
    pub(crate) async fn decline_session(&self, seal: &str) -> Result<bool, StoreError> {
        let parts = &self.0;
        let Some(named) = parts.seals.open(seal.as_bytes()) else { return Ok(false) };
        let Some(live) = parts.devices.peek(&named.device).await? else { return Ok(false) };
        tracing::warn!("a person declined a sign-in that an app began");
        match parts.accounts.active(&live).await? {
            Some(account) if live.session.accounts.len() > 1 => {
                Ok(parts.departures.remove(&live, &account).await? == Cas::Done)
            }
            _ => parts.departures.sign_out(&live).await.map(|()| true),
        }
    }

    /// Exchanges a refresh string for its successor.
    pub(crate) async fn renew(&self, text: &str) -> Result<AppTokens, HandoffFault> {
        let (line, place) = self.0.texts.read(text).ok_or(HandoffFault::Renewal)?;
        let this = self.clone();
        on_a_task(async move { this.renew_here(line, place).await }).await
    }

    async fn renew_here(&self, line: RenewalLine, place: i64) -> Result<AppTokens, HandoffFault> {
        let parts = &self.0;
        let (device, place) = match parts.renewals.renew(&line, place, parts.clock.now()).await? {
            Renewal::Renewed { device, place } => (device, place),
            Renewal::Superseded { device } => {
                tracing::warn!(
                    "a refresh string was used again after its successor: somebody has a copy; its session ends"
                );
                if let Some(live) = parts.devices.peek(&device).await? {
                    parts.departures.sign_out(&live).await?;
                }
                return Err(HandoffFault::Reused);
            }
            Renewal::Unknown => return Err(HandoffFault::Renewal),
        };
        let Some(live) = parts.devices.find(&device).await? else { return Err(HandoffFault::Renewal) };
        let Some(account) = parts.accounts.active(&live).await? else { return Err(HandoffFault::Renewal) };
        self.tokens(account, &live.session, &line, place)
    }

    fn tokens(
        &self,
        account: Arc<Account>,
        session: &DeviceSession,
        line: &RenewalLine,
        place: i64,
    ) -> Result<AppTokens, HandoffFault> {
        let renewal = self.0.texts.write(line, place).ok_or(HandoffFault::Renewal)?;
        let access = self.0.seals.renew_briefly(session, &account);
        let seal = self.0.seals.renew(session, &account);
        Ok(AppTokens { account, access, renewal, seal })
    }
}

async fn on_a_task<T: Send + 'static, E: From<StoreError> + Send + 'static>(
    exchange: impl Future<Output = Result<T, E>> + Send + 'static,
) -> Result<T, E> {
    tokio::spawn(exchange).await.unwrap_or_else(|broken| Err(StoreError::Unavailable(broken.into()).into()))
}

fn hash(code: &str) -> HandoffCodeHash {
    let mut digest = Sha256::new();
    digest.update(b"bowerbird one-time code\0");
    digest.update(code.as_bytes());
    HandoffCodeHash(digest.finalize().into())
}
