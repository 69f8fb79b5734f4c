//! Signing in: the two halves of a login, its repair, and its end.

mod error;
mod finish;
mod keep;
mod release;
mod repair;
mod revoke;
mod start;
pub(crate) mod stored;
mod take_over;

use std::sync::Arc;

use bowerbird_core::ports::{Clock, Entropy, Stores};
use bowerbird_vault::Vault;

pub use error::{FinishLoginError, FinishLoginFault, LoginUnderWay, StartLoginError};
pub(crate) use error::{discovery_code, discovery_status, identity_code, identity_status};
pub use finish::FinishedLogin;
pub(crate) use keep::{KeepError, NewTokens};
pub use release::{ReleaseError, SeenGrant};
pub use start::{StartLogin, StartedLogin};
pub use take_over::{ForeignSignIn, TakeOverRefusal, TakeOverRules, TakenOver};

use crate::allowed_servers::AllowedServers;
use crate::as_call::AsCaller;
use crate::discovery::Discovery;
use crate::identity::Identities;

/// How long a login may take, in seconds.
pub const LOGIN_LIFE_SECONDS: i64 = 600;

/// The login use cases. Cheap to clone.
#[derive(Clone)]
pub struct Logins {
    parts: Arc<LoginParts>,
}

pub(crate) struct LoginParts {
    pub(crate) identities: Identities,
    pub(crate) discovery: Discovery,
    pub(crate) caller: AsCaller,
    pub(crate) vault: Vault,
    pub(crate) stores: Stores,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) allowed: AllowedServers,
    pub(crate) login_cap: u64,
    pub(crate) own_origin: bowerbird_oauth::Origin,
    pub(crate) transport: bowerbird_oauth::TransportPolicy,
}

impl Logins {
    pub(crate) fn new(parts: Arc<LoginParts>) -> Self {
        Self { parts }
    }
}
