//! Everything that runs while the bench measures: Bowerbird with one signed-in account, nginx, the trivial upstream, the
//! empty route, and two more Bowerbirds on PostgreSQL where a case wants them.

use super::cases::Target;
use super::figures::Figures;
use super::wrk::{self, Load};
use crate::commands::sandbox;
use crate::exec::{self, Server};
use crate::postgres::Postgres;
use crate::testnet::{Network, Testnet};
use crate::ui::Ui;
use crate::workspace::Workspace;
use crate::{http, ports, tools};
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A call that is not refused by any default, with an answer of a few hundred bytes.
const CALL: &str = "/xrpc/app.bsky.actor.getProfile?actor=alice.test";

const SESSION: &str = "/api/auth/session";
/// How many devices show their seals in turn.
const SEALS: usize = 1_000;

/// The running servers, and what is needed to call them.
pub(super) struct Lab {
    pub(super) folder: PathBuf,
    pub(super) program: PathBuf,
    environment: Vec<(&'static str, String)>,
    bowerbird: Option<Server>,
    ports: Ports,
    cookie: String,
    /// The path that makes its account the active one.
    switch: String,
    /// Of other devices of the same account, where a case wants them.
    seals: Vec<String>,
    pair: Option<Pair>,
    /// Kept only to be ended with the lab.
    _others: Vec<Server>,
}

/// Two instances on one PostgreSQL, with the same keys, and somebody who is signed in there.
struct Pair {
    port: u16,
    cookie: String,
    _instances: Vec<Server>,
    _postgres: Postgres,
}

impl Pair {
    fn start(ui: &Ui, testnet: &Testnet, network: &Network, program: &Path, folder: &Path) -> Result<Self> {
        let postgres = Postgres::start(ui, folder)?;
        let ports = [ports::free_port()?, ports::free_port()?];
        let mut instances = Vec::new();
        for (number, port) in ports.into_iter().enumerate() {
            let stored = folder.join(format!("pair-{number}"));
            drop(std::fs::remove_dir_all(&stored));
            let mut command = Command::new(program);
            command.arg("serve").current_dir(folder).envs(sandbox::environment(network, port));
            command.env("BOWERBIRD_BASE_URL", format!("http://127.0.0.1:{}", ports[0]));
            command.env("BOWERBIRD_DATABASE_URL", postgres.url()).env("BOWERBIRD_DATA_DIR", &stored);
            // Nobody but this run ever sees them.
            command.env("BOWERBIRD_COOKIE_SECRET", "c".repeat(64)).env("BOWERBIRD_ENCRYPTION_KEY", "e1".repeat(32));
            let mut server = Server::start("bowerbird", &mut command, &stored.with_extension("log"))?;
            let url = format!("http://127.0.0.1:{port}/health");
            let healthy = || http::get(&url, &[]).is_ok_and(|answer| answer.status == 200);
            server.wait_until(Duration::from_secs(20), Duration::from_millis(20), healthy)?;
            instances.push(server);
        }
        let cookie = sign_in(testnet, network, ports[0])?;
        Ok(Self { port: ports[0], cookie, _instances: instances, _postgres: postgres })
    }
}

#[derive(Clone, Copy)]
struct Ports {
    bowerbird: u16,
    nginx: u16,
    empty: u16,
    upstream: u16,
}

impl Lab {
    /// Signs alice in on the real PDS, then puts the trivial upstream in the PDS' place: the account's server keeps its
    /// address, so the calls that are measured are signed like any other, and only the answer costs nothing.
    pub(super) fn open(
        ui: &Ui,
        workspace: &Workspace,
        testnet: &Testnet,
        program: PathBuf,
        with_pair: bool,
    ) -> Result<Self> {
        let folder = workspace.scratch("bench")?;
        let network = testnet.start(ui, &folder, false)?;
        let port = ports::free_port()?;
        let bowerbird = sandbox::start_bowerbird(&program, &network, port, &folder)?;
        let cookie = sign_in(testnet, &network, port)?;
        let switch = switch(port, &cookie)?;
        let pair = with_pair.then(|| Pair::start(ui, testnet, &network, &program, &folder)).transpose()?;

        let mut environment = sandbox::environment(&network, port);
        environment.push(("BOWERBIRD_DATA_DIR", folder.join("data").display().to_string()));
        let upstream =
            network.facts.pds.rsplit(':').next().and_then(|port| port.parse().ok()).context("the PDS has no port")?;
        let ports = Ports { bowerbird: port, nginx: ports::free_port()?, empty: ports::free_port()?, upstream };
        network.stop();
        let same = record(&folder, port, &cookie)?;
        let reference = start_reference(workspace, &folder, ports, &same)?;
        let nginx = start_nginx(&folder, ports)?;
        let others = vec![reference, nginx];
        let bowerbird = Some(bowerbird);
        let lab = Self {
            folder,
            program,
            environment,
            bowerbird,
            ports,
            cookie,
            switch,
            seals: Vec::new(),
            pair,
            _others: others,
        };
        lab.check()?;
        Ok(lab)
    }

