//! A command that prints a password, such as a short-lived token of RDS, Azure or Vault.
//!
//! It runs in a task of its own, one at a time, so that a probe that gives up neither kills it nor
//! starts a second one. Its standard error is discarded, because commands print tokens there too.

use std::pin::Pin;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::process::Child;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};
use zeroize::Zeroizing;

use crate::duration::rounded_seconds;
use crate::secret::Secret;

/// The most that is read of its output, in bytes. No token is longer.
const LONGEST: u64 = 64 * 1024;

/// A command, and how long its answer is cached. It runs without a shell, with our own environment.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordCommand {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// The limit after which it is killed, with all processes that it has started.
    pub timeout: Duration,
    /// The time for which its answer is used again; zero means not at all.
    pub keep: Duration,
}

/// Work that goes on when the caller has gone.
pub(super) type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The cached answer.
#[derive(Default)]
pub(super) struct Tokens {
    /// Held while the command runs.
    turn: tokio::sync::Mutex<()>,
    kept: Mutex<Option<(Secret, Instant)>>,
}

impl Tokens {
    /// Returns the cached answer, or a new one.
    pub(super) async fn get(
        self: &Arc<Self>,
        command: &PasswordCommand,
        spawn: impl FnOnce(Task),
    ) -> Result<Secret, String> {
        if let Some(token) = self.kept(command) {
            return Ok(token);
        }
        let (sender, receiver) = oneshot::channel();
        let tokens = Arc::clone(self);
        let command = command.clone();
        spawn(Box::pin(async move { drop(sender.send(tokens.renew(&command).await)) }));
        receiver.await.unwrap_or_else(|_| Err("the exporter is stopping".to_owned()))
    }

    /// Discards the cached answer.
    pub(super) fn forget(&self) {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn kept(&self, command: &PasswordCommand) -> Option<Secret> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let (token, since) = kept.as_ref()?;
        if since.elapsed() < command.keep { Some(token.clone()) } else { None }
    }

    async fn renew(&self, command: &PasswordCommand) -> Result<Secret, String> {
        let _turn = self.turn.lock().await;
        // Another caller may have renewed it while we waited.
        if let Some(token) = self.kept(command) {
            return Ok(token);
        }
        let token = run(command).await.map_err(|text| format!("password_command {text}"))?;
        let kept = (token.clone(), Instant::now());
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
        Ok(token)
    }
}

async fn run(command: &PasswordCommand) -> Result<Secret, String> {
    let (program, arguments) = command.argv.split_first().ok_or("names no program")?;
    let child = tokio::process::Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn();
    let child = child.map_err(|error| format!("cannot be run: {error}"))?;
    let mut group = Group(child);
    match timeout(command.timeout, group.answer()).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("took longer than {} s", rounded_seconds(command.timeout))),
    }
}

/// A program and all processes that it has started; they are killed when this is dropped.
struct Group(Child);

impl Group {
    async fn answer(&mut self) -> Result<Secret, String> {
        let mut bytes = Zeroizing::new(Vec::new());
        if let Some(pipe) = self.0.stdout.take() {
            let read = pipe.take(LONGEST).read_to_end(&mut bytes).await;
            read.map_err(|error| format!("cannot be read: {error}"))?;
        }
        let status = self.0.wait().await.map_err(|error| error.to_string())?;
        if !status.success() {
            return Err(format!("ended with {status}"));
        }
        let printed = std::mem::take(&mut *bytes);
        crate::files::secret(printed).map_err(|_| "printed nothing, or no text".to_owned())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Without an id it has ended and was waited for; its number may belong to another process.
        let id = self.0.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(group) = id {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn command(line: &str) -> PasswordCommand {
        let (timeout, keep) = (Duration::from_secs(20), Duration::from_secs(60));
        let argv = ["/bin/sh", "-c", line].map(str::to_owned).to_vec();
        PasswordCommand { argv, timeout, keep }
    }

    async fn get(tokens: &Arc<Tokens>, command: &PasswordCommand) -> Result<String, String> {
        #[expect(clippy::disallowed_methods, reason = "a test has no tracker")]
        let spawn = |task| drop(tokio::spawn(task));
        tokens.get(command, spawn).await.map(|token| token.reveal().to_owned())
    }

    #[tokio::test]
    async fn what_a_command_prints_is_kept_until_it_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("n");
        let command = command(&format!("echo x >> {0}; wc -l < {0}", file.display()));
        let tokens = Arc::new(Tokens::default());
        let (one, two) = tokio::join!(get(&tokens, &command), get(&tokens, &command));
        assert_eq!((one, two), (Ok("1".to_owned()), Ok("1".to_owned())));
        tokens.forget();
        assert_eq!(get(&tokens, &command).await, Ok("2".to_owned()));
        let command = PasswordCommand { keep: Duration::ZERO, ..command };
        assert_eq!(get(&tokens, &command).await, Ok("3".to_owned()));
    }

    #[tokio::test]
    async fn a_failure_tells_nothing_of_what_was_printed() {
        let tokens = Arc::new(Tokens::default());
        for (line, expected) in [
            ("echo secret; echo secret >&2; exit 3", "password_command ended with exit status: 3"),
            ("echo secret >&2", "password_command printed nothing, or no text"),
        ] {
            assert_eq!(get(&tokens, &command(line)).await, Err(expected.to_owned()));
        }
    }

    #[tokio::test]
    async fn a_slow_command_is_killed_with_all_that_it_has_started() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        let line = format!("sleep 60 & echo $! > {}; wait", file.display());
        let command = PasswordCommand { timeout: Duration::from_millis(300), ..command(&line) };
        let answer = get(&Arc::new(Tokens::default()), &command).await;
        assert_eq!(answer, Err("password_command took longer than 0.3 s".to_owned()));
        let pid = std::fs::read_to_string(file).unwrap();
        let process = Path::new("/proc").join(pid.trim()).join("stat");
        let is_gone =
            || std::fs::read_to_string(&process).map_or(true, |stat| stat.contains(") Z"));
        for _ in 0..200 {
            if is_gone() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the command's child is still there");
    }
}
