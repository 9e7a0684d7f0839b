//! Records the revision, the branch and the compiler in the binary. Revision and branch come from variables, not from
//! Git, because releases are also built from archives.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    given("DB_POOL_EXPORTER_REVISION", "unknown");
    given("DB_POOL_EXPORTER_BRANCH", "");
    println!("cargo::rustc-env=DB_POOL_EXPORTER_RUSTC={}", compiler());
}

/// Passes the build-time variable `name` on to the code, or `otherwise` if it is not set.
fn given(name: &str, otherwise: &str) {
    println!("cargo::rerun-if-env-changed={name}");
    let value = env::var_os(name).and_then(|value| value.into_string().ok());
    println!("cargo::rustc-env={name}={}", value.as_deref().unwrap_or(otherwise));
}

/// Returns the compiler's version, or `unknown`.
fn compiler() -> String {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("--version").output().ok();
    let text = output.and_then(|output| String::from_utf8(output.stdout).ok()).unwrap_or_default();
    text.split_whitespace().nth(1).unwrap_or("unknown").to_owned()
}
