//! What happens to the instances: the server's work, lost messages, crashes, pauses, an unreachable database, a person
//! who signs in or withdraws access, and time.

use super::checker::{Kind, Steps};
use super::properties::{self, Property};
use super::protocol::{answer, disown, urgent};
use super::world::{Ended, Fence, Outcome, Phase, Policy, Request, Row, RowState, Setup, Token, World};

const NETWORK: usize = 2;
const SERVER: usize = 3;
const PERSON: usize = 4;
const CLOCK: usize = 5;

/// Who did a step, for the trace.
pub(crate) const NAMES: [&str; 6] = ["A", "B", "network", "server", "person", "clock"];

/// Every step that is not an instance's own.
pub(crate) fn steps(setup: &Setup, world: &World, out: &mut Steps) {
    for (place, request) in world.requests.iter().enumerate() {
        if let Some(request) = request {
            carry(setup, world, place, *request, out);
        }
    }
    for who in 0..setup.instances {
        trouble(world, who, out);
    }
    if world.alive() {
        out.push(world, PERSON, "withdraws access", Kind::Faults, |next| {
            next.server.ended = Some(Ended::ByPerson);
            None
        });
    }
    if setup.logins {
        out.push(world, PERSON, "signs in again", Kind::Faults, sign_in);
    }
    tick(setup, world, out);
}

/// What becomes of one request.
fn carry(setup: &Setup, world: &World, place: usize, request: Request, out: &mut Steps) {
    let owner = request.owner.map(usize::from);
    out.push(world, SERVER, "answers", Kind::Works, |next| {
        let (outcome, violated) = process(setup, next, place);
        if let Some(owner) = owner {
            answer(next, owner, outcome);
        }
        violated
    });
    if request.token == Token::SUPERSEDED {
        out.push(world, SERVER, "refuses a replaced grant", Kind::Works, |next| {
            next.requests[place] = None;
            if let Some(owner) = owner {
                answer(next, owner, Outcome::Refused);
            }
            None
        });
    }
    let Some(owner) = owner else {
        out.push(world, NETWORK, "loses a request that nobody waits for", Kind::Faults, |next| {
            next.requests[place] = None;
            None
        });
        return;
    };
    out.push(world, SERVER, "refuses without consuming (nonce, client, 429)", Kind::Faults, |next| {
        next.requests[place] = None;
        next.sends = next.sends.saturating_sub(u8::from(request.token != Token::SUPERSEDED));
        answer(next, owner, Outcome::NotConsumed);
        None
    });
    out.push(world, SERVER, "fails (5xx) before it rotates", Kind::Faults, |next| {
        next.requests[place] = None;
        answer(next, owner, Outcome::Unknown);
        None
    });
    out.push(world, NETWORK, "loses the request", Kind::Faults, |next| {
        next.requests[place] = None;
        None
    });
    out.push(world, SERVER, "fails (5xx) after it rotated", Kind::Faults, |next| {
        let (_, violated) = process(setup, next, place);
        answer(next, owner, Outcome::Unknown);
        violated
    });
    out.push(world, NETWORK, "loses the answer", Kind::Faults, |next| process(setup, next, place).1);
    out.push(world, NETWORK, "breaks the connection; the request goes on", Kind::Faults, |next| {
        answer(next, owner, Outcome::Unknown);
        disown(next, owner);
        None
    });
}

/// The server takes a request and changes its books.
fn process(setup: &Setup, next: &mut World, place: usize) -> (Outcome, Option<Property>) {
    let Some(request) = next.requests[place].take() else { return (Outcome::Refused, None) };
    let current = next.server.current;
    if request.token == Token::SUPERSEDED {
        return (Outcome::Granted(Token::SUPERSEDED), None);
    }
    if !next.alive() {
        return (Outcome::Refused, None);
    }
    if request.token == current {
        next.server.current = Token(current.0 + 1);
        next.kept = false;
        return (Outcome::Granted(next.server.current), None);
    }
    let last = request.token.0 + 1 == current.0;
    match setup.policy {
        Policy::Idempotent => (Outcome::Granted(current), None),
        Policy::Grace if last => (Outcome::Granted(current), None),
        Policy::Refuses => (Outcome::Refused, None),
        Policy::NoGrace | Policy::Grace => match properties::ended_by_replay(setup, next, request.excused) {
            Ok(ended) => {
                next.server.ended = Some(ended);
                (Outcome::Refused, None)
            }
            Err(violated) => (Outcome::Refused, Some(violated)),
        },
    }
}

/// What can befall an instance that is at work.
fn trouble(world: &World, who: usize, out: &mut Steps) {
    let me = &world.instances[who];
    if me.phase == Phase::Down {
        return;
    }
    out.push(world, who, "is killed", Kind::Crashes, |next| {
        next.instances[who].phase = Phase::Down;
        disown(next, who);
        None
    });
    if me.phase == Phase::Idle {
        return;
    }
    if !me.paused {
        out.push(world, who, "is stopped", Kind::Faults, |next| {
            next.instances[who].paused = true;
            None
        });
    }
    if !me.cut_off && !me.paused && !matches!(me.phase, Phase::Prepared(_)) {
        out.push(world, who, "loses the database", Kind::Faults, |next| {
            next.instances[who].cut_off = true;
            None
        });
    }
}

/// A new grant, with a session of its own. What anybody holds of the old one is worth nothing any more.
fn sign_in(next: &mut World) -> Option<Property> {
    let generation = next.row.generation + 1;
    for request in next.requests.iter_mut().flatten() {
        request.token = Token::SUPERSEDED;
    }
    for who in 0..next.instances.len() {
        if let Some(run) = next.run_mut(who) {
            run.token = Token::SUPERSEDED;
        }
        let me = &mut next.instances[who];
        if let Phase::Answered(_, Outcome::Granted(token)) | Phase::Holding(_, token) = &mut me.phase {
            *token = Token::SUPERSEDED;
        }
        if let Some(held) = &mut me.spill {
            held.token = Token::SUPERSEDED;
        }
    }
    let token = Token(generation);
    next.row = Row { generation, token, state: RowState::Ok, holder: None, lease: 0, quiet: 0, attempts: 0 };
    next.server.current = token;
    next.server.ended = None;
    (next.kept, next.sends) = (true, 0);
    None
}

/// Time passes, unless somebody has to do something first.
fn tick(setup: &Setup, world: &World, out: &mut Steps) {
    let oldest = setup.timing.deadline + setup.late_by;
    let arrives = world.requests.iter().flatten().any(|request| request.age + 1 >= oldest);
    if arrives || (0..setup.instances).any(|who| urgent(setup, world, who)) {
        return;
    }
    out.push(world, CLOCK, "ticks", Kind::Works, |next| {
        next.row.lease = next.row.lease.saturating_sub(1);
        next.row.quiet = next.row.quiet.saturating_sub(1);
        for request in next.requests.iter_mut().flatten() {
            request.age += 1;
        }
        for who in 0..setup.instances {
            let suspended = next.instances[who].paused && setup.rules.fence == Fence::StoppedClock;
            if !matches!(next.instances[who].phase, Phase::Prepared(_))
                && let Some(run) = next.run_mut(who)
                && !suspended
            {
                run.since_intent = (run.since_intent + 1).min(setup.timing.send_within + 1);
                run.since_send = (run.since_send + 1).min(setup.timing.deadline);
            }
        }
        None
    });
}
