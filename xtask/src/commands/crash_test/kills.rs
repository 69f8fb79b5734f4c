//! kill -9 in the middle of refreshes, many times, and what became of everybody afterwards.
//!
//! A process that is killed leaves its refreshes in doubt for two minutes. So nobody is looked after at once: the kills of a batch
//! follow each other, each with people of its own, and then there is one wait for all of them.

use super::dice::Plan;
use super::house::{Called, House};
use super::ledger::{Ledger, Loss, Rules};
use super::proxy::{Point, Proxy, Trap};
use crate::interrupt;
use anyhow::{Context, Result};
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// Callers for each person at a kill.
const CALLERS: usize = 3;
/// A token request comes within this, or the kill happens without one.
const TRAP_PATIENCE: Duration = Duration::from_secs(10);
/// Callers who ask how people are, side by side.
const ASKING: usize = 16;
/// Everybody has an answer within this, after the quiet time.
const SETTLED_WITHIN: Duration = Duration::from_mins(10);

/// What the kills came to.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Kills {
    /// How many there were.
    pub(super) trials: u64,
    /// By when they happened.
    pub(super) at_random_times: u64,
    pub(super) request_withheld: u64,
    pub(super) request_sent: u64,
    pub(super) answer_at_the_proxy: u64,
    pub(super) answer_half_passed: u64,
    pub(super) answer_passed: u64,
    /// Nobody walked into the trap; killed all the same.
    pub(super) no_request_came: u64,
    /// Sessions that were looked after, and how they were.
    pub(super) sessions: u64,
    pub(super) alive: u64,
    pub(super) lost_no_byte: u64,
    pub(super) lost_cut_short: u64,
    pub(super) lost_unwritten: u64,
    /// The longest time between the last byte and the kill among those.
    pub(super) longest_unwritten_millis: f64,
    /// Must be 0.
    pub(super) lost_by_us: u64,
    /// Nobody can tell after all this time. Must be 0.
    pub(super) unsettled: u64,
}

/// Kills by the plans, each with the next people of the house.
pub(super) fn run(
    house: &mut House,
    plans: &[Plan],
    proxy: &Proxy,
    ledger: &Arc<Ledger>,
    done: &AtomicU64,
) -> Result<Kills> {
    let mut kills = Kills::default();
    let mut next = 0;
    for plan in plans {
        interrupt::check()?;
        let people: Vec<usize> = (next..next + plan.accounts).collect();
        next += plan.accounts;
        kill_once(house, *plan, &people, proxy, ledger, &mut kills)?;
        done.fetch_add(1, Ordering::Relaxed);
    }
    Ok(kills)
}

fn kill_once(
    house: &mut House,
    plan: Plan,
    people: &[usize],
    proxy: &Proxy,
    ledger: &Arc<Ledger>,
    kills: &mut Kills,
) -> Result<()> {
    let instance = plan.instance % house.instances.len();
    let id = i32::try_from(house.instances[instance].id()?)?;
    let id = Pid::from_raw(id).context("a process id")?;
    let owners: Vec<String> = people.iter().map(|person| house.people[*person].did.clone()).collect();
    let (told, killed) = mpsc::channel();
    let kill = {
        let (ledger, owners) = (Arc::clone(ledger), owners.clone());
        move || {
            // Its id is its own until it has been waited for, which happens after this.
            kill_process(id, Signal::KILL).ok();
            ledger.killed(&owners, Instant::now());
            told.send(()).ok();
        }
    };
    let calls: Vec<_> = people.iter().map(|person| house.call(instance, *person)).collect();
    thread::scope(|scope| {
        let mut wait = None;
        match plan.point {
            Ok(point) => proxy.lay(&owners[0], Trap { point, kill: Box::new(kill) }),
            Err(delay) => wait = Some((delay, kill)),
        }
        for call in calls.iter().flat_map(|call| std::iter::repeat_n(call, CALLERS)) {
            scope.spawn(move || call.make(ledger));
        }
        if let Some((delay, kill)) = wait {
            thread::sleep(delay);
            kill();
        } else if killed.recv_timeout(TRAP_PATIENCE) == Err(RecvTimeoutError::Timeout) {
            match proxy.lift(&owners[0]) {
                Some(trap) => {
                    (trap.kill)();
                    kills.no_request_came += 1;
                }
                // It is being sprung right now.
                None => drop(killed.recv_timeout(TRAP_PATIENCE)),
            }
        }
        house.instances[instance].kill();
    });
    kills.trials += 1;
    *match plan.point {
        Ok(Point::Withheld) => &mut kills.request_withheld,
        Ok(Point::Sent) => &mut kills.request_sent,
        Ok(Point::Answered) => &mut kills.answer_at_the_proxy,
        Ok(Point::HalfPassed) => &mut kills.answer_half_passed,
        Ok(Point::Passed(_)) => &mut kills.answer_passed,
        Err(_) => &mut kills.at_random_times,
    } += 1;
    ledger.restarted(&owners, Instant::now());
    house.instances[instance].start()
}

