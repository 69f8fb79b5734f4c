//! The Swift, Kotlin and Python sources of the kit on the device, written by `UniFFI` from the built library.

use crate::exec;
use crate::ui::Ui;
use crate::workspace::Workspace;
use anyhow::{Context, Result};
use std::path::PathBuf;
use std::process::Command;

/// The language, the file as `UniFFI` names it, and where it is kept.
const SOURCES: &[(&str, &str, &str)] = &[
    ("swift", "BowerbirdClient.swift", "clients/swift/Sources/BowerbirdClient/BowerbirdClient.swift"),
    ("swift", "BowerbirdClientFFI.h", "clients/swift/include/BowerbirdClientFFI.h"),
    ("swift", "BowerbirdClientFFI.modulemap", "clients/swift/include/module.modulemap"),
    ("kotlin", "bowerbird/client/bowerbird.kt", "clients/kotlin/lib/src/main/kotlin/bowerbird/client/bowerbird.kt"),
    ("python", "bowerbird.py", "clients/python/bowerbird/bowerbird.py"),
];

/// What the sources should be now.
pub(super) fn generated(ui: &Ui, workspace: &Workspace) -> Result<Vec<(PathBuf, String)>> {
    let arguments = ["build", "--package", "bowerbird-client-ffi", "--features", "bindgen"];
    exec::quietly(ui, "building the bindings of the kit", workspace.cargo().args(arguments))?;
    let built = workspace.target.join("debug");
    let library = format!("{}bowerbird_client_ffi{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let mut sources = Vec::new();
    for (language, file, kept) in SOURCES {
        let folder = workspace.scratch(&format!("xtask/bindings/{language}"))?;
        let mut bindgen = Command::new(built.join("bowerbird-bindgen"));
        bindgen.current_dir(&workspace.root).args(["generate", "--no-format", "--language", language, "--out-dir"]);
        exec::output(bindgen.arg(&folder).arg(built.join(&library)))?;
        let path = folder.join(file);
        let text = std::fs::read_to_string(&path).with_context(|| format!("UniFFI wrote no {}", path.display()))?;
        // It leaves spaces at the ends of lines and lines at the end of files, which people's editors take away.
        let mut tidy: String = text.lines().flat_map(|line| [line.trim_end(), "\n"]).collect();
        tidy.truncate(tidy.trim_end().len());
        tidy.push('\n');
        sources.push((workspace.root.join(kept), tidy));
    }
    Ok(sources)
}
