//! A sign-in that another server of the same OAuth client made: taken over with its tokens, so that nobody has to sign in
//! again.
//!
//! Nothing is sent with the tokens here. A refresh token works once: the first refresh, by the vault, is the proof, and
//! from then on the other server's copy is spent. What can be known before is checked: that the tokens were given to this
//! client, that the key is theirs, and that the account still lives where they came from.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bowerbird_core::ports::{NewAccount, StoreError};
use bowerbird_core::{
    Account, AccountId, Connection, ConnectionId, DeviceAccount, DeviceSession, Did, Platform, RefreshClass, Secret,
    Timestamp,
};
use bowerbird_oauth::{Origin, SigningKey};
use bowerbird_vault::{GrantError, NewGrant, unnamed_device};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{LoginParts, Logins};
use crate::client_identity::ClientKeyError;
use crate::discovery::{DiscoveryError, Freshness};
use crate::identity::{Identity, IdentityError};

/// The largest token that is looked into, in bytes.
const MAX_TOKEN_BYTES: usize = 16 * 1024;
/// No access token is believed to live longer, in seconds.
const LONGEST_LIFE: i64 = 86_400;

/// A sign-in as another server kept it.
#[derive(Debug)]
pub struct ForeignSignIn {
    /// Whose it is.
    pub did: Did,
    /// The address of the account's server, as it was then.
    pub pds: String,
    /// The access token; it may be over.
    pub access_token: Secret,
    /// The refresh token, which works once.
    pub refresh_token: Secret,
    /// The key that both are bound to.
    pub dpop_key: SigningKey,
    /// When the access token ends, if its keeper knew.
    pub expires_at: Option<Timestamp>,
    /// When the person signed in there, as far as that is known.
    pub signed_in_at: Timestamp,
}

/// How all sign-ins of one server are taken over.
#[derive(Clone, Debug)]
pub struct TakeOverRules {
    /// The client id of the server that they come from, for tokens that do not say to whom they were given.
    pub client_id: Option<String>,
    /// Seconds that a session lives here without use.
    pub session_ttl: i64,
    /// What devices are called that come along.
    pub device_name: String,
    /// Change nothing; only look.
    pub dry_run: bool,
}

/// A sign-in that was taken over, or would be.
#[derive(Debug, PartialEq, Eq)]
pub enum TakenOver {
    /// It is here now.
    Done,
    /// The person has signed in here already, or has signed out since; nothing was changed.
    AlreadyHere,
}

