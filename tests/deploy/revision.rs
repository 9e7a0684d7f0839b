//! The revision that `--version` and `db_pool_exporter_build_info` report: the build script itself, run in a clone and
//! outside of one, and the variables that the release's scripts give it.

use std::path::Path;
use std::process::Command;

use crate::{passed, read, root, run};

/// Compiles the build script into a folder.
fn build_script(folder: &Path) -> std::path::PathBuf {
    let program = folder.join("build-script");
    let mut rustc = Command::new("rustc");
    rustc.arg("--edition=2024").arg("-o").arg(&program).arg(root("build.rs"));
    passed(&run(rustc.current_dir(root(""))));
    program
}

/// The revision and the branch that the script hands to the compiler.
fn recorded(script: &Path, folder: &Path, variables: &[(&str, &str)]) -> (String, String) {
    let mut command = Command::new(script);
    command.current_dir(folder).env("CARGO_MANIFEST_DIR", folder).env("PROFILE", "release");
    command.env_remove("DB_POOL_EXPORTER_REVISION").env_remove("DB_POOL_EXPORTER_BRANCH");
    command.env_remove("OUT_DIR");
    let text = passed(&run(command.envs(variables.iter().copied())));
    let value = |name: &str| {
        let start = format!("cargo::rustc-env=DB_POOL_EXPORTER_{name}=");
        let found = text.lines().find_map(|line| line.strip_prefix(&start));
        found.unwrap_or_else(|| panic!("no {name} in {text}")).to_owned()
    };
    (value("REVISION"), value("BRANCH"))
}

fn git(folder: &Path, arguments: &[&str]) -> String {
    let identity =
        ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"];
    let mut command = Command::new("git");
    passed(&run(command.args(identity).args(arguments).current_dir(folder))).trim().to_owned()
}

#[test]
fn a_clone_knows_its_revision_and_an_archive_what_it_is_given() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = build_script(folder.path());
    let clone = folder.path().join("clone");
    std::fs::create_dir_all(clone.join("archive")).expect("a folder");
    std::fs::write(clone.join("file"), "1").expect("a file");
    git(&clone, &["init", "--quiet", "--initial-branch=trunk"]);
    git(&clone, &["add", "file"]);
    git(&clone, &["commit", "--quiet", "--message=one"]);
    let head = git(&clone, &["rev-parse", "HEAD"]);
    let unknown = ("unknown".to_owned(), String::new());
    assert_eq!(recorded(&script, &clone, &[]), (head.clone(), "trunk".to_owned()));
    assert_eq!(recorded(&script, &clone, &[("PROFILE", "debug")]), unknown);
    assert_eq!(recorded(&script, folder.path(), &[]), unknown, "no clone");
    assert_eq!(recorded(&script, &clone.join("archive"), &[]), unknown, "inside of another clone");
    let given = [("DB_POOL_EXPORTER_REVISION", "abc"), ("DB_POOL_EXPORTER_BRANCH", "b")];
    assert_eq!(recorded(&script, &clone, &given), ("abc".to_owned(), "b".to_owned()));
    std::fs::write(clone.join("file"), "2").expect("a file");
    assert_eq!(recorded(&script, &clone, &[]).0, format!("{head}-modified"));
}

#[test]
fn who_builds_a_release_sets_the_variable_that_the_build_script_reads() {
    assert!(read(root("build.rs")).contains("\"DB_POOL_EXPORTER_REVISION\""));
    assert!(read(root("scripts/dist.sh")).contains("export DB_POOL_EXPORTER_REVISION="));
    assert!(
        read(root("deploy/container/Dockerfile"))
            .contains("ENV DB_POOL_EXPORTER_REVISION=${REVISION}\n")
    );
    for file in ["scripts/dist.sh", "deploy/container/Dockerfile"] {
        assert!(!read(root(file)).contains("BUILD_REVISION"), "{file}");
    }
}
