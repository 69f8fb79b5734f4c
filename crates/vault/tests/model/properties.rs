//! What must hold. Some properties are about a step, some about a state, and one about the ways that lead on.

use super::world::{Ended, Excuse, Phase, Policy, Reason, RowState, Setup, Token, World};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Property {
    /// No refresh token is sent after a newer generation of its grant was committed.
    NeverSpent,
    /// No two sends of one token are on their way at once.
    NeverTwoAtOnce,
    /// No replay while a living successor exists in the row, in a spill file or in a memory, but for what the setup excuses.
    NeverAgainstASuccessor,
    /// From every state, without any further fault, a usable token or a stated reason is reached.
    AlwaysAWayOut,
    /// The last copy of a living successor goes only with a crash, and never once it was handled.
    NeverDropped,
    /// A refresh never takes the place of a newer login.
    NeverOverALogin,
    /// A person is asked to sign in only when the token that we have does not work any more.
    NeverGivenUpEarly,
    /// What we lost is not called a revocation.
    NeverBlamed,
    /// One token is sent at most so often as the rules allow.
    NeverTooOften,
}

use Property::{
    NeverAgainstASuccessor, NeverBlamed, NeverDropped, NeverGivenUpEarly, NeverOverALogin, NeverSpent, NeverTooOften,
    NeverTwoAtOnce,
};

/// Whether a send of `token` by a run that saw `seen` may begin; and whether a successor is out of reach.
pub(crate) fn send(setup: &Setup, world: &World, seen: u8, token: Token) -> (Option<Property>, bool) {
    if seen < world.row.generation && token != Token::SUPERSEDED {
        return (Some(NeverSpent), false);
    }
    if token != Token::SUPERSEDED && world.requests.iter().flatten().any(|request| request.token == token) {
        return (Some(NeverTwoAtOnce), false);
    }
    if setup.rules.sends.is_some_and(|most| token != Token::SUPERSEDED && world.sends >= most) {
        return (Some(NeverTooOften), false);
    }
    let replay = world.alive() && token != Token::SUPERSEDED && token < world.server.current;
    if !replay {
        return (None, false);
    }
    match successor(setup, world) {
        Successor::OutOfReach => (None, true),
        Successor::AtHand if setup.policy == Policy::NoGrace => (Some(NeverAgainstASuccessor), false),
        Successor::Lost | Successor::AtHand => (None, false),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Successor {
    Lost,
    OutOfReach,
    AtHand,
}

/// Who has the current token.
fn successor(setup: &Setup, world: &World) -> Successor {
    let current = world.server.current;
    if world.row.token == current {
        return Successor::AtHand;
    }
    let mut found = Successor::Lost;
    for (who, instance) in world.instances.iter().enumerate() {
        let in_memory = world.in_memory(who).is_some_and(|held| held.token == current);
        let spilled = instance.spill.is_some_and(|held| held.token == current);
        if !in_memory && !spilled {
            continue;
        }
        let out_of_reach = instance.paused || instance.cut_off || instance.phase == Phase::Down;
        let excused = match setup.excuse {
            Excuse::Nothing => false,
            Excuse::OutOfReachInMemory => out_of_reach && !spilled,
            Excuse::OutOfReach => out_of_reach,
        };
        if !excused {
            return Successor::AtHand;
        }
        found = Successor::OutOfReach;
    }
    found
}

/// The session ends by a replay: how, or which property that violates.
pub(crate) fn ended_by_replay(setup: &Setup, world: &World, excused: bool) -> Result<Ended, Property> {
    match successor(setup, world) {
        _ if excused => Ok(Ended::SuccessorOutOfReach),
        Successor::Lost => Ok(Ended::SuccessorLost),
        Successor::OutOfReach => Ok(Ended::SuccessorOutOfReach),
        Successor::AtHand => Err(NeverAgainstASuccessor),
    }
}

/// A person is to be asked.
pub(crate) fn asks_the_person(world: &World, reason: Reason) -> Option<Property> {
    if world.alive() && world.row.token == world.server.current {
        return Some(NeverGivenUpEarly);
    }
    let ours = !matches!(world.server.ended, Some(Ended::ByPerson | Ended::SuccessorOutOfReach));
    (reason == Reason::Revoked && ours).then_some(NeverBlamed)
}

fn in_row(world: &World) -> bool {
    world.row.token == world.server.current
}

fn durable(world: &World) -> bool {
    let current = world.server.current;
    in_row(world) || world.instances.iter().any(|instance| instance.spill.is_some_and(|held| held.token == current))
}

fn somewhere(world: &World) -> bool {
    let current = world.server.current;
    durable(world) || (0..2).any(|who| world.in_memory(who).is_some_and(|held| held.token == current))
}

/// Checked for every step that neither minted a token nor changed the grant, before the generations are counted anew.
pub(crate) fn step(before: &World, after: &World, crash: bool) -> Option<Property> {
    if after.row.token == Token::SUPERSEDED {
        return Some(NeverOverALogin);
    }
    if after.alive() && after.kept && !durable(after) {
        return Some(NeverDropped);
    }
    let same = before.alive() && after.alive() && before.server.current == after.server.current;
    (same && !crash && somewhere(before) && !somewhere(after)).then_some(NeverDropped)
}

/// Whether a state is one to stay in: a token that works, or a reason.
pub(crate) fn settled(world: &World) -> bool {
    match world.row.state {
        RowState::Ok => world.alive() && in_row(world),
        RowState::NeedsReauth(_) => true,
        RowState::Refreshing | RowState::Unknown => false,
    }
}
