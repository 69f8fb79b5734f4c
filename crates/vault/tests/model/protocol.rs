//! What an instance does: the steps of the refresh protocol, each atomic, in any order that two instances allow.

use super::checker::{Kind, Steps};
use super::properties::{self, Property};
use super::world::{
    Doubt, Fence, Intent, Outcome, Phase, Reason, Request, Row, RowState, Run, Seen, Setup, Spilled, Swap, Token, World,
};

/// Every step that this instance may take by itself.
pub(crate) fn steps(setup: &Setup, world: &World, who: usize, out: &mut Steps) {
    let me = &world.instances[who];
    if me.paused {
        out.push(world, who, "goes on", Kind::Heals, |next| {
            next.instances[who].paused = false;
            late_after_pause(setup, next, who);
            None
        });
        return;
    }
    if me.cut_off {
        out.push(world, who, "reaches the database again", Kind::Heals, |next| {
            next.instances[who].cut_off = false;
            None
        });
    }
    match me.phase {
        Phase::Down => out.push(world, who, "starts", Kind::Heals, |next| {
            let replay = me.spill.is_some() && setup.rules.replay_spill_first;
            next.instances[who].phase = if replay { Phase::Replaying } else { Phase::Idle };
            None
        }),
        Phase::Replaying if me.cut_off => {}
        Phase::Replaying => out.push(world, who, "replays its spill", Kind::Works, |next| replay(setup, next, who)),
        Phase::Idle => {
            if me.spill.is_some() {
                out.push(world, who, "replays its spill late", Kind::Works, |next| replay(setup, next, who));
            }
            if may_begin(setup, world) {
                out.push(world, who, "reads the row", Kind::Works, |next| {
                    next.instances[who].phase = Phase::Prepared(Run {
                        seen: world.row.generation,
                        token: world.row.token,
                        recovering: false,
                        again: false,
                        since_intent: 0,
                        since_send: 0,
                    });
                    None
                });
            }
        }
        Phase::Prepared(run) => begin(setup, world, who, run, out),
        Phase::Leased(run) => leased(setup, world, who, run, out),
        Phase::Fenced(run) => out.push(world, who, "sends", Kind::Works, |next| send(setup, next, who, run)),
        Phase::Awaiting(run) => {
            if run.since_send >= setup.timing.deadline {
                out.push(world, who, "waits no longer", Kind::Works, |next| {
                    answer(next, who, Outcome::Unknown);
                    disown(next, who);
                    None
                });
            }
        }
        Phase::Answered(run, outcome) => answered(setup, world, who, run, outcome, out),
        Phase::Holding(run, token) if !me.cut_off => {
            let held = Spilled { seen: run.seen, token };
            out.push(world, who, "commits", Kind::Works, |next| {
                commit(setup, next, who, held);
                next.instances[who].spill = None;
                next.instances[who].phase = Phase::Idle;
                None
            });
            out.push(world, who, "commits and does not hear of it", Kind::Faults, |next| {
                commit(setup, next, who, held);
                None
            });
        }
        Phase::Holding(..) => {}
    }
}

/// Whether something must be done before time can pass: steps take far less than a tick unless somebody stops them.
pub(crate) fn urgent(setup: &Setup, world: &World, who: usize) -> bool {
    let me = &world.instances[who];
    if me.paused {
        return false;
    }
    match me.phase {
        Phase::Down | Phase::Idle => false,
        Phase::Replaying | Phase::Holding(..) => !me.cut_off,
        Phase::Prepared(_) | Phase::Leased(_) | Phase::Fenced(_) | Phase::Answered(..) => true,
        Phase::Awaiting(run) => run.since_send >= setup.timing.deadline,
    }
}

fn may_begin(setup: &Setup, world: &World) -> bool {
    world.may_begin() && (setup.rules.recovers || !world.in_doubt())
}

