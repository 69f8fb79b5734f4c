//! The simulated issuer, and the account's own server: a request goes on there whatever becomes of who sent it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bowerbird_core::ports::{
    AccessProbe, GrantFacts, PreparedRefresh, RefreshOutcome, RefreshRefusal, RefreshedTokens, Refresher,
};
use bowerbird_core::{NeedsReauth, Secret};
use tokio::sync::oneshot;

use super::ledger::{End, Place, Verdict};
use super::life::Life;
use super::plan::Mutant;
use super::world::World;

/// A refresh takes no longer than this, all in all.
const DEADLINE: Duration = Duration::from_mins(1);

pub(crate) struct Issuer {
    pub(crate) world: Arc<World>,
    pub(crate) life: Arc<Life>,
}

/// What happens to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Answered,
    /// Up to 59 s.
    Slow,
    Nonce,
    RateLimited,
    NotConnected,
    /// The request is lost, or its answer; an error comes before or after the rotation; nothing comes at all.
    RequestLost,
    AnswerLost,
    ErrorBefore,
    ErrorAfter,
    HangsBefore,
    HangsAfter,
    Truncated,
    /// New tokens that must not be used.
    Quarantined,
}

impl Fate {
    const TROUBLES: [(u64, Self); 12] = [
        (6, Self::Slow),
        (3, Self::Nonce),
        (2, Self::RateLimited),
        (2, Self::NotConnected),
        (3, Self::RequestLost),
        (2, Self::AnswerLost),
        (3, Self::ErrorBefore),
        (1, Self::ErrorAfter),
        (2, Self::HangsBefore),
        (1, Self::HangsAfter),
        (1, Self::Truncated),
        (1, Self::Quarantined),
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Answered => "issuer: answers",
            Self::Slow => "issuer: answers slowly",
            Self::Nonce => "issuer: wants a nonce",
            Self::RateLimited => "issuer: 429",
            Self::NotConnected => "issuer: not reached",
            Self::RequestLost => "issuer: request lost",
            Self::AnswerLost => "issuer: answer lost",
            Self::ErrorBefore => "issuer: 5xx before the rotation",
            Self::ErrorAfter => "issuer: 5xx after the rotation",
            Self::HangsBefore => "issuer: hangs before the rotation",
            Self::HangsAfter => "issuer: hangs after the rotation",
            Self::Truncated => "issuer: truncated answer",
            Self::Quarantined => "issuer: tokens not to be used",
        }
    }

    const fn is_processed(self) -> bool {
        !matches!(
            self,
            Self::Nonce
                | Self::RateLimited
                | Self::NotConnected
                | Self::RequestLost
                | Self::ErrorBefore
                | Self::HangsBefore
        )
    }
}

/// What comes back over the wire.
enum Wire {
    Tokens(Place, bool),
    InvalidGrant,
    Nonce,
    RateLimited,
    ServerError,
}

#[async_trait]
impl Refresher for Issuer {
    async fn prepare(&self, _: GrantFacts) -> Result<Box<dyn PreparedRefresh>, RefreshRefusal> {
        let (world, life) = (&self.world, &self.life);
        world.gate(life).await;
        if world.goes_wrong(world.plan.preparation_fails) {
            world.ledger.lock().count("preparations that fail");
            if world.rng(|rng| rng.permille(200)) {
                tokio::time::sleep(Duration::from_secs(40)).await;
            }
            return Err(RefreshRefusal::NotNow("simulated".into()));
        }
        world.gate(life).await;
        Ok(Box::new(Prepared { world: Arc::clone(world), life: Arc::clone(life) }))
    }

    async fn probe(&self, _: GrantFacts, access_token: Secret) -> AccessProbe {
        let (world, life) = (&self.world, &self.life);
        world.gate(life).await;
        let probe = match Place::of_token(access_token.expose()) {
            Some(place) if world.plan.probes && !world.goes_wrong(100) => {
                let works = world.ledger.lock().access_works(place, world.elapsed());
                if works { AccessProbe::Accepted } else { AccessProbe::Refused }
            }
            _ => AccessProbe::Silent,
        };
        world.gate(life).await;
        probe
    }
}

struct Prepared {
    world: Arc<World>,
    life: Arc<Life>,
}

