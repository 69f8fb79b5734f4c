//! What is measured, as data: a new case is a row here, and a new way to measure is an arm in `runner.rs`.

use serde::Serialize;

/// One figure of the bench.
pub(super) struct Case {
    /// Its short name, stable for scripts.
    pub(super) name: &'static str,
    /// What it means to a person.
    pub(super) title: &'static str,
    pub(super) measure: Measure,
    /// What the figure must keep to; without one it is only printed.
    pub(super) bound: Option<Bound>,
}

/// How a figure is measured.
#[derive(Clone, Copy)]
pub(super) enum Measure {
    /// Throughput of one target as a share of another's, rounds taken in turn.
    ThroughputRatio { ours: Target, reference: Target },
    /// What is added to the 99th percentile of the answer time, in milliseconds, at half the load that `ours` can carry.
    LatencyAdded { ours: Target, reference: Target },
    /// Processor time of Bowerbird for one call, in milliseconds.
    CpuPerCall(Target),
    /// The median time of a call when there is one at a time, in milliseconds.
    TimeAlone(Target),
    /// Resident memory two seconds after a start on an existing database, in MB (1,000,000 bytes).
    IdleMemory,
    /// Resident memory after all the load so far, in MB.
    LoadedMemory,
    /// From the start of the process on an existing database until `/ready` answers 200, in milliseconds.
    Ready,
    /// Size of the stripped program, in MB.
    ProgramSize,
    /// A figure of the vault, taken by the example `figures` of the testkit, in this unit.
    Vault(&'static str),
    /// Resident memory of a Bowerbird with a million idle accounts, beyond that of one with a single account, in MB.
    IdleAccounts,
}

/// Where load is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Target {
    /// `GET /api/auth/session` with a sealed cookie.
    Session,
    /// The same at one of two instances on PostgreSQL, while the other stands by.
    SessionOnPostgres,
    /// `GET /xrpc/…` through Bowerbird, signed, to the trivial upstream.
    Proxied,
    /// The same call through nginx as a plain proxy, without any sign-in.
    Nginx,
    /// The trivial upstream itself.
    Upstream,
    /// `POST /api/accounts/{id}/activate`.
    Switch,
    /// The session check with a thousand seals in turn, each of a device of its own.
    ManySeals,
    /// An axum route that does nothing.
    EmptyRoute,
    /// An axum route that gives the very answer of [`Self::Session`] to the same request: what headers and body cost.
    SameAnswer,
    /// The empty route, with the seals of [`Self::ManySeals`], so that both are asked the same.
    EmptyRouteWithSeals,
}

/// The side of a limit on which a figure must be.
#[derive(Clone, Copy)]
pub(super) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Bound {
    /// Whether the figure keeps to it.
    pub(super) fn holds(self, figure: f64) -> bool {
        match self {
            Self::AtLeast(limit) => figure >= limit,
            Self::AtMost(limit) => figure <= limit,
        }
    }

    /// The same bound, moved outwards by a share of itself.
    fn widened(self, share: f64) -> Self {
        match self {
            Self::AtLeast(limit) => Self::AtLeast(limit * (1.0 - share)),
            Self::AtMost(limit) => Self::AtMost(limit * (1.0 + share)),
        }
    }
}

/// What a figure says about its bound.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Verdict {
    Pass,
    /// Missed, by no more than a busy machine explains.
    Near,
    Miss,
}

/// How strictly figures of speed are judged; sizes and memory are always judged exactly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Judgement {
    /// The bounds as they stand.
    Exact,
    /// For a machine that does other things too: only a miss by more than [`ALLOWANCE`] counts.
    Lenient,
}

/// How far, as a share of its bound, a figure of speed may miss it under [`Judgement::Lenient`].
pub(super) const ALLOWANCE: f64 = 0.4;

impl Judgement {
    pub(super) fn verdict(self, measure: Measure, bound: Bound, figure: f64) -> Verdict {
        if bound.holds(figure) {
            Verdict::Pass
        } else if self == Self::Lenient && measure.is_of_speed() && bound.widened(ALLOWANCE).holds(figure) {
            Verdict::Near
        } else {
            Verdict::Miss
        }
    }
}

