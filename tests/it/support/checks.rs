//! Runs the checks of `tests/monitoring/check.py` as tests, and programs that must succeed.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use super::installed;

/// Runs one function of `tests/monitoring/check.py`; fails with the problems that it prints.
pub(crate) fn check(name: &str) {
    static PROGRAMS: OnceLock<(String, String)> = OnceLock::new();
    let (python, promtool) =
        PROGRAMS.get_or_init(|| (installed(&["python"]), installed(&["promtool"])));
    succeeds(python, [&file("tests/monitoring/check.py"), name, promtool]);
}

/// Runs a program in the project's folder; if it fails, panics with its output.
pub(crate) fn succeeds<A: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = A>) {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let printed = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&printed));
}

/// A file of the project.
pub(crate) fn file(path: &str) -> String {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), path].iter().collect();
    path.to_str().expect("paths are UTF-8").to_owned()
}

/// Defines a test for each name; the check has the same name.
macro_rules! checks {
    ($($name:ident),+ $(,)?) => {
        $(
            #[test]
            fn $name() {
                $crate::support::checks::check(stringify!($name));
            }
        )+
    };
}
pub(crate) use checks;
