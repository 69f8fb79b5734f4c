//! `bowerbird import hono-sqlite`: takes over the sign-ins of `@tijs/atproto-oauth-hono`, so that nobody has to sign in again.

mod row;

use std::path::Path;
use std::process::ExitCode;

use bowerbird_atproto::{TakeOverRules, TakenOver};
use bowerbird_storage_sql::{ForeignError, ForeignRow, ForeignSessions};
use futures_util::StreamExt as _;
use row::Whose;
use serde_json::{Value, json};

use super::{Failure, USER};
use crate::compose::{Composition, compose};
use crate::load::Loaded;
use crate::printer::Printer;

/// So many accounts are looked up at once: the directory and the servers are other people's.
const AT_ONCE: usize = 8;
/// What people see in their list of devices.
const DEVICE_NAME: &str = "Signed in before the move";

/// What the command was asked.
pub(crate) struct Asked<'a> {
    pub(crate) file: &'a Path,
    pub(crate) table: Option<&'a str>,
    pub(crate) client_id: Option<&'a str>,
    pub(crate) dry_run: bool,
    pub(crate) confirmed: bool,
}

/// What became of a row.
struct Outcome {
    whose: Whose,
    kind: Kind,
    code: Option<&'static str>,
    detail: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Imported,
    AlreadyHere,
    Refused,
    Postponed,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Imported, Self::AlreadyHere, Self::Refused, Self::Postponed];

    const fn name(self) -> &'static str {
        match self {
            Self::Imported => "imported",
            Self::AlreadyHere => "alreadyHere",
            Self::Refused => "refused",
            Self::Postponed => "postponed",
        }
    }
}

/// Takes them over.
pub(crate) async fn run(loaded: &Loaded, asked: &Asked<'_>, printer: Printer) -> Result<ExitCode, Failure> {
    // The file first: whoever misspelt its name gets no database made.
    let mut file = ForeignSessions::open(asked.file, asked.table).await.map_err(unreadable)?;
    let total = file.count().await.map_err(unreadable)?;
    let composition = compose(loaded).await?;
    let dry_run = asked.dry_run || !asked.confirmed;
    let rules = TakeOverRules {
        client_id: asked.client_id.map(str::to_owned),
        session_ttl: loaded.settings.session_ttl,
        device_name: DEVICE_NAME.to_owned(),
        dry_run,
    };
    let mut outcomes = Vec::new();
    loop {
        let page = file.next_page().await.map_err(unreadable)?;
        if page.is_empty() {
            break;
        }
        let mut page = futures_util::stream::iter(&page).map(|row| take(&composition, row, &rules)).buffered(AT_ONCE);
        while let Some(outcome) = page.next().await {
            outcomes.push(outcome);
            printer.progress("sign-ins", outcomes.len() as u64, total);
        }
    }
    let table = file.table().to_owned();
    file.close().await;
    composition.database.close().await;
    show(&outcomes, &table, asked, dry_run, printer);
    let again = outcomes.iter().any(|outcome| outcome.kind == Kind::Postponed);
    if dry_run && !asked.dry_run {
        return Err(Failure::user("nothing was changed: this was a look at what would happen").with_hint(
            "a refresh token works once, for one server: stop the old server for good, copy its file, and run this with --confirm",
        ));
    }
    Ok(if again { ExitCode::from(USER) } else { ExitCode::SUCCESS })
}

async fn take(composition: &Composition, row: &ForeignRow, rules: &TakeOverRules) -> Outcome {
    let mut whose = Whose::default();
    let sign_in = match row::read(row, composition.clock.now(), &mut whose) {
        Ok(sign_in) => sign_in,
        Err(fault) => {
            let detail = Some(fault.to_string());
            return Outcome { whose, kind: Kind::Refused, code: Some(fault.code()), detail };
        }
    };
    match composition.atproto.logins.take_over(sign_in, rules).await {
        Ok(TakenOver::Done) => Outcome { whose, kind: Kind::Imported, code: None, detail: None },
        Ok(TakenOver::AlreadyHere) => Outcome { whose, kind: Kind::AlreadyHere, code: None, detail: None },
        Err(refusal) => {
            let kind = if refusal.is_temporary() { Kind::Postponed } else { Kind::Refused };
            let causes = std::iter::successors(Some(&refusal as &dyn std::error::Error), |error| error.source());
            let detail = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
            Outcome { whose, kind, code: Some(refusal.code()), detail: Some(detail) }
        }
    }
}

fn show(outcomes: &[Outcome], table: &str, asked: &Asked<'_>, dry_run: bool, printer: Printer) {
    let count = |kind| outcomes.iter().filter(|outcome| outcome.kind == kind).count();
    if printer.is_json() {
        let session = |outcome: &Outcome| {
            json!({
                "did": outcome.whose.did, "handle": outcome.whose.handle, "outcome": outcome.kind.name(),
                "reason": outcome.code, "detail": outcome.detail,
            })
        };
        let mut answer = json!({
            "file": asked.file, "table": table, "dryRun": dry_run,
            "sessions": outcomes.iter().map(session).collect::<Vec<Value>>(),
        });
        for kind in Kind::ALL {
            answer[kind.name()] = count(kind).into();
        }
        printer.value(&answer);
        return;
    }
    let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let rows = outcomes.iter().filter(|outcome| outcome.detail.is_some());
    let rows: Vec<Vec<String>> = rows
        .map(|outcome| {
            let Whose { did, handle } = &outcome.whose;
            vec![text(handle), text(did), outcome.kind.name().to_owned(), text(&outcome.detail)]
        })
        .collect();
    if !rows.is_empty() {
        printer.table(&["HANDLE", "DID", "OUTCOME", "WHY"], &rows);
    }
    let verb = if dry_run { "would be taken over" } else { "taken over" };
    printer.line(&format!(
        "{} sign-ins {verb}, {} already here, {} refused, {} to be tried again.",
        count(Kind::Imported),
        count(Kind::AlreadyHere),
        count(Kind::Refused),
        count(Kind::Postponed),
    ));
    if !dry_run && count(Kind::Imported) > 0 {
        printer.line(
            "The old server must not run again: each of these refresh tokens works once. So that people stay signed",
        );
        printer.line("in, put its cookie secret behind yours: BOWERBIRD_COOKIE_SECRET=YOURS,THEIRS.");
    }
}

fn unreadable(error: ForeignError) -> Failure {
    let hint = match &error {
        ForeignError::InUse(_) => {
            "stop the old server in order, or let `sqlite3 FILE 'PRAGMA wal_checkpoint(TRUNCATE)'` complete the file; nothing was changed"
        }
        ForeignError::NoTable(_) | ForeignError::SeveralTables | ForeignError::NoColumn { .. } => {
            "name the old server's table with --table; nothing was changed"
        }
        _ => "name the SQLite file of the old server, or a whole copy of it; nothing was changed",
    };
    Failure::user(error).with_hint(hint)
}