impl Measure {
    /// Whether the figure depends on what else the machine does.
    fn is_of_speed(self) -> bool {
        match self {
            Self::ThroughputRatio { .. }
            | Self::LatencyAdded { .. }
            | Self::CpuPerCall(_)
            | Self::TimeAlone(_)
            | Self::Ready
            | Self::Vault(_) => true,
            Self::IdleMemory | Self::LoadedMemory | Self::ProgramSize | Self::IdleAccounts => false,
        }
    }

    /// Whether it takes minutes, or another program: left out of the short form unless it is named.
    pub(super) fn is_long(self) -> bool {
        self.needs_figures() || self.needs_postgres()
    }

    /// Whether it needs two instances on PostgreSQL.
    pub(super) fn needs_postgres(self) -> bool {
        matches!(self, Self::ThroughputRatio { ours: Target::SessionOnPostgres, .. })
    }

    /// Whether it needs the example `figures`.
    pub(super) fn needs_figures(self) -> bool {
        matches!(self, Self::Vault(_) | Self::IdleAccounts) || self.needs_seals()
    }

    /// Whether it needs more seals than that of the one who signed in.
    pub(super) fn needs_seals(self) -> bool {
        matches!(self, Self::ThroughputRatio { ours: Target::ManySeals, .. })
    }

    /// The unit of the figure; empty for a ratio.
    pub(super) fn unit(self) -> &'static str {
        match self {
            Self::ThroughputRatio { .. } => "",
            Self::LatencyAdded { .. } | Self::CpuPerCall(_) | Self::TimeAlone(_) | Self::Ready => "ms",
            Self::IdleMemory | Self::LoadedMemory | Self::ProgramSize | Self::IdleAccounts => "MB",
            Self::Vault(unit) => unit,
        }
    }
}