/// Step 1: lease and intent in one update.
fn begin(setup: &Setup, world: &World, who: usize, run: Run, out: &mut Steps) {
    let rules = &setup.rules;
    let fits = run.seen == world.row.generation || !rules.begin_compares;
    // Also when it cannot reach the database.
    out.push(world, who, "does not get the lease", Kind::Works, |next| idle(next, who));
    if !fits || !may_begin(setup, world) {
        return;
    }
    let recovering = world.in_doubt() && rules.intent == Intent::Written;
    if recovering && rules.sends.is_some_and(|most| world.row.attempts >= most) {
        return out.push(world, who, "gives up after enough sends", Kind::Works, |next| {
            let asked = ask(next, Reason::LostResponse);
            idle(next, who).or(asked)
        });
    }
    let write = |next: &mut World| {
        if rules.intent != Intent::None {
            next.row.state = RowState::Refreshing;
            next.row.holder = holder(who);
            next.row.lease = if rules.lease { setup.timing.lease } else { 0 };
            next.row.quiet = if rules.quiet { setup.timing.quiet } else { 0 };
        }
        if rules.sends.is_some() {
            next.row.attempts += 1;
        }
    };
    out.push(world, who, "takes the lease", Kind::Works, |next| {
        write(next);
        next.instances[who].phase = Phase::Leased(Run { recovering, ..run });
        None
    });
    out.push(world, who, "takes the lease and does not hear of it", Kind::Faults, |next| {
        write(next);
        idle(next, who)
    });
}

/// Step 2: the fence, and before a second send a look at who is late.
fn leased(setup: &Setup, world: &World, who: usize, run: Run, out: &mut Steps) {
    let rules = &setup.rules;
    if rules.fence != Fence::None && run.since_intent > setup.timing.send_within {
        return out.push(world, who, "is too late to send", Kind::Works, |next| restore(setup, next, who, run));
    }
    if run.recovering && rules.late_holder_grace {
        if world.instances[who].cut_off || world.row.generation != run.seen {
            return out.push(world, who, "does not send again", Kind::Works, |next| idle(next, who));
        }
        let sees = |other: usize| match rules.spills_seen {
            Seen::Own => false,
            Seen::OfTheDead => world.instances[other].phase == Phase::Down,
            Seen::All => true,
        };
        let spilled =
            (0..2).filter(|other| *other == who || sees(*other)).find_map(|other| world.instances[other].spill);
        if let Some(held) = spilled.filter(|held| held.seen == run.seen && rules.spills_seen != Seen::Own) {
            out.push(world, who, "commits what another spilled", Kind::Works, |next| {
                commit(setup, next, who, held);
                idle(next, who)
            });
            if rules.heeds_what_it_saw {
                return out
                    .push(world, who, "cannot commit it, and does not send", Kind::Faults, |next| idle(next, who));
            }
            return out
                .push(world, who, "cannot commit it, and sends", Kind::Faults, |next| send(setup, next, who, run));
        }
        let late = |other: usize| {
            let at_work = !world.instances[other].paused && !world.instances[other].cut_off;
            let replaying = world.instances[other].phase == Phase::Replaying;
            other != who && at_work && (replaying || world.in_memory(other).is_some_and(|held| held.seen == run.seen))
        };
        if (0..2).any(late) {
            return;
        }
    }
    if rules.fence == Fence::BeforeFirstByte {
        return out.push(world, who, "sees that there is time", Kind::Works, |next| {
            next.instances[who].phase = Phase::Fenced(run);
            None
        });
    }
    out.push(world, who, "sends", Kind::Works, |next| send(setup, next, who, run));
}

fn send(setup: &Setup, next: &mut World, who: usize, run: Run) -> Option<Property> {
    let (violated, excused) = properties::send(setup, next, run.seen, run.token);
    if let Some(place) = next.requests.iter_mut().find(|place| place.is_none()) {
        *place = Some(Request { token: run.token, age: 0, owner: holder(who), excused });
    }
    if setup.rules.sends.is_some() && run.token != Token::SUPERSEDED {
        next.sends = next.sends.saturating_add(1);
    }
    next.instances[who].phase = Phase::Awaiting(Run { since_send: 0, ..run });
    violated
}

