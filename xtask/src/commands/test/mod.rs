//! `cargo xtask test`: every check and every test, in one order, with the time that each took.

mod summary;

use crate::commands::{bench, check_docs, check_layers, crash_test, deny, r#gen};
use crate::ui::{self, Ui};
use crate::workspace::Workspace;
use crate::{exec, interrupt, testnet::Testnet, tools, typescript::TypeScriptClient};
use anyhow::Result;
use serde::Serialize;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;
use summary::Totals;

/// Tests against real servers and a real browser have names, modules or test files that begin so.
const REAL: &str = "real_";

/// Parts that are left out of a plain build, and must be right all the same.
const EXTRAS: &str = "xtask/reference,bowerbird/os-keyring";

/// What `test` is asked.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Install nothing, leave out the tests on real servers, the documentation tests, the crash test and the bench
    #[arg(long)]
    quick: bool,
    /// Run only tests whose names contain one of these, and no other check
    filter: Vec<String>,
}

/// One part of the run, as it went.
#[derive(Serialize)]
struct Stage {
    name: &'static str,
    seconds: f64,
    outcome: Outcome,
}

#[derive(Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
enum Outcome {
    Passed,
    Failed(String),
    Skipped(String),
}

/// Runs the stages to the end whatever fails, prints the timings and, as the last line, the totals of all test runners.
pub(crate) fn run(ui: &Ui, workspace: &Workspace, arguments: &Arguments) -> Result<bool> {
    let mut run = Run {
        ui,
        workspace,
        strict: std::env::var_os("CI").is_some_and(|value| value == "true"),
        stages: Vec::new(),
        totals: Totals::default(),
        testnet: None,
        typescript: None,
        chromium: tools::chromium(),
    };
    let everything = arguments.filter.is_empty();
    if !arguments.quick {
        run.stage("tools", |run| run.tools(everything))?;
        run.stage("test network", Run::testnet)?;
        run.stage("TypeScript client", |run| run.typescript(everything))?;
    }
    if everything {
        run.stage("format", Run::format)?;
        run.stage("layers", |run| {
            Ok(verdict(check_layers::run(run.ui, run.workspace)?, "a room knows what it may not"))
        })?;
        run.stage("links of the book", |run| {
            Ok(verdict(check_docs::run(run.ui, run.workspace)?, "links lead nowhere"))
        })?;
        run.stage("clippy", Run::clippy)?;
    }
    run.stage("tests", |run| run.tests(arguments))?;
    if everything {
        run.stage("generated pages", Run::generated)?;
        run.stage("dependencies", |run| run.dependencies(arguments.quick))?;
    }
    if everything && !arguments.quick {
        run.stage("documentation", Run::documentation)?;
        run.stage("documentation tests", Run::documentation_tests)?;
        run.stage("crash test, short", Run::crashes)?;
        run.stage("bench, short", Run::bench)?;
    }
    run.report()
}

struct Run<'a> {
    ui: &'a Ui,
    workspace: &'a Workspace,
    /// Set in CI: warnings are errors, and nothing that can be installed may be missing.
    strict: bool,
    stages: Vec<Stage>,
    totals: Totals,
    testnet: Option<Testnet>,
    /// The folder of the built TypeScript client.
    typescript: Option<PathBuf>,
    chromium: Option<PathBuf>,
}

