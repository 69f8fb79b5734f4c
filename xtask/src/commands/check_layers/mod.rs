//! `cargo xtask check-layers`: dependencies between the rooms point downward only, and a few libraries live in one room.

mod rules;

use crate::ui::Ui;
use crate::workspace::Workspace;
use anyhow::{Context, Result};
use rules::{EFFECTS, LIBRARIES, NOWHERE, PURE, ROOMS, Room};
use serde_json::Value;

/// A package of the workspace and what it asks for directly.
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

struct Dependency {
    name: String,
    /// Only for tests, examples and benches.
    dev: bool,
}

/// Prints each violation; `true` when there is none.
pub(crate) fn run(ui: &Ui, workspace: &Workspace) -> Result<bool> {
    let metadata = workspace.metadata()?;
    let packages = members(&metadata)?;
    let everywhere = names(&metadata)?;
    let mut violations: Vec<String> = packages.iter().flat_map(violations).collect();
    violations.extend(banned(&everywhere));
    for violation in &violations {
        ui.line(format_args!("{} {violation}", ui.bad("✗")));
    }
    ui.line(format_args!("{} packages, {} violations", packages.len(), violations.len()));
    Ok(violations.is_empty())
}

fn members(metadata: &Value) -> Result<Vec<Package>> {
    let members = metadata["workspace_members"].as_array().context("cargo metadata lists no members")?;
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    let own = packages.iter().filter(|package| members.contains(&package["id"]));
    own.map(|package| {
        let name = package["name"].as_str().context("a package has no name")?.to_owned();
        let dependencies = package["dependencies"].as_array().context("a package has no dependencies")?;
        let dependencies = dependencies.iter().map(|dependency| {
            let name = dependency["name"].as_str().context("a dependency has no name")?.to_owned();
            Ok(Dependency { name, dev: dependency["kind"] == "dev" })
        });
        Ok(Package { name, dependencies: dependencies.collect::<Result<_>>()? })
    })
    .collect()
}

/// The names of every package in the whole graph.
fn names(metadata: &Value) -> Result<Vec<String>> {
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    Ok(packages.iter().filter_map(|package| package["name"].as_str()).map(str::to_owned).collect())
}

fn violations(package: &Package) -> Vec<String> {
    let Some(room) = ROOMS.iter().find(|room| room.package == package.name) else {
        return vec![format!(
            "{} is in no room: add it to ROOMS in xtask/src/commands/check_layers/rules.rs and to the table of the architecture page",
            package.name
        )];
    };
    let found = package.dependencies.iter().filter_map(|dependency| {
        between_rooms(room, dependency).or_else(|| of_library(room, dependency)).or_else(|| of_effect(room, dependency))
    });
    found.collect()
}

/// A room may know only the rooms below it. What tests use is free, and the test kit is for them alone.
fn between_rooms(room: &Room, dependency: &Dependency) -> Option<String> {
    let known = ROOMS.iter().find(|known| known.package == dependency.name)?;
    if dependency.dev {
        return None;
    }
    if known.package == "bowerbird-testkit" {
        return Some(format!("{} depends on the test kit outside its tests: make it a dev-dependency", room.package));
    }
    if room.knows.contains(&known.package) || room.knows == ["*"] {
        return None;
    }
    Some(format!(
        "{} must not know {}: it may know {}. Put what it needs behind a port in bowerbird-core, or move the code",
        room.package,
        known.package,
        if room.knows.is_empty() { "no other room".to_owned() } else { room.knows.join(", ") },
    ))
}

/// Some libraries do one thing that one room does for all others.
fn of_library(room: &Room, dependency: &Dependency) -> Option<String> {
    let library = LIBRARIES.iter().find(|library| library.names.contains(&dependency.name.as_str()))?;
    if library.homes.contains(&room.package) {
        return None;
    }
    let excused = library
        .exceptions
        .iter()
        .any(|exception| exception.package == room.package && (!exception.dev_only || dependency.dev));
    (!excused).then(|| {
        format!(
            "{} must not depend on {}: {} lives in {}. An exception needs a row with its reason in LIBRARIES",
            room.package,
            dependency.name,
            library.what,
            library.homes.join(", "),
        )
    })
}