/// Steps 3 and 4: classify, and write the answer down before anything else.
fn answered(setup: &Setup, world: &World, who: usize, run: Run, outcome: Outcome, out: &mut Steps) {
    let cut_off = world.instances[who].cut_off;
    match outcome {
        Outcome::Granted(token) => out.push(world, who, "spills the answer", Kind::Works, |next| {
            if setup.rules.spill {
                next.instances[who].spill = Some(Spilled { seen: run.seen, token });
            }
            next.kept |= token == next.server.current && run.seen == next.row.generation;
            next.instances[who].phase = Phase::Holding(run, token);
            None
        }),
        Outcome::NotConsumed => {
            if !run.again {
                out.push(world, who, "sends once more at once", Kind::Works, |next| {
                    next.instances[who].phase = Phase::Leased(Run { again: true, since_send: 0, ..run });
                    None
                });
            }
            out.push(world, who, "puts it off", Kind::Works, |next| restore(setup, next, who, run));
        }
        Outcome::Refused => out.push(world, who, "notes the refusal", Kind::Works, |next| {
            let reason = if run.recovering { Reason::LostResponse } else { Reason::Revoked };
            let asked = if cut_off || !may_write(setup, next, who, run) { None } else { ask(next, reason) };
            idle(next, who).or(asked)
        }),
        Outcome::Unknown => out.push(world, who, "notes the doubt", Kind::Works, |next| {
            let mut asked = None;
            if !cut_off && may_write(setup, next, who, run) && setup.rules.intent == Intent::Written {
                if setup.rules.sends.is_some_and(|most| next.row.attempts >= most) {
                    asked = ask(next, Reason::LostResponse);
                } else {
                    let (lease, quiet) = match setup.rules.doubt {
                        Doubt::KeepsLease => (next.row.lease, next.row.quiet),
                        Doubt::QuietFromNote if setup.rules.quiet => (0, setup.timing.quiet),
                        Doubt::QuietFromNote | Doubt::QuietFromIntent => (0, next.row.quiet),
                    };
                    next.row = Row { state: RowState::Unknown, holder: None, lease, quiet, ..next.row };
                }
            }
            idle(next, who).or(asked)
        }),
    }
}

/// The row goes back to what it was before the intent: nothing was consumed by this run.
fn restore(setup: &Setup, next: &mut World, who: usize, run: Run) -> Option<Property> {
    if !next.instances[who].cut_off && may_write(setup, next, who, run) {
        let doubt = run.recovering && setup.rules.keeps_doubt;
        let state = if doubt { RowState::Unknown } else { RowState::Ok };
        let attempts = next.row.attempts.saturating_sub(1);
        next.row = Row { state, holder: None, lease: 0, quiet: 0, attempts, ..next.row };
    }
    idle(next, who)
}

fn may_write(setup: &Setup, world: &World, who: usize, run: Run) -> bool {
    world.row.generation == run.seen && (world.row.holder == holder(who) || !setup.rules.state_fenced)
}

fn replay(setup: &Setup, next: &mut World, who: usize) -> Option<Property> {
    if let Some(held) = next.instances[who].spill.take() {
        commit(setup, next, who, held);
    }
    idle(next, who)
}

/// The compare-and-swap of step 4. Whoever finds another row drops what it has: the row is right.
fn commit(setup: &Setup, next: &mut World, who: usize, held: Spilled) {
    let lands = match setup.rules.commit {
        Swap::Generation => next.row.generation == held.seen,
        Swap::Lease => next.row.generation == held.seen && next.row.holder == holder(who),
        Swap::Blind => true,
    };
    if lands {
        let generation = next.row.generation + 1;
        next.row =
            Row { generation, token: held.token, state: RowState::Ok, holder: None, lease: 0, quiet: 0, attempts: 0 };
        next.sends = 0;
    }
}

fn ask(next: &mut World, reason: Reason) -> Option<Property> {
    let violated = properties::asks_the_person(next, reason);
    next.row = Row { state: RowState::NeedsReauth(reason), holder: None, lease: 0, quiet: 0, attempts: 0, ..next.row };
    violated
}

/// The outcome reaches whoever waits for it.
pub(crate) fn answer(next: &mut World, who: usize, outcome: Outcome) {
    if let Phase::Awaiting(run) = next.instances[who].phase {
        next.instances[who].phase = Phase::Answered(run, outcome);
    }
}

/// Nobody waits for this instance's requests any more.
pub(crate) fn disown(next: &mut World, who: usize) {
    for request in next.requests.iter_mut().flatten() {
        if request.owner == holder(who) {
            request.owner = None;
        }
    }
}

/// The mutant that looks at its deadline before it looks into the socket.
fn late_after_pause(setup: &Setup, next: &mut World, who: usize) {
    if let Phase::Answered(run, Outcome::Granted(_)) = next.instances[who].phase
        && !setup.rules.answer_before_deadline
        && run.since_send >= setup.timing.deadline
    {
        next.instances[who].phase = Phase::Answered(run, Outcome::Unknown);
    }
}

/// Ends the run. Gives what a step gives that violates nothing.
fn idle(next: &mut World, who: usize) -> Option<Property> {
    next.instances[who].phase = Phase::Idle;
    None
}

fn holder(who: usize) -> Option<u8> {
    u8::try_from(who).ok()
}
