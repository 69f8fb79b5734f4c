//! The pieces that handlers ask for, each by itself.

use std::sync::Arc;

use axum::extract::FromRef;
use bowerbird_atproto::{Atproto, ClientIdentity, Profiles, XrpcProxy};
use bowerbird_core::ports::{Clock, Entropy, Stores};
use bowerbird_events::{EventStreams, Metrics};
use bowerbird_vault::SealRing;
use futures_util::future::BoxFuture;

use crate::accounts::Accounts;
use crate::app_password_sign_in::AppPasswordSignIns;
use crate::arrival::Arrivals;
use crate::attempt_limits::AttemptLimits;
use crate::config::ServerConfig;
use crate::device_sessions::DeviceSessions;
use crate::handoffs::{HandoffParts, Handoffs};
use crate::history::History;
use crate::older_contract::OlderContract;
use crate::overview::Overview;
use crate::rate_limit::LoginLimiter;
use crate::routes::events::Following;
use crate::routes::oauth_callback::Ending;
use crate::routes::tokens_health::TokenHealths;
use crate::seals::Seals;
use crate::shared_tier::SharedTier;
use crate::shown_token::ShownTokens;
use crate::sign_in::SignIns;
use crate::sign_out::Departures;
use crate::site::Site;

/// Asks whether everything behind this server can be used; Err says what cannot, for the operator.
pub type ReadyCheck = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// Everything that the server is made of.
#[derive(Clone)]
pub struct ServerParts {
    /// The settings.
    pub config: ServerConfig,
    /// The use cases of the AT Protocol.
    pub atproto: Atproto,
    /// The stores.
    pub stores: Stores,
    /// The secrets of the seals.
    pub seals: SealRing,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The source of randomness.
    pub entropy: Arc<dyn Entropy>,
    /// For `GET /ready`.
    pub ready: ReadyCheck,
    /// What is shared with other instances beside the stores.
    pub shared: SharedTier,
    /// Events as they happen; without a hub that feeds it, nothing is ever heard.
    pub events: EventStreams,
    /// Where it is counted what the operator is to know; None counts nothing.
    pub metrics: Option<Metrics>,
}

/// The pieces, wired; handlers see one piece at a time (`State<Site>`), extractors borrow.
#[derive(Clone)]
pub(crate) struct Parts(Arc<Pieces>);

struct Pieces {
    site: Site,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    seals: Seals,
    devices: DeviceSessions,
    accounts: Accounts,
    overview: Overview,
    sign_ins: SignIns,
    app_password_sign_ins: AppPasswordSignIns,
    departures: Departures,
    handoffs: Handoffs,
    history: History,
    client: ClientIdentity,
    profiles: Profiles,
    proxy: XrpcProxy,
    shown_tokens: ShownTokens,
    healths: TokenHealths,
    following: Following,
    ending: Ending,
    ready: Ready,
}

/// The readiness check as a piece.
#[derive(Clone)]
pub(crate) struct Ready(pub(crate) ReadyCheck);

impl Parts {
    pub(crate) fn new(parts: ServerParts) -> Self {
        let ServerParts { config, atproto, stores, seals, clock, entropy, ready, shared, events, metrics } = parts;
        let Atproto { logins, app_passwords, proxy, client, profiles, vault, .. } = atproto;
        let site = Site::new(config, client.session_cap_seconds());
        let devices = DeviceSessions::new(
            Arc::clone(&stores.device_sessions),
            Arc::clone(&clock),
            Arc::clone(&entropy),
            &shared,
            site.session_ttl,
        );
        let accounts = Accounts::new(Arc::clone(&stores.accounts), Arc::clone(&clock), &shared);
        let history = History::new(Arc::clone(&stores.security_events), Arc::clone(&clock), Arc::clone(&entropy));
        let departures = Departures::new(devices.clone(), accounts.clone(), logins.clone(), history.clone());
        let arrivals =
            Arrivals::new(devices.clone(), accounts.clone(), profiles.clone(), history.clone(), departures.clone());
        let attempts = AttemptLimits::new(Arc::clone(&clock), shared.buckets.clone());
        let limiter = LoginLimiter::new(Arc::clone(&clock), shared.buckets);
        let overview = Overview::new(site.clone(), accounts.clone(), Arc::clone(&stores.connections), vault.clone());
        let sign_ins = SignIns::new(site.clone(), logins.clone(), limiter, Arc::clone(&entropy));
        let healths = TokenHealths {
            site: site.clone(),
            connections: Arc::clone(&stores.connections),
            credentials: Arc::clone(&stores.credentials),
            clock: Arc::clone(&clock),
        };
        let texts = seals.renewal_texts();
        let seals = Seals::new(site.clone(), seals, Arc::clone(&clock), Arc::clone(&entropy));
        let handoffs = Handoffs::new(HandoffParts {
            handoffs: Arc::clone(&stores.handoffs),
            renewals: Arc::clone(&stores.renewals),
            texts,
            devices: devices.clone(),
            accounts: accounts.clone(),
            arrivals: arrivals.clone(),
            departures: departures.clone(),
            seals: seals.clone(),
            clock: Arc::clone(&clock),
            entropy: Arc::clone(&entropy),
        });
        let older_contract =
            OlderContract::new(Arc::clone(&stores.older_contract), Arc::clone(&clock), metrics, &site.mobile);
        Self(Arc::new(Pieces {
            shown_tokens: ShownTokens::new(site.expose_tokens && site.loopback, Arc::clone(&stores.connections), vault),
            app_password_sign_ins: AppPasswordSignIns::new(site.clone(), app_passwords, attempts, arrivals.clone()),
            ending: Ending::new(logins, arrivals, handoffs.clone(), seals.clone(), older_contract, Arc::clone(&clock)),
            following: Following { streams: events, devices: devices.clone() },
            departures,
            handoffs,
            seals,
            history,
            site,
            clock,
            entropy,
            devices,
            accounts,
            overview,
            sign_ins,
            client,
            profiles,
            proxy,
            healths,
            ready: Ready(ready),
        }))
    }

    pub(crate) fn site(&self) -> &Site {
        &self.0.site
    }

    pub(crate) fn seals(&self) -> &Seals {
        &self.0.seals
    }

    pub(crate) fn devices(&self) -> &DeviceSessions {
        &self.0.devices
    }

    pub(crate) fn accounts(&self) -> &Accounts {
        &self.0.accounts
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.0.clock
    }

    pub(crate) fn entropy(&self) -> &Arc<dyn Entropy> {
        &self.0.entropy
    }
}

macro_rules! piece {
    ($($field:ident: $piece:ty),* $(,)?) => {
        $(impl FromRef<Parts> for $piece {
            fn from_ref(parts: &Parts) -> Self {
                parts.0.$field.clone()
            }
        })*
    };
}

piece! {
    site: Site,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    seals: Seals,
    devices: DeviceSessions,
    accounts: Accounts,
    overview: Overview,
    sign_ins: SignIns,
    app_password_sign_ins: AppPasswordSignIns,
    departures: Departures,
    handoffs: Handoffs,
    history: History,
    client: ClientIdentity,
    profiles: Profiles,
    proxy: XrpcProxy,
    shown_tokens: ShownTokens,
    healths: TokenHealths,
    following: Following,
    ending: Ending,
    ready: Ready,
}