impl Run<'_> {
    fn stage(&mut self, name: &'static str, work: impl FnOnce(&mut Self) -> Result<Outcome>) -> Result<()> {
        interrupt::check()?;
        self.ui.heading(name);
        let since = Instant::now();
        let outcome = work(self).unwrap_or_else(|error| {
            self.ui.error(&error);
            Outcome::Failed(error.to_string().lines().next().unwrap_or_default().to_owned())
        });
        interrupt::check()?;
        let took = since.elapsed();
        match &outcome {
            Outcome::Passed => self.ui.line(format_args!("{name}: {} in {}", self.ui.good("ok"), ui::seconds(took))),
            Outcome::Skipped(why) => self.ui.line(format_args!("{name}: {} ({why})", self.ui.faint("left out"))),
            Outcome::Failed(why) => {
                self.ui.line(format_args!("{name}: {} after {} ({why})", self.ui.bad("failed"), ui::seconds(took)));
            }
        }
        self.stages.push(Stage { name, seconds: took.as_secs_f64(), outcome });
        Ok(())
    }

    fn tools(&mut self, everything: bool) -> Result<Outcome> {
        tools::ensure(self.ui, &[tools::TESTNET, tools::STORES, tools::KEYRING, tools::PYTHON])?;
        if self.chromium.is_none() {
            tools::ensure(self.ui, &[tools::CHROMIUM])?;
            self.chromium = tools::chromium();
        }
        if everything {
            tools::ensure(self.ui, &[tools::BENCH])?;
        }
        Ok(Outcome::Passed)
    }

    fn testnet(&mut self) -> Result<Outcome> {
        self.testnet = Some(Testnet::install(self.ui, self.workspace)?);
        Ok(Outcome::Passed)
    }

    /// Built in any case, since tests of the server use it; its own tests are part of a whole run.
    fn typescript(&mut self, everything: bool) -> Result<Outcome> {
        let Some(testnet) = &self.testnet else {
            return Ok(Outcome::Failed("the test network has the Node for it, and is not installed".to_owned()));
        };
        let client = TypeScriptClient::install(self.ui, self.workspace, testnet)?;
        client.build(self.ui)?;
        self.typescript = Some(client.folder.clone());
        if everything { self.runner(&mut client.tests()) } else { Ok(Outcome::Passed) }
    }

    fn format(&mut self) -> Result<Outcome> {
        self.cargo(&["fmt", "--all", "--check"], "run `cargo fmt --all`")
    }

    fn clippy(&mut self) -> Result<Outcome> {
        let mut arguments = vec!["clippy", "--workspace", "--all-targets", "--features", EXTRAS];
        if self.strict {
            arguments.extend(["--", "-D", "warnings"]);
        }
        self.cargo(&arguments, "clippy found something")
    }

    fn tests(&mut self, arguments: &Arguments) -> Result<Outcome> {
        let nextest = tools::find("cargo-nextest").is_some();
        let mut command = self.environment(if nextest { &["nextest", "run"] } else { &["test"] });
        command.args(["--workspace", "--features", EXTRAS, "--no-fail-fast"]);
        if nextest {
            if arguments.quick {
                // nextest refuses an expression that names no program, so it names them only where there are some.
                let files = if self.real_files()? { format!(" | binary(/^{REAL}/)") } else { String::new() };
                command.args(["-E", &format!("not (test(/(^|::){REAL}/){files})")]);
            }
            command.args(&arguments.filter);
        } else {
            self.ui.note("cargo-nextest is not installed: using cargo test, which is slower");
            command.args(["--tests", "--"]);
            if arguments.quick {
                command.args(["--skip", REAL]); // by name only: cargo test cannot leave out a file
            }
            command.args(&arguments.filter);
        }
        self.runner(&mut command)
    }

    fn real_files(&self) -> Result<bool> {
        for room in std::fs::read_dir(self.workspace.root.join("crates"))? {
            let Ok(files) = std::fs::read_dir(room?.path().join("tests")) else { continue };
            if files.flatten().any(|file| file.file_name().to_string_lossy().starts_with(REAL)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn documentation(&mut self) -> Result<Outcome> {
        let mut command = self.environment(&["doc", "--workspace", "--no-deps"]);
        if self.strict {
            command.env("RUSTDOCFLAGS", "-D warnings");
        }
        Ok(verdict(exec::openly(&mut command)?.success, "rustdoc found something"))
    }

    fn documentation_tests(&mut self) -> Result<Outcome> {
        let mut command = self.environment(&["test", "--workspace", "--doc", "--no-fail-fast"]);
        self.runner(&mut command)
    }

    /// A test runner: its own closing lines are counted, and its exit code is believed.
    fn runner(&mut self, command: &mut Command) -> Result<Outcome> {
        let ended = exec::openly(command)?;
        let totals = Totals::of(&ended.lines);
        self.totals += totals;
        Ok(match (ended.success, totals.failed) {
            (true, 0) => Outcome::Passed,
            (_, 0) => Outcome::Failed("the runner failed; see its output above".to_owned()),
            (_, failed) => Outcome::Failed(format!("{failed} failed")),
        })
    }

    fn generated(&mut self) -> Result<Outcome> {
        if !r#gen::any(self.workspace) {
            return Ok(Outcome::Skipped(
                "no page was generated yet: `cargo xtask gen` writes the first ones".to_owned(),
            ));
        }
        let fresh = r#gen::check(self.ui, self.workspace, r#gen::Build::WithEverything)?;
        Ok(verdict(fresh, "run `cargo xtask gen`"))
    }

    fn dependencies(&mut self, quick: bool) -> Result<Outcome> {
        if quick && deny::find(self.workspace).is_none() {
            return Ok(Outcome::Skipped("cargo-deny is not installed: `cargo xtask deny` installs it".to_owned()));
        }
        // Where it cannot be had, nothing is wrong with what is tested.
        match deny::program(self.ui, self.workspace) {
            Ok(program) => Ok(verdict(deny::check(self.ui, self.workspace, program)?, "see deny.toml")),
            Err(error) => Ok(Outcome::Skipped(format!("{error:#}"))),
        }
    }

    fn crashes(&mut self) -> Result<Outcome> {
        let kept = crash_test::run(self.ui, self.workspace, &crash_test::Arguments::short())?;
        Ok(verdict(kept, "a session was lost, or a spent token was sent"))
    }

    fn bench(&mut self) -> Result<Outcome> {
        let kept = bench::run(self.ui, self.workspace, &bench::Arguments::short())?;
        Ok(verdict(kept, "a bound was missed"))
    }

    fn cargo(&self, arguments: &[&str], otherwise: &str) -> Result<Outcome> {
        Ok(verdict(exec::openly(&mut self.environment(arguments))?.success, otherwise))
    }

    /// Cargo, with what tests look for: where the test network is, and which browser to start.
    fn environment(&self, arguments: &[&str]) -> Command {
        let mut command = self.workspace.cargo();
        command.args(arguments).env("CARGO_TERM_COLOR", if self.ui.colour() { "always" } else { "never" });
        if let Some(testnet) = &self.testnet {
            command.env("BOWERBIRD_TESTNET_DIR", &testnet.folder);
        }
        if let Some(typescript) = &self.typescript {
            command.env("BOWERBIRD_TYPESCRIPT_DIR", typescript);
        }
        if let Some(chromium) = &self.chromium {
            command.env("BOWERBIRD_CHROMIUM", chromium);
        }
        if self.strict {
            // A run that starts from nothing gains nothing from incremental files, and they are large.
            command.env("CARGO_INCREMENTAL", "0");
        }
        command
    }

    fn report(&self) -> Result<bool> {
        let file = self.workspace.scratch("xtask")?.join("test.json");
        std::fs::write(&file, serde_json::to_string_pretty(&self.stages)?)?;

        self.ui.heading("timings");
        let mut rows = vec![["stage", "time", "outcome"].map(str::to_owned).to_vec()];
        for stage in &self.stages {
            let outcome = match &stage.outcome {
                Outcome::Passed => self.ui.good("ok"),
                Outcome::Failed(why) => format!("{}: {why}", self.ui.bad("failed")),
                Outcome::Skipped(why) => format!("{}: {why}", self.ui.faint("left out")),
            };
            rows.push(vec![stage.name.to_owned(), format!("{:>8.1} s", stage.seconds), outcome]);
        }
        let whole: f64 = self.stages.iter().map(|stage| stage.seconds).sum();
        rows.push(vec!["all".to_owned(), format!("{whole:>8.1} s"), String::new()]);
        self.ui.table(&rows);
        self.ui.line("");
        self.ui.line(self.totals);
        let failed = self.stages.iter().any(|stage| matches!(stage.outcome, Outcome::Failed(_)));
        Ok(!failed && self.totals.failed == 0)
    }
}

fn verdict(good: bool, otherwise: &str) -> Outcome {
    if good { Outcome::Passed } else { Outcome::Failed(otherwise.to_owned()) }
}
