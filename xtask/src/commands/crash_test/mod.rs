//! `cargo xtask crash-test`: the built program against the real PDS behind a counting proxy, killed again and again.

mod dice;
mod house;
mod kills;
mod ledger;
mod proxy;
mod refreshes;
mod report;

use crate::postgres::Postgres;
use crate::testnet::{Network, Testnet};
use crate::ui::Ui;
use crate::workspace::Workspace;
use crate::{exec, interrupt, ports, tools};
use anyhow::{Context, Result, bail};
use dice::{Dice, Plan};
use house::{House, Person, Plot};
use kills::Kills;
use ledger::{Ledger, Rules};
use proxy::Proxy;
use refreshes::Calls;
use report::Report;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Access tokens live this long: everybody's has ended when it is called for.
const ACCESS_LIFE: Duration = Duration::from_secs(4);
/// A lease of the engine, after which what a killed process had under way may be tried again.
const LEASE: Duration = Duration::from_secs(122);
const RULES: Rules = Rules { window: Duration::from_millis(500), youngest: Duration::from_millis(500) };
/// People with whom the refreshes are made, at most, and refreshes for each.
const MOST_PEOPLE: u64 = 200;
const REFRESHES_EACH: u64 = 20;

/// What `crash-test` is asked.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How many times a process is killed
    #[arg(long, default_value_t = 50)]
    trials: usize,
    /// How many refreshes are made with callers side by side, while the killed ones rest
    #[arg(long, default_value_t = 1000)]
    refreshes: u64,
    /// 1: one instance on SQLite; 2: beside it two on one PostgreSQL, where half of the kills and all refreshes are made
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=2))]
    instances: u8,
    /// Where all chance comes from; another one each time when left out
    #[arg(long)]
    seed: Option<u64>,
    /// Kills between two waits: more of them need more accounts, and fewer waits
    #[arg(long, default_value_t = 250)]
    batch: usize,
    /// Print the figures as JSON instead of a table
    #[arg(long)]
    json: bool,
    /// Kill this program instead of building one
    #[arg(long, value_name = "PATH")]
    program: Option<PathBuf>,
}

impl Arguments {
    /// The form that belongs to `cargo xtask test`.
    pub(crate) fn short() -> Self {
        Self { trials: 50, refreshes: 1000, instances: 2, seed: None, batch: 250, json: false, program: None }
    }
}

/// Builds, starts, kills and reports; `false` when a figure that must be 0 is not.
pub(crate) fn run(ui: &Ui, workspace: &Workspace, arguments: &Arguments) -> Result<bool> {
    let since = Instant::now();
    tools::ensure(ui, &[tools::STORES])?;
    let testnet = Testnet::install(ui, workspace)?;
    let program = if let Some(program) = &arguments.program {
        std::path::absolute(program)?
    } else {
        exec::quietly(ui, "building bowerbird", workspace.cargo().args(["build", "--package", "bowerbird"]))?;
        workspace.program("debug")
    };
    let seed = arguments.seed.unwrap_or_else(chance);
    ui.note(format_args!("seed {seed}"));
    let mut dice = Dice::new(seed);
    let batches = planned(&mut dice, arguments);

    let folder = workspace.scratch("crash-test")?;
    let mut scene = Scene::open(ui, &testnet, &program, &folder, arguments, &batches, &mut dice)?;
    let (mut kills, mut calls) = (Kills::default(), None);
    let mut to_sign_in: Vec<Vec<usize>> = scene.houses.iter().map(|house| (0..house.people.len()).collect()).collect();
    for (number, plans) in batches.iter().enumerate() {
        scene.sign_in(ui, &testnet, &folder, &to_sign_in)?;
        let rested =
            scene.kill(ui, &format!("kill -9, batch {} of {}", number + 1, batches.len()), plans, &mut kills)?;
        if calls.is_none() {
            calls = Some(scene.refresh(ui, arguments.refreshes)?);
        }
        let progress = ui.progress("the rest of two minutes in which nothing in doubt is touched");
        interrupt::sleep(rested.saturating_duration_since(Instant::now()))?;
        progress.done(ui);
        to_sign_in = scene.look_after(ui, plans, &mut kills)?;
    }
    let report = scene.report(seed, since, kills, calls.unwrap_or_default());
    scene.close();

    let file = folder.join("result.json");
    std::fs::write(&file, report.json()?)?;
    if arguments.json {
        ui.line(report.json()?);
    } else {
        report.print(ui);
        ui.line(format_args!("figures: {}", file.display()));
    }
    Ok(report.passed())
}

