//! The systemd units, checked by systemd itself.

use std::fs;
use std::process::Command;

use crate::{passed, read, root, run, text};

/// Copies the units to a folder, and replaces the program by one that exists.
fn units() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["db_pool_exporter.service", "db_pool_exporter.socket"] {
        let unit = read(root("deploy/systemd").join(name));
        let program = env!("CARGO_BIN_EXE_db_pool_exporter");
        let unit = unit.replace("/usr/bin/db_pool_exporter", program);
        fs::write(folder.path().join(name), unit).expect("the unit is written");
    }
    folder
}

#[test]
fn systemd_finds_no_fault_in_the_units() {
    let folder = units();
    let output = run(Command::new("systemd-analyze")
        .args(["verify", "--man=no", "--recursive-errors=no"])
        .args([folder.path().join("db_pool_exporter.service")])
        .args([folder.path().join("db_pool_exporter.socket")]));
    passed(&output);
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn the_unit_is_exposed_by_1_5_at_most() {
    let folder = units();
    let output = run(Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--no-pager", "--threshold=15"])
        .arg(folder.path().join("db_pool_exporter.service")));
    let printed = passed(&output);
    let level = printed.lines().find_map(|line| line.split("service: ").nth(1)).expect("a level");
    let level: f64 = level.split(' ').next().expect("a number").parse().expect("a number");
    assert!(level <= 1.5, "{printed}");
}

#[test]
fn the_unit_says_what_the_daemon_does() {
    let unit = read(root("deploy/systemd/db_pool_exporter.service"));
    for line in [
        "Type=notify",
        "WatchdogSec=30",
        "RestartPreventExitStatus=64",
        "DynamicUser=yes",
        "CapabilityBoundingSet=",
        "ProtectSystem=strict",
        "LoadCredential=secret:/etc/db_pool_exporter/secrets",
        "EnvironmentFile=-/etc/default/db_pool_exporter",
    ] {
        assert!(unit.lines().any(|found| found == line), "{line}");
    }
}
