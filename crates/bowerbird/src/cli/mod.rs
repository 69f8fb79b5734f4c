//! The command line: types only. Every configuration variable that is not a secret is also a flag.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};

use crate::config::{VARIABLES, Variable};

/// Sign people in with the AT Protocol and keep their tokens out of your app.
#[derive(Debug, Parser)]
#[command(
    name = "bowerbird",
    version,
    about,
    propagate_version = true,
    after_help = "Without a command the server is started."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    #[command(flatten)]
    pub(crate) global: Global,
}

/// What applies to every command.
#[derive(Clone, Debug, Args)]
pub(crate) struct Global {
    /// Configuration file [default: bowerbird.toml, if there is one]
    #[arg(long, global = true, value_name = "FILE", env = "BOWERBIRD_CONFIG")]
    pub(crate) config: Option<PathBuf>,

    /// Print JSON instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start the server
    Serve,
    /// Make and list keys
    #[command(subcommand)]
    Keys(KeysCommand),
    /// List and remove accounts
    #[command(subcommand)]
    Accounts(AccountsCommand),
    /// Copy the SQLite database into a new file while the server runs; the keys are not in it
    Backup {
        /// The file to make
        file: PathBuf,
    },
    /// Look at stored accesses, and renew them
    #[command(subcommand)]
    Tokens(TokensCommand),
    /// Put a backup in the place of the SQLite database while no server runs, or confirm that it is the one to go on with
    Restore {
        /// The backup to put in place; the replaced database is kept beside it
        #[arg(required_unless_present = "confirm", conflicts_with = "confirm")]
        file: Option<PathBuf>,
        /// The newer database is gone for good: try every stored access once more, and ask people where it has ended
        #[arg(long)]
        confirm: bool,
    },
    /// Take over the sign-ins of another server, so that nobody has to sign in again
    #[command(subcommand)]
    Import(ImportCommand),
    /// Check the configuration and everything it depends on
    Doctor,
    /// Show the configuration in force
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print generated reference documents
    #[command(subcommand, hide = true)]
    Generate(GenerateCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Make a key and print it, or add it to a key set file
    Generate {
        /// What the key is for
        #[arg(value_enum, default_value = "client")]
        kind: KeyKind,
        /// Client keys only: put the new key first into this key set file (made if missing, mode 0600)
        #[arg(long, value_name = "FILE")]
        into: Option<PathBuf>,
    },
    /// List the names of the keys in use; never the keys
    List,
    /// Bring in a new key while the server runs, or complete a rotation that was broken off
    Rotate {
        /// Which key
        #[arg(long, value_enum, default_value = "encryption")]
        key: RotatedKey,
    },
    /// Show how many accounts need each key, and which keys may be removed
    Status,
    /// Put the encryption keys into the operating system's keyring, from wherever they are now
    ToKeyring {
        /// The name of the keyring's entry
        #[arg(default_value = "bowerbird")]
        entry: String,
        /// Remove the key file once the keyring has shown that it keeps the keys
        #[arg(long)]
        remove_file: bool,
    },
    /// Copy the encryption keys into a new file, from wherever they are now: to keep with a backup, or to leave the keyring
    ToFile {
        /// The file to make; mode 0600
        file: PathBuf,
    },
    /// Give up the sign-ins that are bound to a client key which is not configured any more
    ForgetClient {
        /// The key's name
        kid: String,
        /// Do it: these people must sign in again
        #[arg(long)]
        confirm: bool,
    },
    /// Give up what only a lost encryption key could open; accounts and sessions stay
    Abandon {
        /// The key's name
        key: String,
        /// Do it: these people must sign in again, and there is no way back
        #[arg(long)]
        confirm: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ImportCommand {
    /// From the SQLite file of `@tijs/atproto-oauth-hono`; without `--confirm` only say what would happen
    HonoSqlite {
        /// The file; it is never changed
        file: PathBuf,
        /// The table with the sign-ins [default: `iron_session_storage` or `oauth_storage`]
        #[arg(long, value_name = "NAME")]
        table: Option<String>,
        /// The old server's client id, for tokens that do not name it
        #[arg(long, value_name = "URL")]
        client_id: Option<String>,
        /// Change nothing, and end with success
        #[arg(long, conflicts_with = "confirm")]
        dry_run: bool,
        /// Do it: the old server is stopped for good, and only this one renews these accesses from now on
        #[arg(long)]
        confirm: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokensCommand {
    /// Count accesses by state, and list the accounts that need attention
    Health,
    /// Renew accesses now, beside a running server or without one
    #[command(group = clap::ArgGroup::new("which").required(true))]
    Refresh {
        /// One account, by id, DID or handle, whether it is due or not
        #[arg(long, group = "which")]
        account: Option<String>,
        /// Everything that is due
        #[arg(long, group = "which")]
        all_due: bool,
    },
}

/// A key that can be rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RotatedKey {
    /// Encrypts stored credentials
    Encryption,
    /// Seals sessions
    Cookie,
    /// Signs as a confidential OAuth client
    Client,
}

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeyKind {
    /// Signs as a confidential OAuth client (`BOWERBIRD_CLIENT_KEYS`)
    Client,
    /// Seals sessions (`BOWERBIRD_COOKIE_SECRET`)
    CookieSecret,
    /// Encrypts stored credentials (`BOWERBIRD_ENCRYPTION_KEY`)
    EncryptionKey,
    /// Signs webhooks (`BOWERBIRD_WEBHOOK_SECRET`)
    WebhookSecret,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AccountsCommand {
    /// List the accounts that signed in here
    List,
    /// Remove an account: revoke its access at its server, then delete everything kept for it
    Remove {
        /// The account's id, DID or handle
        account: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Show every variable, its value and where it comes from; secrets are masked
    Show,
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum GenerateCommand {
    /// The reference page of the configuration
    Configuration,
    /// The reference page of the command line
    Cli,
    /// The `OpenAPI` document
    Openapi,
}

/// Parses the command line. On `--help`, `--version` or misuse the error says what to print and how to exit.
pub(crate) fn parse(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> Result<(Cli, Flags), clap::Error> {
    let matches = command().try_get_matches_from(arguments)?;
    let cli = Cli::from_arg_matches(&matches)?;
    Ok((cli, Flags(matches)))
}

/// The whole command, flags for the configuration variables included.
pub(crate) fn command() -> clap::Command {
    let flags = VARIABLES.iter().filter(|variable| !variable.secret).map(|variable| {
        Arg::new(variable.name)
            .long(variable.flag())
            .value_name("VALUE")
            .help(variable.meaning)
            .global(true)
            .hide_short_help(true)
            .help_heading("Configuration")
    });
    Cli::command().args(flags)
}

/// The configuration flags that were given.
#[derive(Debug)]
pub(crate) struct Flags(ArgMatches);

impl Flags {
    /// The value of a variable's flag.
    pub(crate) fn get(&self, variable: &Variable) -> Option<String> {
        if variable.secret {
            return None;
        }
        // A global flag may stand before or after the subcommands: the innermost one that has it wins.
        let mut matches = &self.0;
        let mut found = matches.get_one::<String>(variable.name);
        while let Some((_, inner)) = matches.subcommand() {
            matches = inner;
            found = matches.get_one::<String>(variable.name).or(found);
        }
        found.cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_words(line: &str) -> Result<(Cli, Flags), clap::Error> {
        parse(line.split(' ').map(Into::into))
    }

    #[test]
    fn the_command_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn flags_are_found_before_and_after_the_subcommand() {
        let listen = VARIABLES.iter().find(|variable| variable.name == "BOWERBIRD_LISTEN").unwrap();
        for line in [
            "bowerbird --listen 127.0.0.1:1 serve",
            "bowerbird serve --listen 127.0.0.1:1",
            "bowerbird --listen 127.0.0.1:1",
        ] {
            let (_, flags) = parse_words(line).unwrap();
            assert_eq!(flags.get(listen).as_deref(), Some("127.0.0.1:1"), "{line}");
        }
    }

    #[test]
    fn secrets_have_no_flags() {
        assert!(parse_words("bowerbird --cookie-secret x").is_err());
    }
}