/// Everything that runs. What is named first is ended first.
struct Scene {
    houses: Vec<House>,
    _postgres: Option<Postgres>,
    network: Network,
    proxy: Proxy,
    ledger: Arc<Ledger>,
    /// People of the last house, its last ones, for whom nobody is killed.
    undisturbed: usize,
}

impl Scene {
    /// Starts the proxy, the network behind it, and the instances.
    fn open(
        ui: &Ui,
        testnet: &Testnet,
        program: &Path,
        folder: &Path,
        arguments: &Arguments,
        batches: &[Batch],
        dice: &mut Dice,
    ) -> Result<Self> {
        let needed = |house: usize| batches.iter().map(|plans| people_of(&plans[house])).max().unwrap_or(0);
        let for_kills: Vec<usize> = (0..usize::from(arguments.instances)).map(needed).collect();
        let undisturbed = match arguments.refreshes {
            0 => 0,
            many => usize::try_from((many / REFRESHES_EACH).clamp(8, MOST_PEOPLE))?,
        };
        let ledger = Arc::new(Ledger::default());
        let (front, back) = (ports::free_port()?, ports::free_port()?);
        let proxy = Proxy::start(front, back, Arc::clone(&ledger))?;
        let names = (0..for_kills.iter().sum::<usize>() + undisturbed).map(|number| format!("crash{number:04}"));
        let accounts: Vec<String> = names.map(|name| format!("{name}.test:{name}-pass")).collect();
        let variables = [
            // Any free ones: several networks may start at once.
            ("PLC_PORT", "0".to_owned()),
            ("CONTROL_PORT", "0".to_owned()),
            ("PDS_PORT", front.to_string()),
            ("PDS_LISTEN_PORT", back.to_string()),
            ("ACCOUNTS", accounts.join(",")),
            ("ACCESS_TTL_MS", ACCESS_LIFE.as_millis().to_string()),
        ];
        let network = testnet.start_with(ui, folder, false, &variables)?;
        let plot = Plot { program, network: &network, folder };
        let mut people = people(&network);
        let (mut houses, mut postgres) = (Vec::new(), None);
        if arguments.instances == 2 {
            let others = people.split_off(for_kills[0]);
            let started = Postgres::start(ui, folder)?;
            houses.push(House::alone(&plot, people)?);
            houses.push(House::pair(&plot, &started, dice, others)?);
            postgres = Some(started);
        } else {
            houses.push(House::alone(&plot, people)?);
        }
        Ok(Self { houses, _postgres: postgres, network, proxy, ledger, undisturbed })
    }

    /// Signs these people in, and lets their first access tokens end.
    fn sign_in(&mut self, ui: &Ui, testnet: &Testnet, folder: &Path, who: &[Vec<usize>]) -> Result<()> {
        let progress = ui.progress(&format!("signing {} people in", who.iter().map(Vec::len).sum::<usize>()));
        for (house, who) in self.houses.iter_mut().zip(who).filter(|(_, who)| !who.is_empty()) {
            house.sign_in(testnet, folder, who)?;
        }
        interrupt::sleep(ACCESS_LIFE + Duration::from_millis(500))?;
        progress.done(ui);
        Ok(())
    }

    /// Kills, in every house at once; when everything that is in doubt since may be tried again.
    fn kill(&mut self, ui: &Ui, title: &str, plans: &Batch, kills: &mut Kills) -> Result<Instant> {
        let done = AtomicU64::new(0);
        let Self { houses, proxy, ledger, .. } = self;
        let killed = watched(ui, title, &done, || {
            thread::scope(|scope| {
                let (proxy, ledger, done) = (&*proxy, &*ledger, &done);
                let work = houses.iter_mut().zip(plans);
                let threads: Vec<_> = work
                    .map(|(house, plans)| scope.spawn(move || kills::run(house, plans, proxy, ledger, done)))
                    .collect();
                threads.into_iter().map(joined).collect::<Result<Vec<_>>>()
            })
        })?;
        for more in &killed {
            kills.add(more);
        }
        Ok(Instant::now() + if plans.iter().all(Vec::is_empty) { Duration::ZERO } else { LEASE })
    }

