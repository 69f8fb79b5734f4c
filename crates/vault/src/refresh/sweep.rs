//! The sweep: refreshes before anybody asks, and keeps alive what nobody uses.
//!
//! It starts the same flights as a checkout. It reads what is due and nothing else, a bounded number of rows at a time,
//! and goes on where it stopped: an issuer that has its share is passed over, so that those behind it get theirs.

use std::time::Duration;

use bowerbird_core::ports::{DueCredential, DuePlace, StoreError};
use parking_lot::Mutex;

use crate::Vault;
use crate::refresh::Occasion;

/// Rows that one step looks at, in pages.
const ROWS: usize = 2000;
const PAGE: u32 = 200;
/// The pause between steps while more is due than could be started, and otherwise.
const BUSY: Duration = Duration::from_millis(500);
const IDLE: Duration = Duration::from_secs(15);
/// How often it is written down what was used.
const FLUSH: Duration = Duration::from_mins(5);
/// How often a look is taken at what processes that died left in the spill.
const TAKE_OVER: Duration = Duration::from_mins(1);

/// Where the sweep stands.
#[derive(Default)]
pub(crate) struct SweepPlace(Mutex<Option<DuePlace>>);

/// What one step of the sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Refreshes that were begun.
    pub started: usize,
    /// What is due and was passed over: its issuer has its share, or it must wait.
    pub passed_over: usize,
}

impl Vault {
    /// One step: looks at what is due and begins what may be begun. Waits for none of it.
    pub async fn sweep_once(&self) -> Result<Swept, StoreError> {
        let mut swept = Swept::default();
        if self.is_draining() || self.suspension().is_some() {
            return Ok(swept);
        }
        let mut place = *self.0.sweep_place.0.lock();
        let (mut seen, mut from_the_front) = (0, place.is_none());
        while seen < ROWS {
            let page = self.0.credentials.due(self.0.clock.now(), place, PAGE).await?;
            for due in &page {
                if self.sweep_credential(due) {
                    swept.started += 1;
                } else {
                    swept.passed_over += 1;
                }
            }
            seen += page.len();
            place = page.last().map(|due| (due.due_at, due.connection));
            if page.len() < PAGE as usize {
                // The end: the next step begins at the front again. This one does so itself when it found nothing, or it
                // would look as if nothing were due.
                place = None;
                if seen > 0 || from_the_front {
                    break;
                }
                from_the_front = true;
            }
        }
        *self.0.sweep_place.0.lock() = place;
        Ok(swept)
    }

    fn sweep_credential(&self, due: &DueCredential) -> bool {
        let connection = due.connection;
        if self.0.flights.current(connection).is_some() || self.0.postponed.holds_sweep(connection, self.0.clock.now())
        {
            return false;
        }
        let issuer = self.0.issuers.of(&due.issuer);
        let Some(permits) = self.0.issuers.for_sweep(&issuer, self.0.clock.monotonic()) else { return false };
        drop(self.refresh(connection, due.generation, Occasion::Swept(permits)));
        true
    }

    /// Sweeps until `stop` ends, or the vault drains. Writes down now and then what was used, and stores what processes on the
    /// same folder left behind.
    pub async fn run_sweep(&self, stop: impl Future<Output = ()> + Send) {
        tokio::pin!(stop);
        let mut flushed = self.0.clock.monotonic();
        let mut looked = flushed;
        loop {
            let pause = match self.sweep_once().await {
                Ok(Swept { started: 0, passed_over: 0 }) => IDLE,
                Ok(_) => BUSY,
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "what is due cannot be read");
                    IDLE
                }
            };
            let now = self.0.clock.monotonic();
            if now.saturating_sub(flushed) >= FLUSH {
                flushed = now;
                self.flush_uses().await;
            }
            if now.saturating_sub(looked) >= TAKE_OVER {
                looked = now;
                if let Err(error) = self.take_over().await {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "what others left in the spill is not stored"
                    );
                }
            }
            tokio::select! {
                () = &mut stop => return,
                () = tokio::time::sleep(pause) => {}
            }
            if self.is_draining() {
                return;
            }
        }
    }
}
