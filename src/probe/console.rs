//! Sends commands to a pooler's console.
//!
//! A console takes one command a query, in the simple protocol, and has no transactions.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::snapshot::Failure;
use crate::pool::{Checkout, Peer, QueryError, Reason};
use crate::view::Memory;
use crate::view::pgbouncer::{ConsoleAnswers, Table};

/// The answers to a view's commands.
pub(super) struct Shown {
    pub(super) answers: ConsoleAnswers,
    /// The failure of the command after which no other was sent.
    pub(super) failure: Option<Failure>,
}

/// Sends commands one after the other. One that the console does not have is left out, and not sent again; the first
/// one is essential.
///
/// `memory` gives access to what the views remember.
pub(super) async fn show(
    commands: &[&'static str],
    connection: &mut Checkout,
    limit: Duration,
    memory: impl Fn(&mut dyn FnMut(&mut Memory)),
) -> Shown {
    let server = connection.server().clone();
    let mut tables = BTreeMap::new();
    let mut failure = None;
    for (n, command) in commands.iter().copied().enumerate() {
        let mut is_missing = false;
        memory(&mut |memory| is_missing = memory.is_missing(&server.version, command));
        if is_missing {
            continue;
        }
        match connection.simple(command, limit).await {
            Ok(messages) => drop(tables.insert(command, Table::of(&messages))),
            Err(error) if n > 0 && is_unknown(&error) => {
                memory(&mut |memory| memory.console_lacks(&server.version, command));
            }
            Err(error) => {
                failure = Some(failed(error));
                break;
            }
        }
    }
    let is_tcp = matches!(server.peer, Peer::Tcp(_));
    let answers = ConsoleAnswers {
        server_version: server.version,
        connection: server.pid,
        is_tcp,
        at: Instant::now(),
        tables,
    };
    Shown { answers, failure }
}

/// Reports whether a console has refused a command because it does not know it. Each pooler has words of its own.
fn is_unknown(error: &QueryError) -> bool {
    const WORDS: [&str; 4] =
        ["nsupported SHOW", "unknown command", "syntax error in admin", "console command error"];
    let message = error.to_string();
    error.reason() == Reason::WrongKind || WORDS.iter().any(|words| message.contains(words))
}

/// A server takes `SHOW POOLS` for a setting that it does not have.
fn failed(error: QueryError) -> Failure {
    let is_server = error.sqlstate() == Some("42704");
    let failure = Failure::from(error);
    if is_server { Failure { reason: Reason::WrongKind, ..failure } } else { failure }
}
