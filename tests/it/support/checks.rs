//! The checks of `tests/monitoring/check.py`, each run as a test, and programs that have to succeed.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use super::installed;

/// Runs one function of `tests/monitoring/check.py`; fails with the problems that it tells.
pub(crate) fn check(name: &str) {
    static PROGRAMS: OnceLock<(String, String)> = OnceLock::new();
    let (python, promtool) =
        PROGRAMS.get_or_init(|| (installed(&["python"]), installed(&["promtool"])));
    succeeds(python, [&file("tests/monitoring/check.py"), name, promtool]);
}

/// Runs a program in the project's folder; fails with what it says when it fails.
pub(crate) fn succeeds<A: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = A>) {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
}

/// A file of the project.
pub(crate) fn file(path: &str) -> String {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), path].iter().collect();
    path.to_str().expect("paths are UTF-8").to_owned()
}

/// Makes a test of each name, which is also the name of its check.
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
