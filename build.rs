//! Puts into the binary what it was built from. Git is not asked: a release is built from an archive.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    given("DB_POOL_EXPORTER_REVISION", "unknown");
    given("DB_POOL_EXPORTER_BRANCH", "");
    println!("cargo::rustc-env=DB_POOL_EXPORTER_RUSTC={}", compiler());
}

/// Passes on what the builder said by a variable.
fn given(name: &str, otherwise: &str) {
    println!("cargo::rerun-if-env-changed={name}");
    let said = env::var_os(name).and_then(|value| value.into_string().ok());
    println!("cargo::rustc-env={name}={}", said.as_deref().unwrap_or(otherwise));
}

/// The compiler's version.
fn compiler() -> String {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("--version").output().ok();
    let text = output.and_then(|output| String::from_utf8(output.stdout).ok()).unwrap_or_default();
    text.split_whitespace().nth(1).unwrap_or("unknown").to_owned()
}