#[async_trait]
impl PreparedRefresh for Prepared {
    async fn send(self: Box<Self>, refresh_token: Secret) -> RefreshOutcome {
        let (world, life) = (&self.world, &self.life);
        // Between the last look at the clock and the first byte there are microseconds: nothing may stop us there, but
        // a kill may.
        let (killed, _) = life.call();
        if killed {
            world.ledger.lock().count("crashes");
            world.note(|| format!("instance {} is killed before the first byte", life.number));
            life.held().await;
        }
        let Some(place) = Place::of_token(refresh_token.expose()) else {
            world.ledger.lock().fault("something else than a refresh token was sent".to_owned());
            return RefreshOutcome::Refused { description: None };
        };
        let row = self.row(place).await;
        let lives = world.lives.lock().clone();
        let blame = world.ledger.lock().first_byte(place, life, row.as_ref(), world.elapsed(), &lives);
        let answer = self.exchange(place, blame);
        let outcome = match tokio::time::timeout(DEADLINE, answer).await {
            Ok(Ok(wire)) => {
                if let Wire::Tokens(new, _) = &wire {
                    world.ledger.lock().reached(*new, life);
                }
                world.gate(life).await;
                self.read(&wire)
            }
            // A connection that ends without an answer.
            Ok(Err(_)) | Err(_) => self.nothing_came(),
        };
        life.held().await;
        life.end_sending();
        world.note(|| format!("instance {} hears {outcome:?} for {place:?}", life.number));
        outcome
    }
}

impl Prepared {
    async fn row(&self, place: Place) -> Option<bowerbird_core::CredentialRecord> {
        let connection = self.world.ledger.lock().connection_of(place);
        self.world.stores.credentials.find(connection).await.ok().flatten()
    }

    /// The request on its way, on a task of its own.
    fn exchange(&self, place: Place, blame: End) -> oneshot::Receiver<Wire> {
        let (world, life) = (Arc::clone(&self.world), &self.life);
        let fate = if world.goes_wrong(world.plan.send_fails) {
            world.rng(|rng| rng.weighted(&Fate::TROUBLES))
        } else {
            Fate::Answered
        };
        world.ledger.lock().count(fate.name());
        world.note(|| format!("instance {} sends {place:?}, which will meet {fate:?}", life.number));
        let (there, back) = world.rng(|rng| match fate {
            Fate::Slow => (rng.below(40_000), rng.below(19_000)),
            _ => (rng.below(300), rng.below(300)),
        });
        let (answer, answered) = oneshot::channel();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(there)).await;
            let verdict = fate.is_processed().then(|| world.ledger.lock().process(place, world.elapsed(), blame));
            world.ledger.lock().ended(place);
            tokio::time::sleep(Duration::from_millis(back)).await;
            let wire = match (fate, verdict) {
                (Fate::Nonce | Fate::NotConnected, _) => Wire::Nonce,
                (Fate::RateLimited, _) => Wire::RateLimited,
                (Fate::ErrorBefore | Fate::ErrorAfter | Fate::Truncated, _) => Wire::ServerError,
                (Fate::HangsBefore | Fate::HangsAfter, _) => {
                    tokio::time::sleep(DEADLINE * 2).await;
                    return;
                }
                (Fate::RequestLost | Fate::AnswerLost, _) | (_, None) => return,
                (fate, Some(Verdict::New(place))) => {
                    let quarantined = fate == Fate::Quarantined;
                    if quarantined {
                        world.ledger.lock().quarantine(place);
                    }
                    Wire::Tokens(place, quarantined)
                }
                (_, Some(Verdict::Refused)) => Wire::InvalidGrant,
            };
            // Whoever asked may be dead.
            drop(answer.send(wire));
        });
        answered
    }

    fn read(&self, wire: &Wire) -> RefreshOutcome {
        let world = &self.world;
        match *wire {
            Wire::Tokens(place, quarantined) => {
                world.ledger.lock().taken(place);
                RefreshOutcome::Granted {
                    tokens: RefreshedTokens {
                        access_token: Secret::new(place.token("at")),
                        refresh_token: Some(Secret::new(place.token("rt"))),
                        expires_in: world.plan.life,
                        scope: Some(place.scope()),
                    },
                    fault: quarantined.then_some(NeedsReauth::ScopeLost),
                }
            }
            Wire::InvalidGrant => RefreshOutcome::Refused { description: None },
            Wire::Nonce => RefreshOutcome::NotConsumed { not_before: None, source: "nonce".into() },
            Wire::RateLimited => {
                let wait = world.rng(|rng| rng.between(1, 600));
                let now = world.true_time().plus_millis(self.life.wall_offset());
                let not_before = Some(now.plus_seconds(i64::try_from(wait).unwrap_or(1)));
                RefreshOutcome::NotConsumed { not_before, source: "429".into() }
            }
            Wire::ServerError if world.is(Mutant::ErrorTakenForRefusal) => {
                RefreshOutcome::Refused { description: None }
            }
            Wire::ServerError => RefreshOutcome::Unknown { source: "503".into() },
        }
    }

    fn nothing_came(&self) -> RefreshOutcome {
        if self.world.is(Mutant::LossTakenForNotConsumed) {
            return RefreshOutcome::NotConsumed { not_before: None, source: "reset".into() };
        }
        RefreshOutcome::Unknown { source: "reset".into() }
    }
}
