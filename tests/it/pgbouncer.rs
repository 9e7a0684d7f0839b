//! The consoles of PgBouncer and of other poolers.
//!
//! | situation | must be said |
//! | --- | --- |
//! | any version from 1.8 to the newest | every view is read; what the version lacks is absent |
//! | a busy pool | the numbers of SHOW at the same moment; a wait as long as the oldest one |
//! | the server is down, frozen, or lacks the role; PAUSE | waiters, and a wait that grows, whatever `maxwait` is |
//! | RELOAD, a removed database, a restart | counters never fall |
//! | SUSPEND, or a console that hangs | `_up` 0 by the deadline, and 1 again afterwards |
//! | two processes behind one port | each apart; or a warning that it is any one of them |
//! | the wrong end: a server, a database, a user without rights | a reason and a hint that names the mend |
//! | pgcat, pgdog, odyssey | their own units; nothing that they write as a constant |

mod others;
mod processes;
mod real;
mod stalls;
mod versions;
mod wrong;

use std::fs;

use crate::support::process::Program;
use crate::support::workplace;

/// A daemon with this configuration.
fn daemon(targets: &str) -> Program {
    let file = workplace::folder("consoles").join("exporter.yml");
    fs::write(&file, format!("targets:\n{targets}")).expect("the folder is ours");
    Program::daemon().arg("--config.file").arg(&file).start()
}
