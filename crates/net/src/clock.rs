//! The system's clocks.

use std::time::{Duration, SystemTime};

use bowerbird_core::Timestamp;
use bowerbird_core::ports::Clock;

/// The clocks of the operating system.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    start: Started,
}

impl SystemClock {
    /// Starts the monotonic clock at zero.
    pub fn new() -> Self {
        Self { start: Started::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the adapter of the clock port")]
    fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

/// A moment by a clock that counts while the machine is suspended, which [`std::time::Instant`] does not on Linux.
#[cfg(target_os = "linux")]
#[derive(Clone, Copy, Debug)]
struct Started(Duration);

#[cfg(target_os = "linux")]
impl Started {
    fn now() -> Self {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
        Self(Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or_default()))
    }

    fn elapsed(self) -> Duration {
        Self::now().0.saturating_sub(self.0)
    }
}

/// Elsewhere the clock of the standard library has to do.
#[cfg(not(target_os = "linux"))]
#[derive(Clone, Copy, Debug)]
struct Started(std::time::Instant);

#[cfg(not(target_os = "linux"))]
impl Started {
    #[expect(clippy::disallowed_methods, reason = "this is the adapter of the clock port")]
    fn now() -> Self {
        Self(std::time::Instant::now())
    }

    fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_a_time_of_this_age_and_never_goes_back() {
        let clock = SystemClock::new();
        assert!(clock.now() > Timestamp::from_seconds(1_767_225_600));
        let first = clock.monotonic();
        assert!(clock.monotonic() >= first);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_monotonic_clock_is_the_one_that_counts_a_suspended_machine() {
        let clock = SystemClock::new();
        // `/proc/uptime` includes the time in suspend, as CLOCK_BOOTTIME does.
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
        let uptime: f64 = uptime.split_whitespace().next().unwrap().parse().unwrap();
        assert!((clock.start.0.as_secs_f64() - uptime).abs() < 5.0, "{clock:?} and {uptime}");
        std::thread::sleep(Duration::from_millis(20));
        assert!(clock.monotonic() >= Duration::from_millis(20));
    }
}