/// Why a sign-in was not taken over. Its person must sign in again, unless [`TakeOverRefusal::is_temporary`].
#[derive(Debug, thiserror::Error)]
pub enum TakeOverRefusal {
    /// The tokens were given to another client.
    #[error(
        "the tokens were given to the client {theirs}, and this server is {ours}: nobody but that client can renew them"
    )]
    OtherClient {
        /// The client that they belong to.
        theirs: String,
        /// This one.
        ours: String,
    },
    /// The access token does not say to whom it was given.
    #[error("the access token does not name the client that it was given to")]
    ClientUnknown,
    /// This server authenticates with a key now.
    #[error("the tokens were given to a public client, and this server has client keys")]
    Confidential(#[source] ClientKeyError),
    /// The access token speaks for somebody else.
    #[error("the access token is another account's")]
    OtherSubject,
    /// The tokens are bound to another key.
    #[error("the DPoP key is not the one that the tokens are bound to")]
    OtherKey,
    /// The account lives at another server now, where these tokens are worth nothing.
    #[error("the account has moved from {from} to {to}")]
    Moved {
        /// Where the tokens are good.
        from: String,
        /// Where the account is.
        to: String,
    },
    /// The account's server has another authorization server than the one that gave the tokens.
    #[error("the tokens were given by {theirs}, and the account's server trusts {now}")]
    OtherIssuer {
        /// Who gave the tokens.
        theirs: String,
        /// Who speaks for the account now.
        now: String,
    },
    /// The operator's list of servers does not have this one.
    #[error("{0}")]
    NotAllowed(String),
    /// Who the account is could not be found out.
    #[error("the account could not be looked up")]
    Identity(#[source] IdentityError),
    /// The authorization server could not be established.
    #[error("the account's server could not be asked")]
    Discovery(#[source] DiscoveryError),
    /// The database did not answer.
    #[error("the database did not answer")]
    Store(#[from] StoreError),
    /// The vault did not take it.
    #[error("the tokens could not be stored")]
    Grant(#[source] GrantError),
}

impl TakeOverRefusal {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::OtherClient { .. } => "other_client",
            Self::ClientUnknown => "client_unknown",
            Self::Confidential(_) => "confidential_client",
            Self::OtherSubject => "other_subject",
            Self::OtherKey => "other_key",
            Self::Moved { .. } => "moved",
            Self::OtherIssuer { .. } => "other_issuer",
            Self::NotAllowed(_) => "not_allowed",
            Self::Identity(_) => "account_not_found",
            Self::Discovery(_) => "server_not_usable",
            Self::Store(_) | Self::Grant(_) => "not_stored",
        }
    }

    /// Whether another try may end otherwise: somebody did not answer.
    pub const fn is_temporary(&self) -> bool {
        matches!(
            self,
            Self::Identity(IdentityError::Unreachable(_))
                | Self::Discovery(DiscoveryError::Unreachable(_))
                | Self::Store(_)
                | Self::Grant(_)
        )
    }
}

impl Logins {
    /// Takes a sign-in over. Doing it again changes nothing, and nothing that is here is ever replaced.
    pub async fn take_over(&self, sign_in: ForeignSignIn, rules: &TakeOverRules) -> Result<TakenOver, TakeOverRefusal> {
        let claims = Claims::of(&sign_in.access_token);
        self.parts.check_claims(&claims, &sign_in, rules)?;
        let known = self.parts.stores.accounts.find_by_did(&sign_in.did).await?;
        if let Some(account) = &known
            && !self.parts.is_unfinished(account).await?
        {
            return Ok(TakenOver::AlreadyHere);
        }
        let (identity, issuer) = self.parts.still_at_home(&claims, &sign_in).await?;
        if rules.dry_run {
            return Ok(TakenOver::Done);
        }
        self.parts.take_over(sign_in, claims, &identity, issuer, rules).await
    }
}

impl LoginParts {
    /// What the tokens say about themselves against what this server is.
    fn check_claims(
        &self,
        claims: &Claims,
        sign_in: &ForeignSignIn,
        rules: &TakeOverRules,
    ) -> Result<(), TakeOverRefusal> {
        let client = self.caller.client();
        let theirs = claims.client_id.as_ref().or(rules.client_id.as_ref()).ok_or(TakeOverRefusal::ClientUnknown)?;
        if theirs != client.client_id() {
            let ours = client.client_id().to_owned();
            return Err(TakeOverRefusal::OtherClient { theirs: theirs.clone(), ours });
        }
        client.authentication(None).map_err(TakeOverRefusal::Confidential)?;
        if claims.sub.as_deref().is_some_and(|sub| sub != sign_in.did.as_str()) {
            return Err(TakeOverRefusal::OtherSubject);
        }
        let bound_to = claims.cnf.as_ref().and_then(|cnf| cnf.jkt.as_deref());
        if bound_to.is_some_and(|jkt| jkt != sign_in.dpop_key.thumbprint()) {
            return Err(TakeOverRefusal::OtherKey);
        }
        Ok(())
    }

    /// Whether nobody ever had a grant here with this account, or a run that was cut off left it without one. Who signed
    /// out has a connection and no device: that is not undone.
    async fn is_unfinished(&self, account: &Account) -> Result<bool, StoreError> {
        let connections = &self.stores.connections;
        let connection = connections.find(account.id, &Platform::atproto(), account.did.as_str()).await?;
        let Some(connection) = connection else { return Ok(true) };
        if self.vault.standing(connection.id).await?.is_some() {
            return Ok(false);
        }
        let device = self.stores.device_sessions.find(&unnamed_device(&account.did), self.clock.now()).await?;
        Ok(device.is_some())
    }

    /// From the account to the authorization server that speaks for it, which must be the one that gave the tokens.
    async fn still_at_home(
        &self,
        claims: &Claims,
        sign_in: &ForeignSignIn,
    ) -> Result<(Arc<Identity>, String), TakeOverRefusal> {
        let identity = self.identities.resolve_uncached(&sign_in.did).await.map_err(TakeOverRefusal::Identity)?;
        let then = url::Url::parse(&sign_in.pds).ok().and_then(|url| Origin::of(&url));
        if then.as_ref().map(Origin::as_str) != Some(identity.pds.as_str()) {
            let (from, to) = (sign_in.pds.clone(), identity.pds.as_str().to_owned());
            return Err(TakeOverRefusal::Moved { from, to });
        }
        // Many accounts share a server, and it is asked anew before each refresh.
        let server =
            self.discovery.of_pds(&identity.pds, Freshness::Cached).await.map_err(TakeOverRefusal::Discovery)?;
        let issuer = server.issuer.as_str().to_owned();
        if let Some(theirs) = claims.iss.as_ref().filter(|iss| !server.issuer.is(iss)) {
            return Err(TakeOverRefusal::OtherIssuer { theirs: theirs.clone(), now: issuer });
        }
        if !self.allowed.admits(Some(&identity.pds), &server.issuer) {
            return Err(TakeOverRefusal::NotAllowed(self.allowed.refusal()));
        }
        Ok((identity, issuer))
    }

    /// Stores it. The device comes before the grant: a run that is cut off in between is known by it, and completed by the
    /// next one.
    async fn take_over(
        &self,
        sign_in: ForeignSignIn,
        claims: Claims,
        identity: &Identity,
        issuer: String,
        rules: &TakeOverRules,
    ) -> Result<TakenOver, TakeOverRefusal> {
        let now = self.clock.now();
        let known = self.stores.accounts.find_by_did(&identity.did).await?;
        let account = if let Some(account) = known {
            account
        } else {
            let handle = self.identities.shown_handle(identity).await;
            let new = NewAccount {
                id: AccountId::random(self.entropy.as_ref()),
                did: identity.did.clone(),
                handle,
                pds: identity.pds.as_str().to_owned(),
                // The grant's end is counted from here, and it was given back then.
                now: sign_in.signed_in_at.min(now),
            };
            self.stores.accounts.sign_in(new).await?
        };
        self.add_unnamed_device(&account, rules, now).await?;
        let connection = Connection {
            id: ConnectionId::random(self.entropy.as_ref()),
            account: account.id,
            platform: Platform::atproto(),
            subject: identity.did.to_string(),
            created_at: now,
        };
        let connection = self.stores.connections.ensure(&connection).await?;
        let ends = claims.exp.map(Timestamp::from_seconds).or(sign_in.expires_at);
        let life = ends.map_or(0, |ends| ends.millis_since(now) / 1000).clamp(0, LONGEST_LIFE);
        let grant = NewGrant {
            connection: connection.id,
            account: account.id,
            subject: identity.did.clone(),
            issuer: issuer.clone(),
            audience: identity.pds.as_str().to_owned(),
            client_kid: None,
            refresh_class: RefreshClass::SingleUse,
            dpop_key: Some(sign_in.dpop_key.scalar()),
            access_token: sign_in.access_token,
            refresh_token: Some(sign_in.refresh_token),
            expires_in: life,
            // The first refresh says what was granted.
            scope: claims.scope.unwrap_or_else(|| self.caller.client().scope().to_string()),
        };
        match self.vault.grant_if_none(grant).await.map_err(TakeOverRefusal::Grant)? {
            Some(_) => {
                tracing::info!(account = %account.id, did = %account.did, issuer, "taken over");
                Ok(TakenOver::Done)
            }
            None => Ok(TakenOver::AlreadyHere),
        }
    }

    async fn add_unnamed_device(
        &self,
        account: &Account,
        rules: &TakeOverRules,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let id = unnamed_device(&account.did);
        if self.stores.device_sessions.find(&id, now).await?.is_some() {
            return Ok(());
        }
        // One that is over has the name still.
        let _none_or_over = self.stores.device_sessions.remove(&id).await?;
        let ends = account.last_login_at.plus_seconds(self.caller.client().session_cap_seconds());
        let rolling = now.plus_seconds(rules.session_ttl);
        let device = DeviceSession {
            id,
            created_at: now,
            last_seen_at: now,
            expires_at: if ends > now { rolling.min(ends) } else { rolling },
            device_name: rules.device_name.clone(),
            active: Some(account.id),
            accounts: vec![DeviceAccount { account: account.id, added_at: now }],
        };
        self.stores.device_sessions.insert(&device).await
    }
}

/// What an access token says about itself, where it is a JWT that says so: to its own server it may be a mere number. It is
/// not believed for anything but a refusal.
#[derive(Debug, Default, Deserialize)]
struct Claims {
    client_id: Option<String>,
    sub: Option<String>,
    iss: Option<String>,
    exp: Option<i64>,
    scope: Option<String>,
    cnf: Option<Confirmation>,
}

#[derive(Debug, Deserialize)]
struct Confirmation {
    jkt: Option<String>,
}

impl Claims {
    fn of(token: &Secret) -> Self {
        let read = || {
            if token.len() > MAX_TOKEN_BYTES {
                return None;
            }
            let mut parts = token.expose().split('.');
            let (_, payload, _, None) = (parts.next()?, parts.next()?, parts.next()?, parts.next()) else {
                return None;
            };
            let json = Zeroizing::new(URL_SAFE_NO_PAD.decode(payload).ok()?);
            serde_json::from_slice(&json).ok()
        };
        read().unwrap_or_default()
    }
}
