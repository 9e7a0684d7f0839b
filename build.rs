//! Records the revision, the branch and the compiler in the binary, and lists the runbooks that it holds.
//!
//! Who builds a release names revision and branch by variables, because releases are also built from
//! archives. Without them a release build in a Git clone asks Git. Other builds do not: every commit would
//! compile the whole crate again.

use std::env;
use std::path::Path;
use std::process::Command;

const REVISION: &str = "DB_POOL_EXPORTER_REVISION";
const BRANCH: &str = "DB_POOL_EXPORTER_BRANCH";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed={REVISION}");
    println!("cargo::rerun-if-env-changed={BRANCH}");
    let (revision, branch) = match given(REVISION) {
        Some(revision) => (revision, given(BRANCH).unwrap_or_default()),
        None => of_clone().unwrap_or_else(|| ("unknown".to_owned(), String::new())),
    };
    println!("cargo::rustc-env={REVISION}={revision}");
    println!("cargo::rustc-env={BRANCH}={branch}");
    println!("cargo::rustc-env=DB_POOL_EXPORTER_RUSTC={}", compiler());
    list_runbooks();
}

/// Writes a table of name and text of every page of docs/runbooks, for `src/api/runbook.rs`.
fn list_runbooks() {
    let Some(out) = env::var_os("OUT_DIR") else { return };
    let folder =
        Path::new(&env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("docs/runbooks");
    println!("cargo::rerun-if-changed={}", folder.display());
    let files = std::fs::read_dir(&folder).expect("docs/runbooks can be read");
    let names = files.filter_map(|file| file.ok()?.file_name().into_string().ok());
    let names = names.filter_map(|name| name.strip_suffix(".md").map(str::to_owned));
    let mut names: Vec<String> = names.filter(|name| name != "README").collect();
    names.sort();
    let rows = names.iter().map(|name| {
        let path = folder.join(format!("{name}.md"));
        format!("    ({name:?}, include_str!({path:?})),\n")
    });
    let table = format!("&[\n{}]\n", rows.collect::<String>());
    std::fs::write(Path::new(&out).join("runbooks.rs"), table)
        .expect("the build folder can be written");
}

/// Returns the value of a build-time variable.
fn given(name: &str) -> Option<String> {
    env::var_os(name).and_then(|value| value.into_string().ok()).filter(|value| !value.is_empty())
}

/// Returns the revision and the branch of the clone that a release is built in. A revision with changes that
/// are not committed ends in `-modified`.
fn of_clone() -> Option<(String, String)> {
    if env::var_os("PROFILE")? != "release" {
        return None;
    }
    // An unpacked archive may lie inside of another repository.
    let here = Path::new(&env::var_os("CARGO_MANIFEST_DIR")?).canonicalize().ok()?;
    if Path::new(&git(&["rev-parse", "--show-toplevel"])?).canonicalize().ok()? != here {
        return None;
    }
    // The log of HEAD changes with every commit and every checkout.
    for file in ["HEAD", "logs/HEAD"] {
        println!("cargo::rerun-if-changed={}", git(&["rev-parse", "--git-path", file])?);
    }
    for path in ["src", "crates", "Cargo.toml", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={path}");
    }
    let revision = git(&["rev-parse", "HEAD"])?;
    let changes = git(&["status", "--porcelain", "--untracked-files=no"])?;
    let suffix = if changes.is_empty() { "" } else { "-modified" };
    let branch = git(&["branch", "--show-current"]).unwrap_or_default();
    Some((format!("{revision}{suffix}"), branch))
}

fn git(arguments: &[&str]) -> Option<String> {
    let output =
        Command::new("git").args(arguments).output().ok().filter(|o| o.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

/// Returns the compiler's version, or `unknown`.
fn compiler() -> String {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("--version").output().ok();
    let text = output.and_then(|output| String::from_utf8(output.stdout).ok()).unwrap_or_default();
    text.split_whitespace().nth(1).unwrap_or("unknown").to_owned()
}
