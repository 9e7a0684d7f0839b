//! The packages and the binary: packaged files exist, licences are allowed, and the minimum compiler version is right.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

use crate::{passed, read, root, run};

fn metadata() -> Value {
    let mut cargo = Command::new(env!("CARGO"));
    let arguments = ["metadata", "--format-version=1", "--locked", "--offline"];
    let platform = ["--filter-platform", "x86_64-unknown-linux-gnu"];
    cargo.args(arguments).args(platform).current_dir(root(""));
    serde_json::from_str(&passed(&run(&mut cargo))).expect("JSON")
}

fn package(metadata: &Value) -> Value {
    let packages = metadata["packages"].as_array().expect("packages");
    packages.iter().find(|each| each["name"] == "db-pool-exporter").expect("ours").clone()
}

/// The crates in the binary: all dependencies except development dependencies.
fn shipped(metadata: &Value) -> Vec<Value> {
    let nodes = metadata["resolve"]["nodes"].as_array().expect("nodes");
    let mut reached = BTreeSet::new();
    let mut open = vec![metadata["resolve"]["root"].as_str().expect("the root").to_owned()];
    while let Some(id) = open.pop() {
        if !reached.insert(id.clone()) {
            continue;
        }
        let node = nodes.iter().find(|node| node["id"] == *id).expect("a node");
        for dependency in node["deps"].as_array().expect("dependencies") {
            let kinds = dependency["dep_kinds"].as_array().expect("kinds");
            if kinds.iter().any(|kind| kind["kind"] != "dev") {
                open.push(dependency["pkg"].as_str().expect("an id").to_owned());
            }
        }
    }
    let packages = metadata["packages"].as_array().expect("packages");
    let of = |id: &String| packages.iter().find(|each| each["id"] == **id).expect("one").clone();
    reached.iter().map(of).collect()
}

/// The list of a key in deny.toml.
fn denied(section: &str, key: &str) -> Vec<String> {
    let file: toml::Table = read(root("deny.toml")).parse().expect("TOML");
    let list = file[section][key].as_array().expect("a list");
    let name = |value: &toml::Value| {
        let name = value.get("crate").unwrap_or(value);
        name.as_str().expect("a text").to_owned()
    };
    list.iter().map(name).collect()
}

/// Reports whether the allowed licences satisfy a licence expression. Handles SPDX as far as crates here use it.
fn is_met(expression: &str, allowed: &[String]) -> bool {
    let expression = expression.replace('/', " OR ").replace(['(', ')'], " ");
    expression.split(" AND ").all(|part| {
        part.split(" OR ").any(|licence| allowed.iter().any(|one| one == licence.trim()))
    })
}

#[test]
fn every_licence_is_allowed_and_no_crate_is_banned() {
    let metadata = metadata();
    let allowed = denied("licenses", "allow");
    let banned = denied("bans", "deny");
    let shipped = shipped(&metadata);
    assert!(shipped.len() > 80, "{}", shipped.len());
    for each in &shipped {
        let (name, licence) = (each["name"].as_str(), each["license"].as_str());
        let (name, licence) = (name.expect("a name"), licence.unwrap_or("none"));
        assert!(is_met(licence, &allowed), "{name}: {licence}");
        assert!(!banned.iter().any(|one| one == name), "{name} is banned");
        let source = each["source"].as_str().unwrap_or("registry");
        assert!(source.starts_with("registry"), "{name} comes from {source}");
    }
}

#[test]
fn no_crate_needs_a_newer_compiler_than_we_say() {
    let metadata = metadata();
    let number = |text: &str| -> Vec<u32> {
        text.split(['.', '-']).map_while(|part| part.parse().ok()).collect()
    };
    let ours = package(&metadata)["rust_version"].as_str().expect("rust-version").to_owned();
    for each in shipped(&metadata) {
        let wanted = each["rust_version"].as_str().unwrap_or("1.0").to_owned();
        assert!(number(&wanted) <= number(&ours), "{} needs {wanted}", each["name"]);
    }
}

#[test]
fn what_packages_hold_is_there() {
    let package = package(&metadata());
    let mut seen = 0;
    for kind in ["deb", "generate-rpm"] {
        for asset in package["metadata"][kind]["assets"].as_array().expect("assets") {
            let source = asset[0].as_str().or(asset["source"].as_str()).expect("a path");
            if source.starts_with("target/") {
                continue;
            }
            seen += 1;
            if let Some((folder, ending)) = source.split_once('*') {
                assert!(!crate::files(&root(folder), ending).is_empty(), "{kind}: {source}");
            } else {
                assert!(root(source).exists(), "{kind}: {source}");
            }
        }
    }
    assert!(seen > 10, "{seen}");
}

#[test]
fn the_changelog_tells_of_this_version_and_of_its_metrics() {
    let text = read(root("CHANGELOG.md"));
    let heading = format!("## [{}]", env!("CARGO_PKG_VERSION"));
    let section = text.split_once(&heading).expect("a section for this version").1;
    let section = section.split("\n## ").next().expect("the section");
    assert!(section.contains("\n### Metrics\n"), "{section}");
}
