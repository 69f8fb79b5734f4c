//! AT Protocol: identity, sign-in, the signed upstream call, the XRPC proxy, and [`OAuthClient`] for Rust developers.

mod allowed_servers;
mod app_password;
mod as_call;
mod atproto;
mod client_identity;
mod config;
mod discovery;
mod echo;
mod encoding;
pub mod identity;
mod login;
mod oauth_client;
mod probe;
pub mod profiles;
pub mod proxy;
mod refresher;
mod servers;
mod upstream;
mod whole_body;

pub use app_password::{AppPasswordError, AppPasswordLogin, AppPasswords, AtHome};
pub use as_call::AsCallError;
pub use atproto::Atproto;
pub use client_identity::{
    CALLBACK_PATH, ClientIdentity, ClientKeyError, JWKS_PATH, METADATA_PATH, OTHER_CALLBACK_PATH,
};
pub use config::{AtprotoConfig, AtprotoConfigError, AtprotoPorts};
pub use discovery::DiscoveryError;
pub use identity::{Identities, Identity, IdentityError, ResolverMode};
pub use login::{
    FinishLoginError, FinishLoginFault, FinishedLogin, ForeignSignIn, LOGIN_LIFE_SECONDS, LoginUnderWay, Logins,
    ReleaseError, SeenGrant, StartLogin, StartLoginError, StartedLogin, TakeOverRefusal, TakeOverRules, TakenOver,
};
pub use oauth_client::{
    EphemeralKeys, MAX_ANSWER_BYTES, OAuthClient, OAuthClientBuilder, OAuthClientPorts, OAuthError, OAuthSession,
    SessionStore, StateStore,
};
pub use profiles::{ProfileError, Profiles};
pub use proxy::{AllowedServices, ProxyCall, ProxyError, ProxyPolicyConfig, XrpcProxy};
