//! Who is there: people of the real PDS, and the instances that act for them.

use super::dice::Dice;
use super::ledger::Ledger;
use crate::commands::sandbox;
use crate::exec::{self, Server};
use crate::postgres::Postgres;
use crate::testnet::{Network, Testnet};
use crate::{http, ports};
use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// A call that needs an access token, and says whose it is.
const CALL: &str = "/xrpc/com.atproto.server.getSession";

/// Somebody with an account.
#[derive(Clone)]
pub(super) struct Person {
    pub(super) handle: String,
    pub(super) did: String,
    pub(super) password: String,
    /// The cookie of a sign-in; empty before the first one.
    pub(super) cookie: String,
}

/// Instances that share a database, and the people who are signed in there.
pub(super) struct House {
    pub(super) name: &'static str,
    pub(super) instances: Vec<Instance>,
    pub(super) people: Vec<Person>,
    base_url: String,
}

/// One process, which may be another one after each kill.
pub(super) struct Instance {
    pub(super) port: u16,
    program: PathBuf,
    environment: Vec<(&'static str, String)>,
    folder: PathBuf,
    name: String,
    server: Option<Server>,
}

/// What is needed to make a call for somebody: apart from the house, which may be busy with a kill.
pub(super) struct Call {
    port: u16,
    url: String,
    cookie: String,
    did: String,
}

/// How a call ended.
pub(super) enum Called {
    /// It was answered with the person's own data.
    Served,
    /// The person must sign in again.
    MustSignIn,
    /// Not now: what was said, or that nobody was there.
    Later(String),
}

/// What the instances of a house have in common.
pub(super) struct Plot<'a> {
    pub(super) program: &'a Path,
    pub(super) network: &'a Network,
    pub(super) folder: &'a Path,
}

impl House {
    /// One instance on SQLite.
    pub(super) fn alone(plot: &Plot<'_>, people: Vec<Person>) -> Result<Self> {
        let port = ports::free_port()?;
        let instances = vec![Instance::new(plot, "alone".to_owned(), port, Vec::new())?];
        Self::open("SQLite", instances, people)
    }

    /// Two instances on one PostgreSQL, with the same keys.
    pub(super) fn pair(plot: &Plot<'_>, postgres: &Postgres, dice: &mut Dice, people: Vec<Person>) -> Result<Self> {
        let mut key =
            || [dice.next(), dice.next(), dice.next(), dice.next()].map(|part| format!("{part:016x}")).concat();
        let ports = [ports::free_port()?, ports::free_port()?];
        let shared = vec![
            ("BOWERBIRD_BASE_URL", format!("http://127.0.0.1:{}", ports[0])),
            ("BOWERBIRD_DATABASE_URL", postgres.url()),
            ("BOWERBIRD_COOKIE_SECRET", key()),
            ("BOWERBIRD_ENCRYPTION_KEY", key()),
        ];
        let instances = ports.iter().zip(["first", "second"]);
        let instances = instances.map(|(port, name)| Instance::new(plot, name.to_owned(), *port, shared.clone()));
        Self::open("PostgreSQL", instances.collect::<Result<_>>()?, people)
    }

    fn open(name: &'static str, mut instances: Vec<Instance>, people: Vec<Person>) -> Result<Self> {
        let base_url = format!("http://127.0.0.1:{}", instances.first().context("no instance")?.port);
        // One after the other: the first one makes the tables.
        instances.iter_mut().try_for_each(Instance::start)?;
        Ok(Self { name, instances, people, base_url })
    }