    /// What is sent to this target.
    pub(super) fn load(&self, target: Target) -> Load {
        let script = match target {
            Target::Switch => "wrk.method = \"POST\"\n".to_owned(),
            Target::ManySeals | Target::EmptyRouteWithSeals => wrk::in_turn(&self.seals),
            _ => String::new(),
        };
        Load { url: self.url(target), headers: self.headers(target), script }
    }

    /// Makes the seals that [`Target::ManySeals`] shows.
    pub(super) fn make_seals(&mut self, figures: &Figures) -> Result<()> {
        self.seals = figures.seals(&self.folder.join("data"), SEALS)?;
        let cookie = format!("sid={}", self.seals[SEALS - 1]);
        let answer = http::get(&self.url(Target::ManySeals), &[("Cookie", &cookie)])?;
        ensure!(answer.status == 200, "a made seal was answered {}: {}", answer.status, answer.body);
        Ok(())
    }

    /// Where load for this target goes.
    fn url(&self, target: Target) -> String {
        let (port, path) = match target {
            Target::Session | Target::ManySeals => (self.ports.bowerbird, SESSION),
            Target::Switch => (self.ports.bowerbird, &*self.switch),
            Target::SessionOnPostgres => (self.pair.as_ref().map_or(0, |pair| pair.port), SESSION),
            Target::Proxied => (self.ports.bowerbird, CALL),
            Target::Nginx => (self.ports.nginx, CALL),
            Target::Upstream => (self.ports.upstream, CALL),
            Target::EmptyRoute | Target::EmptyRouteWithSeals => (self.ports.empty, "/empty"),
            Target::SameAnswer => (self.ports.empty, "/same"),
        };
        format!("http://127.0.0.1:{port}{path}")
    }

    /// The headers that go with it.
    fn headers(&self, target: Target) -> Vec<String> {
        match target {
            Target::Session | Target::SameAnswer | Target::Proxied => vec![format!("Cookie: {}", self.cookie)],
            Target::SessionOnPostgres => self.pair.iter().map(|pair| format!("Cookie: {}", pair.cookie)).collect(),
            // A bearer needs no header against forgery.
            Target::Switch => {
                let seal = self.cookie.split_once('=').map_or("", |(_, seal)| seal);
                vec![format!("Authorization: Bearer {seal}")]
            }
            Target::Nginx | Target::Upstream | Target::EmptyRoute | Target::ManySeals | Target::EmptyRouteWithSeals => {
                Vec::new()
            }
        }
    }

    /// The process id of the Bowerbird that runs now.
    pub(super) fn bowerbird(&self) -> Result<u32> {
        Ok(self.bowerbird.as_ref().context("bowerbird does not run")?.id())
    }

    /// Ends Bowerbird and starts it on the same database; how long it took until it was ready.
    pub(super) fn restart(&mut self) -> Result<Duration> {
        self.stop();
        let mut command = Command::new(&self.program);
        command.arg("serve").current_dir(&self.folder).envs(self.environment.iter().cloned());
        let mut server = Server::start("bowerbird", &mut command, &self.folder.join("bowerbird.log"))?;
        let url = format!("http://127.0.0.1:{}/ready", self.ports.bowerbird);
        let ready = || http::get(&url, &[]).is_ok_and(|answer| answer.status == 200);
        let took = server.wait_until(Duration::from_secs(10), Duration::from_micros(500), ready)?;
        self.bowerbird = Some(server);
        Ok(took)
    }

    /// Ends Bowerbird until the next [`Self::restart`].
    pub(super) fn stop(&mut self) {
        drop(self.bowerbird.take());
    }

    /// The file in which its accounts are.
    pub(super) fn database(&self) -> PathBuf {
        self.folder.join("data/bowerbird.sqlite")
    }