/// Every figure, in the order in which they are taken: the idle ones first, before any load.
pub(super) const CASES: &[Case] = &[
    Case {
        name: "program-size",
        title: "size of the stripped program",
        measure: Measure::ProgramSize,
        bound: Some(Bound::AtMost(25.0)),
    },
    Case {
        name: "ready",
        title: "ready after a start on an existing database",
        measure: Measure::Ready,
        bound: Some(Bound::AtMost(50.0)),
    },
    Case {
        name: "idle-memory",
        title: "memory when idle",
        measure: Measure::IdleMemory,
        bound: Some(Bound::AtMost(25.0)),
    },
    Case {
        name: "session-throughput",
        title: "session check, as a share of an empty axum route",
        measure: Measure::ThroughputRatio { ours: Target::Session, reference: Target::EmptyRoute },
        bound: Some(Bound::AtLeast(0.70)),
    },
    Case {
        name: "session-same-answer",
        title: "session check, as a share of an axum route that repeats its answer",
        measure: Measure::ThroughputRatio { ours: Target::Session, reference: Target::SameAnswer },
        // Nobody asked for one; it shows what part of the figure above is the answer's size.
        bound: None,
    },
    Case {
        name: "session-cpu",
        title: "processor time of one session check",
        measure: Measure::CpuPerCall(Target::Session),
        bound: None,
    },
    Case {
        name: "session-seals",
        title: "session check with 1,000 seals in turn, as a share of an empty axum route",
        measure: Measure::ThroughputRatio { ours: Target::ManySeals, reference: Target::EmptyRouteWithSeals },
        bound: Some(Bound::AtLeast(0.70)),
    },
    Case {
        name: "switch-cpu",
        title: "processor time of one switch of the active account",
        measure: Measure::CpuPerCall(Target::Switch),
        bound: Some(Bound::AtMost(1.0)),
    },
    Case {
        name: "switch-time",
        title: "one switch of the active account, durable, one at a time",
        measure: Measure::TimeAlone(Target::Switch),
        // Most of it is the disk's: a commit is durable.
        bound: None,
    },
    Case {
        name: "proxy-throughput",
        title: "proxied call, as a share of nginx without sign-in",
        measure: Measure::ThroughputRatio { ours: Target::Proxied, reference: Target::Nginx },
        bound: Some(Bound::AtLeast(0.45)),
    },
    Case {
        name: "proxy-latency",
        title: "proxied call, added to the 99th percentile at half load",
        measure: Measure::LatencyAdded { ours: Target::Proxied, reference: Target::Upstream },
        bound: Some(Bound::AtMost(2.0)),
    },
    Case {
        name: "proxy-cpu",
        title: "processor time of one proxied call",
        measure: Measure::CpuPerCall(Target::Proxied),
        bound: Some(Bound::AtMost(0.1)),
    },
    Case {
        name: "session-postgres",
        title: "session check of one of two instances on PostgreSQL, as a share of SQLite's",
        measure: Measure::ThroughputRatio { ours: Target::SessionOnPostgres, reference: Target::Session },
        bound: Some(Bound::AtLeast(0.9)),
    },
    Case { name: "loaded-memory", title: "memory after the load", measure: Measure::LoadedMemory, bound: None },
    Case {
        name: "checkout-cached",
        title: "checkout of a fresh token that was opened before",
        measure: Measure::Vault("µs"),
        bound: Some(Bound::AtMost(2.0)),
    },
    Case {
        name: "checkout-cold",
        title: "checkout of a fresh token from the row, SQLite",
        measure: Measure::Vault("µs"),
        bound: Some(Bound::AtMost(200.0)),
    },
    Case {
        name: "refresh-throughput",
        title: "refreshes a second, SQLite, every one durable",
        measure: Measure::Vault("/s"),
        bound: Some(Bound::AtLeast(2000.0)),
    },
    Case {
        name: "due-growth",
        title: "picking 1,000 due of a million, as a multiple of 10,000",
        measure: Measure::Vault("×"),
        bound: Some(Bound::AtMost(2.0)),
    },
    Case {
        name: "idle-accounts",
        title: "memory that a million idle accounts add",
        measure: Measure::IdleAccounts,
        bound: Some(Bound::AtMost(50.0)),
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_the_idle_figures_come_before_any_load() {
        let mut names: Vec<_> = CASES.iter().map(|case| case.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), CASES.len());

        let place = |name| CASES.iter().position(|case| case.name == name).unwrap();
        let loaded = |measure| matches!(measure, Measure::ThroughputRatio { .. } | Measure::CpuPerCall(_));
        let first_load = CASES.iter().position(|case| loaded(case.measure)).unwrap();
        assert!(place("idle-memory") < first_load);
    }

    #[test]
    fn a_bound_includes_its_limit() {
        assert!(Bound::AtLeast(0.7).holds(0.7) && !Bound::AtLeast(0.7).holds(0.69));
        assert!(Bound::AtMost(2.0).holds(2.0) && !Bound::AtMost(2.0).holds(2.01));
    }

    #[test]
    fn a_busy_machine_excuses_speed_within_limits_and_never_a_size() {
        let ratio = Measure::ThroughputRatio { ours: Target::Session, reference: Target::EmptyRoute };
        let lenient = |measure, bound, figure| Judgement::Lenient.verdict(measure, bound, figure);
        assert_eq!(lenient(ratio, Bound::AtLeast(0.70), 0.70), Verdict::Pass);
        assert_eq!(lenient(ratio, Bound::AtLeast(0.70), 0.43), Verdict::Near);
        assert_eq!(lenient(ratio, Bound::AtLeast(0.70), 0.41), Verdict::Miss);
        assert_eq!(lenient(Measure::Ready, Bound::AtMost(50.0), 69.0), Verdict::Near);
        assert_eq!(lenient(Measure::Ready, Bound::AtMost(50.0), 71.0), Verdict::Miss);
        assert_eq!(lenient(Measure::IdleMemory, Bound::AtMost(25.0), 25.1), Verdict::Miss);
        assert_eq!(Judgement::Exact.verdict(ratio, Bound::AtLeast(0.70), 0.69), Verdict::Miss);
        assert_eq!(lenient(ratio, Bound::AtLeast(0.70), f64::NAN), Verdict::Miss);
    }
}