/// Asks for everybody until there is an answer, and adds it up. Returns those who must sign in again.
pub(super) fn settle(
    house: &House,
    people: usize,
    ledger: &Ledger,
    rules: Rules,
    kills: &mut Kills,
) -> Result<Vec<usize>> {
    let until = Instant::now() + SETTLED_WITHIN;
    let open = Mutex::new((0..people).collect::<VecDeque<usize>>());
    let (ended, stuck) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..ASKING.min(people) {
            scope.spawn(|| {
                loop {
                    let Some(person) = open.lock().pop_front() else { return };
                    match house.call(person % house.instances.len(), person).make(ledger) {
                        Called::Served => ended.lock().push((person, true)),
                        Called::MustSignIn => ended.lock().push((person, false)),
                        Called::Later(why) if Instant::now() > until || interrupt::asked() => {
                            stuck.lock().push((person, why));
                        }
                        Called::Later(_) => {
                            open.lock().push_back(person);
                            thread::sleep(Duration::from_millis(500));
                        }
                    }
                }
            });
        }
    });
    interrupt::check()?;
    let mut must_sign_in = Vec::new();
    for (person, alive) in ended.into_inner() {
        kills.sessions += 1;
        if alive {
            kills.alive += 1;
            continue;
        }
        must_sign_in.push(person);
        match ledger.loss(&house.people[person].did, rules) {
            Loss::NoByte => kills.lost_no_byte += 1,
            Loss::CutShort => kills.lost_cut_short += 1,
            Loss::Unwritten(gap) => {
                kills.lost_unwritten += 1;
                kills.longest_unwritten_millis = kills.longest_unwritten_millis.max(gap.as_secs_f64() * 1e3);
            }
            Loss::Ours => {
                kills.lost_by_us += 1;
                let story = ledger.story(&house.people[person].did);
                tell(format_args!("lost by us, {}: {story}", house.name))?;
            }
        }
    }
    for (person, why) in stuck.into_inner() {
        kills.sessions += 1;
        kills.unsettled += 1;
        tell(format_args!("unsettled, {}: {} {why}", house.name, house.people[person].did))?;
    }
    Ok(must_sign_in)
}

/// Beside the results: whoever looks into it needs the whole story. Test accounts have no secrets in it.
fn tell(what: std::fmt::Arguments<'_>) -> Result<()> {
    use std::io::Write as _;
    Ok(writeln!(std::io::stderr(), "{what}")?)
}

impl Kills {
    /// Adds those of another house, or of another batch.
    pub(super) fn add(&mut self, other: &Self) {
        for (sum, more) in [
            (&mut self.trials, other.trials),
            (&mut self.at_random_times, other.at_random_times),
            (&mut self.request_withheld, other.request_withheld),
            (&mut self.request_sent, other.request_sent),
            (&mut self.answer_at_the_proxy, other.answer_at_the_proxy),
            (&mut self.answer_half_passed, other.answer_half_passed),
            (&mut self.answer_passed, other.answer_passed),
            (&mut self.no_request_came, other.no_request_came),
            (&mut self.sessions, other.sessions),
            (&mut self.alive, other.alive),
            (&mut self.lost_no_byte, other.lost_no_byte),
            (&mut self.lost_cut_short, other.lost_cut_short),
            (&mut self.lost_unwritten, other.lost_unwritten),
            (&mut self.lost_by_us, other.lost_by_us),
            (&mut self.unsettled, other.unsettled),
        ] {
            *sum += more;
        }
        self.longest_unwritten_millis = self.longest_unwritten_millis.max(other.longest_unwritten_millis);
    }
}
