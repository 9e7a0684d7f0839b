//! Chromium, driven by `tests/page/look.mjs`.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

/// A headless Chromium with one page. It ends when dropped.
pub(crate) struct Browser {
    child: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

/// A window: its width in pixels, and the colours that its user prefers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) width: u32,
    pub(crate) dark: bool,
    pub(crate) scripts: bool,
}

impl Default for Window {
    fn default() -> Self {
        Self { width: 1280, dark: false, scripts: true }
    }
}

impl Browser {
    pub(crate) fn start() -> Self {
        let top = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut child = Command::new("node")
            .arg(top.join("tests/page/look.mjs"))
            .args(["page", "chromium"].map(installed))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node is installed: scripts/setup.sh page");
        let commands = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().expect("piped"));
        let mut browser = Self { child, commands, answers };
        assert_eq!(browser.answer(), json!({"ready": true}));
        browser
    }

    /// Sends a command and returns its answer; a command that failed fails the test.
    pub(crate) fn ask(&mut self, command: &Value) -> Value {
        let commands = self.commands.as_mut().expect("it runs");
        writeln!(commands, "{command}").expect("Chromium takes commands");
        commands.flush().expect("Chromium takes commands");
        let answer = self.answer();
        assert!(answer.get("error").is_none(), "{command}: {answer}");
        answer
    }

    pub(crate) fn open(&mut self, url: &str, window: Window) -> Value {
        let Window { width, dark, scripts } = window;
        let height = if width < 500 { 844 } else { 800 };
        self.ask(&json!({
            "do": "open", "url": url, "width": width, "height": height, "dark": dark, "scripts": scripts,
        }))
    }

    /// What stands on the page, and what is wrong with it.
    pub(crate) fn report(&mut self) -> Value {
        self.ask(&json!({"do": "report"}))
    }

    fn answer(&mut self) -> Value {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("Chromium answers");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The end of its input ends the driver, and with it Chromium.
        drop(self.commands.take());
        let _ = self.child.wait();
    }
}

fn installed(what: &str) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/setup.sh");
    let output = Command::new(script).args(["--print", what]).output().expect("a script");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("paths are UTF-8").trim().to_owned()
}
