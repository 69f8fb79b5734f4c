//! `bowerbird config show`

use std::process::ExitCode;

use serde_json::json;

use crate::config::VARIABLES;
use crate::load::Loaded;
use crate::printer::Printer;

/// Shows every variable. Secrets are masked whole: not even their length is shown.
pub(crate) fn run(loaded: &Loaded, printer: Printer) -> ExitCode {
    let rows = VARIABLES.iter().map(|variable| {
        let shown = loaded.values.get(variable.name).map(|value| if variable.secret { "********" } else { value });
        let origin = loaded.values.origin(variable.name).map(crate::config::Origin::label);
        (variable.name, shown, origin)
    });
    if printer.is_json() {
        let rows: Vec<_> =
            rows.map(|(name, value, origin)| json!({"name": name, "value": value, "from": origin})).collect();
        printer.value(&json!({"variables": rows}));
    } else {
        let cell = |text: Option<&str>| text.unwrap_or("-").to_owned();
        let rows: Vec<_> =
            rows.map(|(name, value, origin)| vec![name.to_owned(), cell(origin.as_deref()), cell(value)]).collect();
        printer.table(&["VARIABLE", "FROM", "VALUE"], &rows);
    }
    ExitCode::SUCCESS
}
