//! Puts into the binary what it was built from. Git is not asked: a release is built from an archive.

use std::env;
use std::process::Command;

fn main() {
    let set =
        |name: &str, value: &str| println!("cargo::rustc-env=DB_POOL_EXPORTER_{name}={value}");
    for (name, variable, otherwise) in
        [("REVISION", "DB_POOL_EXPORTER_REVISION", "unknown"), ("BRANCH", "DB_POOL_EXPORTER_BRANCH", "")]
    {
        println!("cargo::rerun-if-env-changed={variable}");
        set(
            name,
            env::var_os(variable)
                .and_then(|v| v.into_string().ok())
                .as_deref()
                .unwrap_or(otherwise),
        );
    }
    println!("cargo::rerun-if-changed=build.rs");
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("--version").output().ok();
    let text = output.and_then(|output| String::from_utf8(output.stdout).ok()).unwrap_or_default();
    set("RUSTC", text.split_whitespace().nth(1).unwrap_or("unknown"));
}
