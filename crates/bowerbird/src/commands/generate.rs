//! `bowerbird generate`: the reference documents, made from the code (`cargo xtask gen` writes them to docs/).

use std::fmt::Write as _;
use std::process::ExitCode;

use super::Failure;
use crate::cli::{self, GenerateCommand};
use crate::config::VARIABLES;
use crate::printer::Printer;

pub(crate) fn run(what: GenerateCommand, printer: Printer) -> Result<ExitCode, Failure> {
    let text = match what {
        GenerateCommand::Configuration => configuration(),
        GenerateCommand::Cli => command_line(),
        GenerateCommand::Openapi => bowerbird_server::openapi().to_pretty_json().map_err(Failure::internal)?,
    };
    printer.line(text.trim_end());
    Ok(ExitCode::SUCCESS)
}

fn configuration() -> String {
    let mut page = String::from(
        "# Configuration\n\n\
         Flags win over environment variables, those over `bowerbird.toml`, that over the defaults. Every variable has one\n\
         name in each place: `BOWERBIRD_BASE_URL`, `--base-url`, and `base_url` in the file. Secrets have no flag.\n\
         `bowerbird config show` prints what is in force and where it comes from.\n\n\
         | variable | default | meaning |\n|---|---|---|\n",
    );
    for variable in VARIABLES {
        let default = variable.default.map_or_else(|| "–".to_owned(), |text| format!("`{text}`"));
        let alias = variable.alias.map(|alias| format!(" (or `{alias}`)")).unwrap_or_default();
        let secret = if variable.secret { " **Secret.**" } else { "" };
        let meaning = variable.meaning.replace('|', "\\|");
        // Writing to a String cannot fail.
        let _ok = writeln!(page, "| `{}`{alias} | {default} | {meaning}{secret} |", variable.name);
    }
    page
}

fn command_line() -> String {
    let mut page = String::from("# Command line\n\nEvery command takes `--json`. Colours respect `NO_COLOR`.\n");
    let mut command = cli::command().term_width(100).mut_args(|arg| {
        let configuration = arg.get_help_heading() == Some("Configuration");
        arg.hide(configuration)
    });
    command.build();
    describe(&command, "bowerbird", &mut page);
    page
}

fn describe(command: &clap::Command, path: &str, page: &mut String) {
    let help = command.clone().bin_name(path).render_long_help().to_string();
    let _ok = write!(page, "\n## `{path}`\n\n```text\n{}\n```\n", help.trim_end());
    for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set() && inner.get_name() != "help") {
        describe(inner, &format!("{path} {}", inner.get_name()), page);
    }
}
