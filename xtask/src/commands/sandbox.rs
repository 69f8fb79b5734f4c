//! `cargo xtask sandbox`: the real PLC and PDS on loopback, and a Bowerbird wired to them, until Ctrl-C.

use crate::exec::{self, Server};
use crate::testnet::{Network, Testnet};
use crate::ui::Ui;
use crate::workspace::Workspace;
use crate::{http, interrupt, ports};
use anyhow::{Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// What `sandbox` is asked.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Add the `AppView`, with its PostgreSQL and Redis: timelines, profiles and search work
    #[arg(long)]
    appview: bool,
    /// The port of Bowerbird; another free one when it is taken
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Build Bowerbird as it is deployed: slower to build, faster to run
    #[arg(long)]
    release: bool,
    /// Run this program instead of building one
    #[arg(long, value_name = "PATH", conflicts_with = "release")]
    program: Option<PathBuf>,
}

/// Runs until somebody asks it to end; `false` when a server ended before.
pub(crate) fn run(ui: &Ui, workspace: &Workspace, arguments: &Arguments) -> Result<bool> {
    let testnet = Testnet::install(ui, workspace)?;
    let program = match &arguments.program {
        Some(program) => std::path::absolute(program)?,
        None => build(ui, workspace, arguments.release)?,
    };

    let folder = workspace.scratch("sandbox")?;
    let mut network = testnet.start(ui, &folder, arguments.appview)?;
    let port = ports::free_port_or(arguments.port)?;
    let mut bowerbird = start_bowerbird(&program, &network, port, &folder)?;
    tell(ui, &network, port, arguments.port, &folder);

    while !interrupt::asked() {
        if let Some(status) = bowerbird.ended()? {
            bail!("bowerbird ended by itself ({status}); its log is {}", folder.join("bowerbird.log").display());
        }
        if !network.runs()? {
            bail!("the test network ended by itself; its log is {}", folder.join("network.log").display());
        }
        // The loop's condition notices the interruption, so that the servers end in order.
        drop(interrupt::sleep(Duration::from_millis(300)));
    }
    ui.note("\nstopping");
    bowerbird.stop();
    network.stop();
    Ok(true)
}

fn build(ui: &Ui, workspace: &Workspace, release: bool) -> Result<PathBuf> {
    let mut command = workspace.cargo();
    command.args(["build", "--package", "bowerbird"]).args(release.then_some("--release"));
    exec::quietly(ui, "building bowerbird", &mut command)?;
    Ok(workspace.program(if release { "release" } else { "debug" }))
}

/// Starts the program with every address that it needs to find the network on loopback.
pub(crate) fn start_bowerbird(program: &Path, network: &Network, port: u16, folder: &Path) -> Result<Server> {
    // The network's accounts have new DIDs on every start, so what an earlier run stored belongs to nobody.
    let stored = folder.join("data");
    drop(std::fs::remove_dir_all(&stored));
    let mut command = Command::new(program);
    command.arg("serve").current_dir(folder);
    for (name, value) in environment(network, port) {
        command.env(name, value);
    }
    command.env("BOWERBIRD_DATA_DIR", &stored);
    let mut server = Server::start("bowerbird", &mut command, &folder.join("bowerbird.log"))?;
    let url = format!("http://127.0.0.1:{port}/health");
    server.wait_until(Duration::from_secs(20), Duration::from_millis(20), || {
        http::get(&url, &[]).is_ok_and(|answer| answer.status == 200)
    })?;
    Ok(server)
}

/// The settings that point a Bowerbird to the network: nothing of it leaves this machine.
pub(crate) fn environment(network: &Network, port: u16) -> Vec<(&'static str, String)> {
    let facts = &network.facts;
    let hosts = [Some(&facts.plc), Some(&facts.pds), facts.appview.as_ref()];
    let allowed: Vec<&str> = hosts.iter().flatten().filter_map(|url| url.strip_prefix("http://")).collect();
    let mut variables = vec![
        ("BOWERBIRD_BASE_URL", format!("http://127.0.0.1:{port}")),
        ("BOWERBIRD_LISTEN", format!("127.0.0.1:{port}")),
        ("BOWERBIRD_PLC_URL", facts.plc.clone()),
        ("BOWERBIRD_HANDLE_RESOLVER_URL", facts.pds.clone()),
        ("BOWERBIRD_EGRESS_ALLOW", allowed.join(",")),
    ];
    if let Some(did) = &facts.appview_did {
        // The services that may be called by default are those of the public network; here is another one in their place.
        variables.push(("BOWERBIRD_PROXY_SERVICES", did.clone()));
    }
    variables
}

fn tell(ui: &Ui, network: &Network, port: u16, wanted: u16, folder: &Path) {
    let facts = &network.facts;
    let mut rows = vec![["handle", "password", "DID"].map(str::to_owned).to_vec()];
    for (handle, account) in &facts.accounts {
        rows.push(vec![handle.clone(), account.password.clone(), account.did.clone()]);
    }
    ui.line("");
    ui.table(&rows);
    ui.line("");
    ui.line(format_args!("Bowerbird  {}", ui.good(&format!("http://127.0.0.1:{port}"))));
    if port != wanted {
        ui.line(format_args!("           (port {wanted} was taken)"));
    }
    ui.line(format_args!("PDS        {}", facts.pds));
    ui.line(format_args!("PLC        {}", facts.plc));
    if let Some(appview) = &facts.appview {
        ui.line(format_args!("AppView    {appview}"));
    }
    if let Some(did) = &facts.appview_did {
        ui.line(format_args!("           (atproto-proxy: {did}#bsky_appview)"));
    }
    ui.line(format_args!("control    {}/info", facts.control));
    ui.line(format_args!("logs       {}", folder.display()));
    ui.line("\nOpen the first address and sign in with one of the handles. Ctrl-C ends it all.");
}