    /// Signs these people in, those who have been here before too.
    pub(super) fn sign_in(&mut self, testnet: &Testnet, folder: &Path, who: &[usize]) -> Result<()> {
        #[derive(Serialize)]
        struct Job<'a> {
            login: String,
            handle: &'a str,
            password: &'a str,
        }
        #[derive(Deserialize)]
        struct Done {
            handle: String,
            #[serde(default)]
            cookie: String,
            error: Option<String>,
        }
        let job = |person: &usize| {
            let Person { handle, did, password, .. } = &self.people[*person];
            Job { login: format!("{}/login?handle={did}", self.base_url), handle, password }
        };
        let jobs: Vec<Job<'_>> = who.iter().map(job).collect();
        let file = folder.join("sign-in.json");
        std::fs::write(&file, serde_json::to_string(&jobs)?)?;
        let mut command = Command::new(testnet.node());
        command.arg(testnet.folder.join("sign-in.mjs")).arg(&file).current_dir(&testnet.folder);
        let printed = exec::output(&mut command).context("not everybody could sign in")?;
        for line in printed.lines() {
            let done: Done = serde_json::from_str(line)?;
            ensure!(done.error.is_none(), "{} could not sign in: {:?}", done.handle, done.error);
            let mut people = self.people.iter_mut();
            let person = people.find(|person| person.handle == done.handle).context("somebody else signed in")?;
            person.cookie = done.cookie;
        }
        Ok(())
    }

    /// A call for somebody, by one of the instances.
    pub(super) fn call(&self, instance: usize, person: usize) -> Call {
        let Person { cookie, did, .. } = self.people[person].clone();
        Call { port: self.instances[instance].port, url: format!("{}{CALL}", self.base_url), cookie, did }
    }
}

impl Call {
    /// Makes it, and tells the ledger when it was served.
    pub(super) fn make(&self, ledger: &Ledger) -> Called {
        let answer = match http::get_from(self.port, &self.url, &[("Cookie", &self.cookie)]) {
            Ok(answer) => answer,
            Err(error) => return Called::Later(format!("{error:#}")),
        };
        match answer.status {
            200 if answer.body.contains(&self.did) => {
                ledger.served(&self.did, Instant::now());
                Called::Served
            }
            401 if answer.body.contains("needs_reauth") => Called::MustSignIn,
            status => Called::Later(format!("{status} {}", answer.body)),
        }
    }
}

impl Instance {
    fn new(plot: &Plot<'_>, name: String, port: u16, more: Vec<(&'static str, String)>) -> Result<Self> {
        let folder = plot.folder.join(&name);
        // What an earlier run stored belongs to people who are gone.
        drop(std::fs::remove_dir_all(&folder));
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let mut environment = sandbox::environment(plot.network, port);
        environment.extend(more);
        environment.push(("BOWERBIRD_DATA_DIR", folder.join("data").display().to_string()));
        environment.push(("BOWERBIRD_TRUSTED_PROXIES", "127.0.0.1".to_owned()));
        Ok(Self { port, program: plot.program.to_owned(), environment, folder, name, server: None })
    }

    /// Starts it on what it left behind, and waits until it is ready.
    pub(super) fn start(&mut self) -> Result<()> {
        let mut command = Command::new(&self.program);
        command.arg("serve").current_dir(&self.folder).envs(self.environment.iter().cloned());
        let mut server = Server::start_again(&self.name, &mut command, &self.folder.join("bowerbird.log"))?;
        let url = format!("http://127.0.0.1:{}/ready", self.port);
        let host = self.environment.iter().rfind(|(name, _)| *name == "BOWERBIRD_BASE_URL");
        let url = host.map_or(url, |(_, base_url)| format!("{base_url}/ready"));
        let ready = || http::get_from(self.port, &url, &[]).is_ok_and(|answer| answer.status == 200);
        server.wait_until(Duration::from_mins(1), Duration::from_millis(5), ready)?;
        self.server = Some(server);
        Ok(())
    }

    /// The process id.
    pub(super) fn id(&self) -> Result<u32> {
        Ok(self.server.as_ref().context("it does not run")?.id())
    }

    /// kill -9, where somebody else has not done it yet, and waits for its end.
    pub(super) fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill();
        }
    }

    /// Whether its log, over all its lives, tells of a panic.
    pub(super) fn panicked(&self) -> bool {
        let log = std::fs::read_to_string(self.folder.join("bowerbird.log"));
        log.is_ok_and(|log| log.contains("panicked"))
    }
}