    /// Refreshes for those for whom nobody is killed.
    fn refresh(&self, ui: &Ui, wanted: u64) -> Result<Calls> {
        let house = self.houses.last().context("no house")?;
        let who = house.people.len() - self.undisturbed..house.people.len();
        let (done, title) = (AtomicU64::new(0), format!("{wanted} refreshes, while those rest"));
        watched(ui, &title, &done, || refreshes::run(house, who, wanted, ACCESS_LIFE, &self.ledger, &done))
    }

    /// Asks how everybody is for whom something was killed; gives those who must sign in again.
    fn look_after(&self, ui: &Ui, plans: &Batch, kills: &mut Kills) -> Result<Vec<Vec<usize>>> {
        let progress = ui.progress("looking after everybody");
        let houses = self.houses.iter().zip(plans);
        let must = houses.map(|(house, plans)| kills::settle(house, people_of(plans), &self.ledger, RULES, kills));
        let must = must.collect();
        progress.done(ui);
        must
    }

    fn report(&self, seed: u64, since: Instant, kills: Kills, calls: Calls) -> Report {
        let people = self.houses.iter().flat_map(|house| &house.people).map(|person| person.did.clone());
        let mut disturbed: Vec<String> = people.collect();
        let undisturbed = disturbed.split_off(disturbed.len() - self.undisturbed);
        let instances = self.houses.iter().flat_map(|house| &house.instances);
        Report {
            seed,
            instances: self.houses.len(),
            seconds: since.elapsed().as_secs_f64(),
            window_millis: RULES.window.as_secs_f64() * 1e3,
            kills,
            around_kills: self.ledger.sums(&disturbed.into_iter().collect(), RULES),
            calls,
            undisturbed: self.ledger.sums(&undisturbed.into_iter().collect(), RULES),
            strangers: self.ledger.strangers(),
            panics: instances.filter(|instance| instance.panicked()).count() as u64,
        }
    }

    fn close(self) {
        drop(self.houses);
        self.network.stop();
    }
}

/// The kills of one batch, by house.
type Batch = Vec<Vec<Plan>>;

fn people_of(plans: &[Plan]) -> usize {
    plans.iter().map(|plan| plan.accounts).sum()
}

/// The kills, by batch and by house. One batch at least, which then has the refreshes alone.
fn planned(dice: &mut Dice, arguments: &Arguments) -> Vec<Batch> {
    let houses = usize::from(arguments.instances);
    let mut left = arguments.trials;
    let mut batches = Vec::new();
    while left > 0 || batches.is_empty() {
        let size = left.min(arguments.batch.max(1));
        left -= size;
        let mut plans = vec![Vec::new(); houses];
        for number in 0..size {
            plans[number % houses].push(dice.plan());
        }
        batches.push(plans);
    }
    batches
}

fn people(network: &Network) -> Vec<Person> {
    let accounts = network.facts.accounts.iter();
    let person = accounts.map(|(handle, account)| Person {
        handle: handle.clone(),
        did: account.did.clone(),
        password: account.password.clone(),
        cookie: String::new(),
    });
    person.collect()
}

/// Runs something long that counts, behind a line that shows the count.
fn watched<T: Send>(ui: &Ui, title: &str, done: &AtomicU64, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let progress = ui.progress(title);
    let over = AtomicBool::new(false);
    let result = thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let result = work();
            over.store(true, Ordering::SeqCst);
            result
        });
        while !over.load(Ordering::SeqCst) && !worker.is_finished() {
            progress.detail(&done.load(Ordering::Relaxed).to_string());
            thread::sleep(Duration::from_millis(100));
        }
        joined(worker)
    })?;
    progress.done(ui);
    Ok(result)
}

fn joined<T>(worker: thread::ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    match worker.join() {
        Ok(result) => result,
        Err(_) => bail!("a part of the test panicked; see above"),
    }
}

/// A seed that nobody chose; it is printed.
fn chance() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id()) >> 16
}
