//! Time and chance: what the kit needs of the device beside store and network.

use std::time::Duration;

use bowerbird_core::Timestamp;
use bowerbird_core::ports::Entropy;

/// The wall clock.
pub trait DeviceClock: Send + Sync {
    /// What time it is.
    fn now(&self) -> Timestamp;
}

/// Waits between two tries.
pub trait Pause: Send + Sync {
    /// Blocks the calling thread for that long.
    fn pause(&self, duration: Duration);
}

/// The device's own clock, pauses and entropy.
#[derive(Clone, Copy, Debug, Default)]
pub struct Device;

impl DeviceClock for Device {
    #[expect(clippy::disallowed_methods, reason = "this is the adapter of the clock port")]
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

impl Pause for Device {
    fn pause(&self, duration: Duration) {
        std::thread::sleep(duration);
    }
}

impl Entropy for Device {
    #[expect(clippy::disallowed_methods, reason = "this is the adapter of the entropy port")]
    fn fill(&self, destination: &mut [u8]) {
        if getrandom::fill(destination).is_err() {
            // As the port asks: without randomness every secret would be guessable.
            std::process::abort();
        }
    }
}
