//! The smaller ports of one instance: its clocks, its news, and who hears of its events.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bowerbird_core::Timestamp;
use bowerbird_core::ports::{AccessProbe, AccountEvent, Change, ChangeFeed, ChangeListener, Clock, Observer};

use super::life::Life;
use super::plan::Mutant;
use super::world::World;

/// The clocks of the machine that an instance runs on.
pub(crate) struct Clocks {
    pub(crate) world: Arc<World>,
    pub(crate) life: Arc<Life>,
}

impl Clock for Clocks {
    fn now(&self) -> Timestamp {
        self.world.true_time().plus_millis(self.life.wall_offset())
    }

    fn monotonic(&self) -> Duration {
        let elapsed = self.world.elapsed();
        if self.world.is(Mutant::ClockStandsStill) { elapsed.saturating_sub(self.life.slept()) } else { elapsed }
    }
}

/// News that are lost now and then, and always by those that are stopped.
pub(crate) struct Feed {
    pub(crate) world: Arc<World>,
    pub(crate) life: Arc<Life>,
}

#[async_trait]
impl ChangeFeed for Feed {
    async fn publish(&self, change: Change) {
        self.world.gate(&self.life).await;
        let listeners = self.world.listeners.lock().clone();
        for (life, listener) in listeners {
            if life.number != self.life.number && !life.is_dead() && !life.is_stopped() && !self.world.goes_wrong(200) {
                listener.changed(&change);
            }
        }
        self.world.gate(&self.life).await;
    }

    fn listen(&self, listener: Arc<dyn ChangeListener>) {
        self.world.listeners.lock().push((Arc::clone(&self.life), listener));
    }
}

/// Counts what is told.
pub(crate) struct Diary {
    pub(crate) world: Arc<World>,
}

impl Observer for Diary {
    fn event(&self, event: &AccountEvent) {
        self.world.ledger.lock().count(match event.kind.name() {
            "refreshed" => "event: refreshed",
            "recovered" => "event: recovered",
            "lost_response" => "event: lost_response",
            "outcome_unknown" => "event: outcome_unknown",
            _ => "event: needs_reauth",
        });
    }

    fn probed(&self, probe: AccessProbe) {
        self.world.ledger.lock().count(match probe {
            AccessProbe::Accepted => "probe: accepted",
            AccessProbe::Refused => "probe: refused",
            AccessProbe::Silent => "probe: silent",
        });
    }
}
