//! The figures, for people and for programs.

use super::kills::Kills;
use super::ledger::Sums;
use super::refreshes::Calls;
use crate::ui::{self, Ui};
use anyhow::Result;
use serde::Serialize;
use std::time::Duration;

/// Everything that a run found out.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    pub(super) seed: u64,
    pub(super) instances: usize,
    pub(super) seconds: f64,
    /// An answer that was passed longer than this before a kill must have been stored.
    pub(super) window_millis: f64,
    pub(super) kills: Kills,
    /// Token requests of the people for whom processes were killed.
    pub(super) around_kills: Sums,
    pub(super) calls: Calls,
    /// Token requests of the people for whom nobody was killed.
    pub(super) undisturbed: Sums,
    /// Token requests with a token that the proxy had not seen given. Must be 0.
    pub(super) strangers: u64,
    /// Instances whose log tells of a panic. Must be 0.
    pub(super) panics: u64,
}

impl Report {
    /// What must be 0, with its name.
    fn zeroes(&self) -> [(&'static str, u64); 9] {
        let more = self.undisturbed.requests.abs_diff(self.undisturbed.expiries);
        [
            ("replays sent (a spent token beside its successor)", self.around_kills.replays + self.undisturbed.replays),
            ("sessions lost by us", self.kills.lost_by_us + self.calls.lost),
            ("sessions that nobody can tell about", self.kills.unsettled),
            ("token requests beyond one for each expiry, undisturbed", more),
            ("refreshes that were not due", self.around_kills.early + self.undisturbed.early),
            ("sessions lost without a kill", self.calls.lost),
            ("calls without an access token, undisturbed", u64::from(self.calls.served == 0 && self.calls.made > 0)),
            ("token requests that the proxy cannot place", self.strangers),
            ("instances that panicked", self.panics),
        ]
    }

    /// Whether all of that is 0.
    pub(super) fn passed(&self) -> bool {
        self.zeroes().iter().all(|(_, count)| *count == 0)
    }

    /// As JSON, with the verdict.
    pub(super) fn json(&self) -> Result<String> {
        let mut value = serde_json::to_value(self)?;
        value["passed"] = self.passed().into();
        Ok(serde_json::to_string_pretty(&value)?)
    }

    /// As a table.
    pub(super) fn print(&self, ui: &Ui) {
        let Self { kills, around_kills, undisturbed, calls, .. } = self;
        let mut rows = vec![vec!["figure".to_owned(), "count".to_owned(), String::new()]];
        let mut row = |name: &str, count: u64, note: String| {
            rows.push(vec![name.to_owned(), format!("{count:>8}"), note]);
        };
        row("refreshes", around_kills.refreshes + undisturbed.refreshes, String::new());
        row("  undisturbed", undisturbed.refreshes, per_expiry(undisturbed));
        row("  around kills", around_kills.refreshes, String::new());
        row("calls side by side", calls.made, format!("{} served, {} told to come later", calls.served, calls.later));
        row("kill -9", kills.trials, format!("{} at random times", kills.at_random_times));
        row(
            "  token request at the proxy",
            kills.request_withheld + kills.request_sent,
            format!("{} never handed on", kills.request_withheld),
        );
        row("  answer at the proxy", kills.answer_at_the_proxy, String::new());
        row("  half of the answer passed on", kills.answer_half_passed, String::new());
        row("  all of the answer passed on", kills.answer_passed, "0 to 1,000 ms before".to_owned());
        row("sessions looked after", kills.sessions, format!("{} alive", kills.alive));
        row("  lost: the server rotated, no byte came back", kills.lost_no_byte, "counted by the proxy".to_owned());
        row("  lost: the answer was cut short", kills.lost_cut_short, "counted by the proxy".to_owned());
        let longest = format!("killed at most {:.1} ms after the last byte", kills.longest_unwritten_millis);
        row("  lost: the answer came, and was not yet on the disk", kills.lost_unwritten, longest);
        let resent = around_kills.resent_spent + undisturbed.resent_spent;
        row("sent again after a doubt, spent", resent, "nothing else could tell".to_owned());
        let unspent = around_kills.resent_unspent + undisturbed.resent_unspent;
        row("sent again after a doubt, not spent", unspent, "and so healed".to_owned());
        for (name, count) in self.zeroes() {
            row(name, count, if count == 0 { ui.good("must be 0") } else { ui.bad("must be 0") });
        }
        ui.line("");
        ui.table(&rows);
        let took = ui::seconds(Duration::from_secs_f64(self.seconds));
        ui.line(format_args!("\nseed {}, {} instance(s), {took}", self.seed, self.instances));
    }
}

fn per_expiry(sums: &Sums) -> String {
    let Sums { requests, expiries, challenges, .. } = sums;
    format!("{requests} token requests for {expiries} expiries, {challenges} beside them only for a nonce")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report {
            seed: 1,
            instances: 2,
            seconds: 1.0,
            window_millis: 500.0,
            kills: Kills { trials: 1, lost_no_byte: 1, lost_unwritten: 1, ..Kills::default() },
            around_kills: Sums { resent_spent: 2, ..Sums::default() },
            calls: Calls { bursts: 1, made: 4, served: 4, ..Calls::default() },
            undisturbed: Sums { refreshes: 1, expiries: 1, requests: 1, challenges: 1, ..Sums::default() },
            strangers: 0,
            panics: 0,
        }
    }

    #[test]
    fn a_run_fails_by_each_figure_that_must_be_0() {
        assert!(report().passed());
        assert!(report().json().unwrap().contains("\"lostByUs\": 0"));
        let worse: [fn(&mut Report); 9] = [
            |report| report.around_kills.replays = 1,
            |report| report.undisturbed.replays = 1,
            |report| report.kills.lost_by_us = 1,
            |report| report.kills.unsettled = 1,
            |report| report.undisturbed.requests = 2,
            |report| report.undisturbed.early = 1,
            |report| report.calls.lost = 1,
            |report| report.calls.served = 0,
            |report| report.strangers = 1,
        ];
        for make in worse {
            let mut report = report();
            make(&mut report);
            assert!(!report.passed());
        }
    }
}
