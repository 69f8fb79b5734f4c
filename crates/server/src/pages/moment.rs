//! Points in time as pages show them. Without script nobody knows the reader's time zone, so that pages say how long ago, or
//! name the zone.

use bowerbird_core::Timestamp;

/// A point in time in several forms.
pub(crate) struct Moment {
    /// For `datetime`.
    pub(crate) machine: String,
    /// With the day and the minute, in UTC.
    pub(crate) words: String,
    /// The day alone.
    pub(crate) day: String,
    /// How long ago, roughly.
    pub(crate) ago: String,
}

impl Moment {
    pub(crate) fn of(at: Timestamp, now: Timestamp) -> Self {
        let moment = jiff::Timestamp::from_millisecond(at.as_millis()).unwrap_or_default();
        let text = |format: &str| moment.strftime(format).to_string();
        Self {
            machine: text("%Y-%m-%dT%H:%M:%SZ"),
            words: text("%-d %B %Y, %H:%M UTC"),
            day: text("%-d %B %Y"),
            ago: ago(now.millis_since(at) / 1000),
        }
    }
}

fn ago(seconds: i64) -> String {
    let (number, unit) = match seconds {
        // A use is written down every five minutes.
        ..600 => return "a few minutes ago".to_owned(),
        600..5_400 => (seconds / 60, "minute"),
        5_400..129_600 => ((seconds + 1_800) / 3_600, "hour"),
        _ => ((seconds + 43_200) / 86_400, "day"),
    };
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {unit}{plural} ago")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_ago_is_said_roughly() {
        for (seconds, words) in [
            (-5, "a few minutes ago"),
            (599, "a few minutes ago"),
            (600, "10 minutes ago"),
            (5_399, "89 minutes ago"),
            (5_400, "2 hours ago"),
            (129_599, "36 hours ago"),
            (129_600, "2 days ago"),
            (864_000, "10 days ago"),
        ] {
            assert_eq!(ago(seconds), words, "{seconds}");
        }
    }

    #[test]
    fn a_moment_names_its_zone() {
        let moment = Moment::of(Timestamp::from_millis(1_767_225_600_000), Timestamp::from_millis(1_767_232_800_000));
        assert_eq!(moment.machine, "2026-01-01T00:00:00Z");
        assert_eq!(
            (moment.words.as_str(), moment.day.as_str(), moment.ago.as_str()),
            ("1 January 2026, 00:00 UTC", "1 January 2026", "2 hours ago")
        );
    }
}
