//! The search: breadth first, so that the first violation found is one of the shortest; then the way back along the
//! steps that are no faults, from the states that may be stayed in.
//!
//! Written here because it is short: what there is to use carries a web server with it.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::hash::{BuildHasherDefault, Hasher};
use std::time::Instant;

use super::environment::{self, NAMES};
use super::properties::{self, Property};
use super::protocol;
use super::world::{Ended, Setup, World};

/// What kind of step it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The protocol, the server or the clock at work.
    Works,
    /// A fault ends.
    Heals,
    /// Something goes wrong, or somebody interferes.
    Faults,
    /// Memory is lost.
    Crashes,
}

struct Step {
    who: usize,
    what: &'static str,
    kind: Kind,
    next: World,
    violated: Option<Property>,
}

/// Collects the steps out of one state.
#[derive(Default)]
pub(crate) struct Steps(Vec<Step>);

impl Steps {
    pub(crate) fn push(
        &mut self,
        world: &World,
        who: usize,
        what: &'static str,
        kind: Kind,
        change: impl FnOnce(&mut World) -> Option<Property>,
    ) {
        let mut next = *world;
        let violated = change(&mut next).or_else(|| properties::step(world, &next, kind == Kind::Crashes));
        next.normalise();
        self.0.push(Step { who, what, kind, next, violated });
    }
}

/// What a search has found.
pub(crate) struct Explored {
    pub(crate) states: usize,
    pub(crate) steps: usize,
    /// The first violation, and the steps that lead to it.
    pub(crate) violation: Option<(Property, String)>,
    /// The steps to the first state in which a session ended although an instance out of reach held its successor.
    pub(crate) out_of_reach: Option<String>,
    /// Whether a session ended because its successor was lost.
    pub(crate) lost: bool,
    pub(crate) seconds: f64,
}

/// Multiplies and rotates: quick, and good enough for states that nobody chooses to collide.
#[derive(Clone, Copy, Default)]
struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 29)
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u8(&mut self, number: u8) {
        self.write_u64(u64::from(number));
    }

    fn write_isize(&mut self, number: isize) {
        self.write_u64(number.cast_unsigned() as u64);
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0.rotate_left(5) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

struct Search {
    worlds: Vec<World>,
    known: HashMap<World, u32, BuildHasherDefault<Mix>>,
    /// How each state was reached first.
    from: Vec<(u32, u8, &'static str)>,
    /// Steps that are no faults, as (to, from).
    benign: Vec<(u32, u32)>,
}

/// Explores everything that can be reached, or as far as the first violation.
pub(crate) fn explore(setup: &Setup) -> Explored {
    let begun = Instant::now();
    let mut search = Search {
        worlds: vec![World::first()],
        known: HashMap::default(),
        from: vec![(0, 0, "begins")],
        benign: Vec::new(),
    };
    search.known.insert(World::first(), 0);
    let (mut next, mut count, mut out_of_reach, mut lost) = (0, 0, None, false);
    let mut violation = None;
    let mut steps = Steps::default();
    'search: while let Some(world) = search.worlds.get(next).copied() {
        for who in 0..setup.instances {
            protocol::steps(setup, &world, who, &mut steps);
        }
        environment::steps(setup, &world, &mut steps);
        for step in steps.0.drain(..) {
            count += 1;
            let at = search.add(setup, next, &step);
            if let Some(violated) = step.violated.filter(|violated| setup.waived != Some(*violated)) {
                violation = Some((violated, search.trace(next, Some(&step))));
                break 'search;
            }
            lost |= step.next.server.ended == Some(Ended::SuccessorLost);
            if out_of_reach.is_none() && step.next.server.ended == Some(Ended::SuccessorOutOfReach) {
                out_of_reach = Some(search.trace(at, None));
            }
        }
        next += 1;
    }
    if violation.is_none()
        && let Some(stuck) = search.stuck()
    {
        violation = Some((Property::AlwaysAWayOut, search.trace(stuck, None)));
    }
    let seconds = begun.elapsed().as_secs_f64();
    Explored { states: search.worlds.len(), steps: count, violation, out_of_reach, lost, seconds }
}

impl Search {
    fn add(&mut self, setup: &Setup, from: usize, step: &Step) -> usize {
        // With two instances, which of them is which does not matter.
        let next = if setup.instances == 2 { step.next.min(step.next.exchanged()) } else { step.next };
        let at = *self.known.entry(next).or_insert_with(|| {
            self.worlds.push(next);
            self.from.push((index(from), u8::try_from(step.who).unwrap(), step.what));
            index(self.worlds.len() - 1)
        });
        if matches!(step.kind, Kind::Works | Kind::Heals) && at != index(from) {
            self.benign.push((at, index(from)));
        }
        at as usize
    }

    /// A state from which no way leads to one that may be stayed in.
    fn stuck(&mut self) -> Option<usize> {
        self.benign.sort_unstable();
        let mut good: Vec<bool> = self.worlds.iter().map(properties::settled).collect();
        let mut open: Vec<u32> = (0..index(good.len())).filter(|at| good[*at as usize]).collect();
        while let Some(to) = open.pop() {
            let first = self.benign.partition_point(|edge| edge.0 < to);
            for (_, from) in self.benign[first..].iter().take_while(|edge| edge.0 == to) {
                if !std::mem::replace(&mut good[*from as usize], true) {
                    open.push(*from);
                }
            }
        }
        good.iter().position(|good| !good)
    }

    /// The steps to a state. Where two instances were exchanged on the way, their names are too.
    fn trace(&self, mut at: usize, last: Option<&Step>) -> String {
        let mut lines: Vec<String> = last.iter().map(|step| line(step.who, step.what)).collect();
        while at != 0 {
            let (from, who, what) = self.from[at];
            lines.push(line(usize::from(who), what));
            at = from as usize;
        }
        lines.reverse();
        let mut text = String::new();
        for (number, step) in lines.iter().enumerate() {
            writeln!(text, "  {:>2}. {step}", number + 1).unwrap();
        }
        text
    }
}

fn line(who: usize, what: &str) -> String {
    format!("{} {what}", NAMES[who])
}

fn index(at: usize) -> u32 {
    u32::try_from(at).unwrap()
}
