//! Rooms import downward only: compares the `use` lines with the table of ARCHITECTURE.md.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms and the rooms that each may import, from ARCHITECTURE.md's table.
fn table() -> BTreeMap<String, Vec<String>> {
    let text =
        fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md is there");
    let rows = text.lines().filter_map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let room = cells.get(2)?.strip_prefix('`')?.trim_end_matches('`');
        let room = room.trim_end_matches(".rs").trim_end_matches('/').to_owned();
        Some((cells.get(1)?.parse::<u32>().ok()?, room, cells.get(4)?.to_string()))
    });
    let rows: Vec<(u32, String, String)> = rows.collect();
    let below = |level: u32| rows.iter().filter(move |row| row.0 < level).map(|row| row.1.clone());
    rows.iter()
        .map(|(level, room, may)| {
            let may = match may.as_str() {
                "-" => Vec::new(),
                "all below" => below(*level).collect(),
                list => list.split(',').map(|name| name.trim().to_owned()).collect(),
            };
            (room.clone(), may)
        })
        .collect()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let entries = fs::read_dir(path).expect("a folder of sources");
    entries.flat_map(|entry| sources(&entry.expect("an entry").path())).collect()
}

/// The room that a source file belongs to: `src/pool/error.rs` to `pool`.
fn room(file: &Path) -> String {
    let inner = file.strip_prefix(root().join("src")).expect("below src");
    let first = inner.iter().next().expect("a name").to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

/// The rooms that a text names as `crate::room`.
fn named(text: &str) -> Vec<String> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let mut rooms = Vec::new();
    for line in code {
        for rest in line.split("crate::").skip(1) {
            let name: String =
                rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            rooms.push(name);
        }
    }
    rooms
}

#[test]
fn rooms_import_only_rooms_below_them() {
    let table = table();
    assert!(table.len() >= 8, "the table was not found");
    let mut seen = 0;
    let mut wrong = Vec::new();
    for file in sources(&root().join("src")) {
        let own = room(&file);
        if own == "lib" || own == "main" {
            continue;
        }
        let may = table.get(&own).unwrap_or_else(|| panic!("room {own} is not in the table"));
        for name in named(&fs::read_to_string(&file).expect("a source file")) {
            seen += 1;
            let is_room = table.contains_key(&name);
            if is_room && name != own && !may.contains(&name) {
                wrong.push(format!("{} imports {name}", file.display()));
            }
        }
    }
    assert!(seen > 20, "no imports were found");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn only_one_room_knows_each_secret() {
    // What only some rooms may name, with those rooms.
    let owners = [
        ("prometheus::proto", "metrics"),
        ("bb8::", "pool"),
        ("use hyper", "web, api, source"),
        ("StatusCode", "web, api, source"),
        ("env::vars", "cli"),
    ];
    for file in sources(&root().join("src")) {
        let (own, text) = (room(&file), fs::read_to_string(&file).expect("a source file"));
        for (what, rooms) in owners {
            // The demo is a separate application with its own pool.
            let is_demo = file.ends_with("cli/demo.rs") || file.iter().any(|part| part == "demo");
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            let found = code.into_iter().any(|line| line.contains(what));
            assert!(
                !found || rooms.split(", ").any(|room| room == own) || is_demo,
                "{} names {what}",
                file.display()
            );
        }
    }
}
