//! The project's own tasks, run as `cargo xtask NAME`.
#![expect(
    clippy::disallowed_methods,
    reason = "the ports of bowerbird-core are for the product; a task runner may read the clock and the environment"
)]

mod commands;
mod exec;
mod http;
mod interrupt;
mod ports;
mod postgres;
mod testnet;
mod tools;
mod typescript;
mod ui;
mod workspace;

use clap::{Parser, Subcommand};
use std::process::ExitCode;
use ui::Ui;
use workspace::Workspace;

/// The project's own tasks.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run every check and every test; installs what they need
    Test(commands::test::Arguments),
    /// Start the real PLC and PDS on loopback and a Bowerbird wired to them
    Sandbox(commands::sandbox::Arguments),
    /// Measure speed and memory, as ratios to nginx and to an empty axum route
    Bench(commands::bench::Arguments),
    /// Kill the program in the middle of refreshes at the real PDS, and count what is lost
    CrashTest(commands::crash_test::Arguments),
    /// Regenerate the reference pages from the program, and the sources of the kit on the device
    Gen(commands::r#gen::Arguments),
    /// Play the refresh engine through many histories of crashes, lost answers and stopped instances
    Simulate(commands::simulate::Arguments),
    /// Check that dependencies between the rooms point downward only
    CheckLayers,
    /// Check each dependency by `deny.toml`: licence, source, and who may use it
    Deny,
    /// Check that the book's links lead somewhere
    CheckDocs,
    /// Serve the empty axum route and the trivial upstream that `bench` compares with
    #[cfg(feature = "reference")]
    ServeReference(commands::serve_reference::Arguments),
}

fn main() -> ExitCode {
    let ui = Ui::new();
    match run(&ui) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            ui.error(&error);
            ExitCode::FAILURE
        }
    }
}

/// Carries out the named task; `false` when it ran to its end and found something wrong.
fn run(ui: &Ui) -> anyhow::Result<bool> {
    let arguments = Arguments::parse();
    interrupt::install()?;
    let workspace = Workspace::find()?;
    match arguments.task {
        Task::Test(arguments) => commands::test::run(ui, &workspace, &arguments),
        Task::Sandbox(arguments) => commands::sandbox::run(ui, &workspace, &arguments),
        Task::Bench(arguments) => commands::bench::run(ui, &workspace, &arguments),
        Task::CrashTest(arguments) => commands::crash_test::run(ui, &workspace, &arguments),
        Task::Gen(arguments) => commands::r#gen::run(ui, &workspace, &arguments),
        Task::Simulate(arguments) => commands::simulate::run(ui, &workspace, &arguments),
        Task::CheckLayers => commands::check_layers::run(ui, &workspace),
        Task::Deny => commands::deny::run(ui, &workspace),
        Task::CheckDocs => commands::check_docs::run(ui, &workspace),
        #[cfg(feature = "reference")]
        Task::ServeReference(arguments) => commands::serve_reference::run(ui, &arguments),
    }
}
