//! Bowerbird, the server: command line, configuration and composition.

mod cli;
mod commands;
mod compose;
mod config;
mod guards;
mod hardening;
mod load;
mod logging;
mod printer;
mod traces;

use std::process::ExitCode;

use clap::error::ErrorKind;
use cli::{AccountsCommand, Cli, Command, ConfigCommand, Flags, ImportCommand, KeysCommand, TokensCommand};
use commands::{
    Failure, accounts, backup, config_show, doctor, generate, import_hono, keys, keys_give_up, keys_move, keys_rotate,
    restore, serve, tokens,
};
use load::Environment;
use printer::Printer;

/// A proxied call makes many small allocations that are freed on another thread; this allocator is a tenth faster at that
/// than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    hardening::use_small_pages();
    let environment = Environment::read();
    let (cli, flags) = match cli::parse(std::env::args_os()) {
        Ok(parsed) => parsed,
        Err(error) => {
            let _closed = error.print();
            let shown = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            return if shown { ExitCode::SUCCESS } else { ExitCode::from(commands::USAGE) };
        }
    };
    let printer = Printer::new(cli.global.json, environment.is_set("NO_COLOR"));
    match run(&cli, &flags, &environment, printer) {
        Ok(code) => code,
        Err(failure) => {
            printer.error(failure.error.as_ref(), failure.hint.as_deref());
            ExitCode::from(failure.code)
        }
    }
}

fn run(cli: &Cli, flags: &Flags, environment: &Environment, printer: Printer) -> Result<ExitCode, Failure> {
    match cli.command.as_ref().unwrap_or(&Command::Serve) {
        Command::Generate(what) => generate::run(*what, printer),
        Command::Keys(KeysCommand::Generate { kind, into }) => keys::generate(*kind, into.as_deref(), printer),
        command => {
            let loaded = load::load(&cli.global, flags, environment)?;
            match command {
                Command::Config(ConfigCommand::Show) => Ok(config_show::run(&loaded, printer)),
                Command::Keys(KeysCommand::Rotate { key }) => {
                    runtime()?.block_on(keys_rotate::rotate(&loaded, *key, printer))
                }
                Command::Keys(KeysCommand::Status) => runtime()?.block_on(keys_rotate::status(&loaded, printer)),
                Command::Keys(KeysCommand::ToKeyring { entry, remove_file }) => {
                    hardening::forbid_core_dumps();
                    runtime()?.block_on(keys_move::to_keyring(&loaded, entry, *remove_file, printer))
                }
                Command::Keys(KeysCommand::ToFile { file }) => {
                    hardening::forbid_core_dumps();
                    keys_move::to_file(&loaded, file, printer)
                }
                Command::Keys(KeysCommand::ForgetClient { kid, confirm }) => {
                    runtime()?.block_on(keys_give_up::forget_client(&loaded, kid, *confirm, printer))
                }
                Command::Keys(KeysCommand::Abandon { key, confirm }) => {
                    runtime()?.block_on(keys_give_up::abandon(&loaded, key, *confirm, printer))
                }
                Command::Keys(_) => keys::list(&loaded, printer),
                Command::Accounts(AccountsCommand::List) => runtime()?.block_on(accounts::list(&loaded, printer)),
                Command::Accounts(AccountsCommand::Remove { account }) => {
                    runtime()?.block_on(accounts::remove(&loaded, account, printer))
                }
                Command::Backup { file } => runtime()?.block_on(backup::backup(&loaded, file, printer)),
                Command::Restore { file: Some(file), .. } => {
                    runtime()?.block_on(restore::restore(&loaded, file, printer))
                }
                Command::Restore { file: None, .. } => runtime()?.block_on(backup::confirm_restore(&loaded, printer)),
                Command::Tokens(TokensCommand::Health) => runtime()?.block_on(tokens::health(&loaded, printer)),
                Command::Tokens(TokensCommand::Refresh { account, .. }) => {
                    hardening::forbid_core_dumps();
                    runtime()?.block_on(tokens::refresh(&loaded, account.as_deref(), printer))
                }
                Command::Import(ImportCommand::HonoSqlite { file, table, client_id, dry_run, confirm }) => {
                    hardening::forbid_core_dumps();
                    let (table, client_id) = (table.as_deref(), client_id.as_deref());
                    let asked = import_hono::Asked { file, table, client_id, dry_run: *dry_run, confirmed: *confirm };
                    runtime()?.block_on(import_hono::run(&loaded, &asked, printer))
                }
                Command::Doctor => runtime()?.block_on(doctor::run(&loaded, printer)),
                Command::Serve | Command::Generate(_) => {
                    hardening::forbid_core_dumps();
                    runtime()?.block_on(serve::run(loaded, printer))
                }
            }
        }
    }
}

/// The runtime of commands, and of the server's own work in the background; requests have threads of their own.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().map_err(Failure::internal)
}
