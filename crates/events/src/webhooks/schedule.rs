//! When a webhook that failed is tried again, and when it is given up.

use std::time::{Duration, UNIX_EPOCH};

use bowerbird_core::Timestamp;
use bowerbird_core::ports::Entropy;
use http::{HeaderMap, header};

/// The pauses after each failure; with the attempt after the last one, 12 attempts in about forty hours.
const PAUSES: [Duration; 11] = [
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_mins(2),
    Duration::from_mins(10),
    Duration::from_mins(30),
    Duration::from_hours(1),
    Duration::from_hours(2),
    Duration::from_hours(4),
    Duration::from_hours(8),
    Duration::from_hours(12),
    Duration::from_hours(12),
];
/// A receiver may ask for a pause of this much at most.
const LONGEST_ASKED: Duration = Duration::from_hours(24);
/// And of this much at least, so that nobody is asked in a circle.
const SHORTEST_ASKED: Duration = Duration::from_secs(1);

/// The pause after so many attempts, give or take a tenth; None when it is given up. A receiver that says when to come
/// back is believed.
pub(super) fn pause_after(attempts: u32, asked: Option<Duration>, entropy: &dyn Entropy) -> Option<Duration> {
    let place = usize::try_from(attempts.saturating_sub(1)).unwrap_or(usize::MAX);
    let pause = *PAUSES.get(place)?;
    if let Some(asked) = asked {
        return Some(asked.clamp(SHORTEST_ASKED, LONGEST_ASKED));
    }
    let mut random = [0; 1];
    entropy.fill(&mut random);
    // Between 0.9 and 1.1 of it.
    Some(pause * (230 + u32::from(random[0]) / 5) / 256)
}

/// What `Retry-After` says, in seconds or as a date.
pub(crate) fn asked_pause(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    let now = Duration::from_millis(u64::try_from(now.as_millis()).unwrap_or_default());
    Some(at.saturating_sub(now))
}

#[cfg(test)]
mod tests {
    use bowerbird_core::testing::SeededEntropy;
    use http::HeaderValue;

    use super::*;

    #[test]
    fn pauses_grow_and_end() {
        let entropy = SeededEntropy::new(1);
        let mut all = Duration::ZERO;
        for attempts in 1..=11 {
            let pause = pause_after(attempts, None, &entropy).unwrap();
            let meant = PAUSES[attempts as usize - 1];
            assert!(pause >= meant.mul_f64(0.89) && pause <= meant.mul_f64(1.11), "{attempts}: {pause:?}");
            all += pause;
        }
        assert_eq!(pause_after(12, None, &entropy), None);
        assert_eq!(pause_after(12, Some(Duration::from_secs(1)), &entropy), None, "not for ever, whatever is asked");
        let hours = all.as_secs_f64() / 3600.0;
        assert!((36.0..45.0).contains(&hours), "{hours}");
    }

    #[test]
    fn a_receiver_that_asks_for_a_pause_gets_it_within_reason() {
        let entropy = SeededEntropy::new(1);
        let now = Timestamp::from_seconds(1_767_225_600);
        for (text, expected) in [
            ("7", Some(7)),
            ("0", Some(1)),
            ("99999999", Some(86_400)),
            ("Thu, 01 Jan 2026 00:01:00 GMT", Some(60)),
            ("Wed, 31 Dec 2025 00:00:00 GMT", Some(1)),
            ("soon", None),
            ("-5", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(text));
            let asked = asked_pause(&headers, now);
            let pause = asked.and_then(|asked| pause_after(1, Some(asked), &entropy));
            assert_eq!(pause, expected.map(Duration::from_secs), "{text}");
        }
    }
}