/// A pure room takes time, chance and answers as arguments.
fn of_effect(room: &Room, dependency: &Dependency) -> Option<String> {
    let impure = !dependency.dev && PURE.contains(&room.package) && EFFECTS.contains(&dependency.name.as_str());
    impure.then(|| {
        format!("{} is pure and must not depend on {}: take its result as an argument", room.package, dependency.name)
    })
}

fn banned(everywhere: &[String]) -> Vec<String> {
    let found = everywhere.iter().filter_map(|name| NOWHERE.iter().find(|(banned, _)| banned == name));
    found
        .map(|(name, reason)| {
            format!("{name} is in the dependency graph: {reason} (`cargo tree -i {name}` tells who brings it)")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, normal: &[&str], dev: &[&str]) -> Package {
        let normal = normal.iter().map(|name| Dependency { name: (*name).to_owned(), dev: false });
        let dev = dev.iter().map(|name| Dependency { name: (*name).to_owned(), dev: true });
        Package { name: name.to_owned(), dependencies: normal.chain(dev).collect() }
    }

    fn one(package: &Package) -> String {
        let mut found = violations(package);
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }

    #[test]
    fn downward_is_allowed() {
        assert!(violations(&package("bowerbird-core", &["bowerbird-oauth", "serde"], &[])).is_empty());
        assert!(
            violations(&package("bowerbird-atproto", &["bowerbird-core", "bowerbird-vault", "bowerbird-oauth"], &[]))
                .is_empty()
        );
        assert!(
            violations(&package("bowerbird", &["bowerbird-net", "bowerbird-storage-sql", "bowerbird-server"], &[]))
                .is_empty()
        );
    }

    #[test]
    fn upward_and_sideways_are_refused() {
        assert!(one(&package("bowerbird-oauth", &["bowerbird-core"], &[])).contains("it may know no other room"));
        assert!(
            one(&package("bowerbird-vault", &["bowerbird-net"], &[]))
                .contains("bowerbird-vault must not know bowerbird-net")
        );
        assert!(
            one(&package("bowerbird-net", &["bowerbird-atproto"], &[])).contains("must not know bowerbird-atproto")
        );
    }

    #[test]
    fn the_server_names_no_adapter() {
        assert!(
            one(&package("bowerbird-server", &["bowerbird-storage-sql"], &[]))
                .contains("must not know bowerbird-storage-sql")
        );
        assert!(violations(&package("bowerbird-server", &[], &["bowerbird-storage-sql"])).is_empty());
    }

    #[test]
    fn the_test_kit_is_for_tests() {
        assert!(one(&package("bowerbird", &["bowerbird-testkit"], &[])).contains("make it a dev-dependency"));
        assert!(violations(&package("bowerbird", &[], &["bowerbird-testkit"])).is_empty());
    }

    #[test]
    fn libraries_stay_at_home() {
        assert!(one(&package("bowerbird-atproto", &["hyper-util"], &[])).contains("lives in bowerbird-net"));
        assert!(one(&package("bowerbird-vault", &["sqlx"], &[])).contains("bowerbird-storage-sql"));
        assert!(violations(&package("bowerbird-net", &["hyper", "rustls", "hickory-resolver"], &[])).is_empty());
        assert!(violations(&package("bowerbird-testkit", &["hyper-util"], &[])).is_empty());
    }

    #[test]
    fn pure_rooms_have_no_effects() {
        assert!(one(&package("bowerbird-oauth", &["tokio"], &[])).contains("is pure"));
        assert!(violations(&package("bowerbird-core", &[], &["tokio"])).is_empty());
    }

    #[test]
    fn a_package_without_a_room_is_noticed() {
        assert!(one(&package("bowerbird-attic", &[], &[])).contains("is in no room"));
    }

    #[test]
    fn banned_crates_are_found_however_deep() {
        let found = banned(&["serde".to_owned(), "openssl-sys".to_owned()]);
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("cargo tree -i openssl-sys"));
    }
}