    /// One call to each target by hand, so that no figure is taken of an error page.
    fn check(&self) -> Result<()> {
        let mut bodies = Vec::new();
        let (session, proxied) = (Target::Session, Target::Proxied);
        for target in [session, Target::SameAnswer, Target::EmptyRoute, Target::Upstream, Target::Nginx, proxied] {
            let url = self.url(target);
            let answer = http::get(&url, &[("Cookie", &self.cookie)])?;
            ensure!(answer.status == 200, "{url} answered {}: {}", answer.status, answer.body);
            if matches!(target, Target::Upstream | Target::Nginx | Target::Proxied) {
                bodies.push(answer.body);
            }
        }
        if let Some(pair) = &self.pair {
            let answer = http::get(&self.url(Target::SessionOnPostgres), &[("Cookie", &pair.cookie)])?;
            ensure!(answer.status == 200, "the instance on PostgreSQL answered {}: {}", answer.status, answer.body);
        }
        ensure!(bodies.windows(2).all(|two| two[0] == two[1]), "a proxy changed the answer: {bodies:?}");
        Ok(())
    }
}

/// The way of a browser: `/login`, consent at the PDS, `/oauth/callback`; the cookie that it has then.
fn sign_in(testnet: &Testnet, network: &Network, port: u16) -> Result<String> {
    let (handle, account) = network.facts.accounts.first_key_value().context("the test network has no account")?;
    let login = http::get(&format!("http://127.0.0.1:{port}/login?handle={handle}"), &[])?;
    let to = login.header("location").with_context(|| format!("/login answered {}: {}", login.status, login.body))?;
    let callback = testnet.approve(to, handle, &account.password)?;
    let bound = login.cookies().join("; ");
    let done = http::get(&callback, &[("Cookie", &bound)])?;
    let seal = done.cookies().into_iter().find(|cookie| cookie.starts_with("sid=") && cookie.len() > 8);
    seal.with_context(|| format!("the callback answered {} and set no sid: {}", done.status, done.body))
}

/// The path that makes the first account of a device its active one.
fn switch(port: u16, cookie: &str) -> Result<String> {
    let listed = http::get(&format!("http://127.0.0.1:{port}/api/accounts"), &[("Cookie", cookie)])?;
    let body: serde_json::Value = serde_json::from_str(&listed.body)?;
    let id = body["accounts"][0]["id"].as_str().with_context(|| format!("no account: {}", listed.body))?;
    Ok(format!("/api/accounts/{id}/activate"))
}

/// Keeps an answer of the session check for the reference server to repeat.
fn record(folder: &Path, port: u16, cookie: &str) -> Result<PathBuf> {
    let answer = http::get(&format!("http://127.0.0.1:{port}{SESSION}"), &[("Cookie", cookie)])?;
    ensure!(answer.status == 200, "{SESSION} answered {}: {}", answer.status, answer.body);
    let headers: String = answer.lasting_headers().flat_map(|(name, value)| [name, ": ", value, "\n"]).collect();
    let file = folder.join("same.txt");
    std::fs::write(&file, headers + "\n" + &answer.body)?;
    Ok(file)
}

fn start_reference(workspace: &Workspace, folder: &Path, ports: Ports, same: &Path) -> Result<Server> {
    let mut command = Command::new(workspace.target.join("release/xtask"));
    command.arg("serve-reference");
    for port in [ports.empty, ports.upstream] {
        command.args(["--port", &port.to_string()]);
    }
    command.arg("--same").arg(same);
    let limit = Duration::from_secs(10);
    let (server, _) =
        Server::start_and_read("the reference server", &mut command, &folder.join("reference.log"), limit)?;
    Ok(server)
}

fn start_nginx(folder: &Path, ports: Ports) -> Result<Server> {
    let program = tools::find("nginx").or_else(|| tools::find("/usr/sbin/nginx")).context("nginx is missing")?;
    let configuration = folder.join("nginx.conf");
    std::fs::write(&configuration, nginx_configuration(folder, ports))?;
    exec::output(Command::new(&program).arg("-t").arg("-c").arg(&configuration).arg("-p").arg(folder))?;
    let mut command = Command::new(program);
    command.arg("-c").arg(&configuration).arg("-p").arg(folder);
    let mut server = Server::start("nginx", &mut command, &folder.join("nginx.log"))?;
    let url = format!("http://127.0.0.1:{}{CALL}", ports.nginx);
    server.wait_until(Duration::from_secs(10), Duration::from_millis(20), || http::get(&url, &[]).is_ok())?;
    Ok(server)
}

/// nginx at its best: no log, and connections to the upstream kept open.
fn nginx_configuration(folder: &Path, ports: Ports) -> String {
    let folder = folder.display();
    let Ports { nginx, upstream, .. } = ports;
    format!(
        "daemon off;
worker_processes auto;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/nginx-body;
    proxy_temp_path {folder}/nginx-proxy;
    fastcgi_temp_path {folder}/nginx-fastcgi;
    uwsgi_temp_path {folder}/nginx-uwsgi;
    scgi_temp_path {folder}/nginx-scgi;
    keepalive_requests 10000000;
    upstream trivial {{ server 127.0.0.1:{upstream}; keepalive 64; keepalive_requests 10000000; }}
    server {{
        listen 127.0.0.1:{nginx};
        location / {{
            proxy_pass http://trivial;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
        }}
    }}
}}
"
    )
}
