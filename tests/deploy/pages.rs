//! The manual page and the shell completions, generated from the command line; `make pages` updates them.

use std::process::Command;

use clap_complete::{Shell, generate};

use crate::{passed, read, root, run, run_with_input};

const NAME: &str = "db_pool_exporter";

/// The sections of the manual page that do not come from the command line, in roff.
const MORE: &str = r#".SH "EXIT STATUS"
.TP
\fB0\fR
The daemon was stopped by SIGTERM or SIGINT; the configuration is good; the daemon asked is alive.
.TP
\fB1\fR
It could not listen; the daemon asked is not alive.
.TP
\fB64\fR
Flags, variables or the configuration file are wrong. All problems are listed at once, without values.
.PP
Of \fBcheck\fR, as of a Nagios plugin: \fB0\fR healthy, \fB1\fR degraded, \fB2\fR unhealthy, \fB3\fR not to be judged.
.SH SIGNALS
.TP
\fBSIGHUP\fR
Reads the configuration again. If it is bad, the last good one stays.
.TP
\fBSIGTERM\fR, \fBSIGINT\fR
End the daemon; connections are closed as the server expects it.
.SH FILES
.TP
\fI/etc/default/db_pool_exporter\fR
The variables of the service.
.TP
\fI/etc/db_pool_exporter/secrets/\fR
Secrets, readable by root alone; the service finds them in
\fI/run/credentials/db_pool_exporter.service/secret_NAME\fR.
.SH EXAMPLES
.nf
DATABASE_URL=postgresql+asyncpg://app@db:5432/orders?ssl=require db_pool_exporter
db_pool_exporter config --config.file /etc/db_pool_exporter/config.yml
systemctl edit db_pool_exporter
.fi
"#;

fn manual() -> String {
    let mut page = Vec::new();
    let man = clap_mangen::Man::new(db_pool_exporter::cli::command_line()).date("").manual("");
    man.render(&mut page).expect("memory can be written");
    let page = String::from_utf8(page).expect("roff is text");
    let page: String = page.lines().map(|line| format!("{}\n", line.trim_end())).collect();
    match page.find(".SH VERSION") {
        Some(at) => format!("{}{}{MORE}{}", &page[..at], crate::reference::roff(), &page[at..]),
        None => page + &crate::reference::roff() + MORE,
    }
}

fn completion(shell: Shell) -> String {
    let mut script = Vec::new();
    generate(shell, &mut db_pool_exporter::cli::command_line(), NAME, &mut script);
    String::from_utf8(script).expect("a script is text")
}

fn holds(path: &str, wanted: &str) {
    let path = root(path);
    if std::env::var_os("UPDATE_PAGES").is_some() {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("the folder is made");
        std::fs::write(&path, wanted).expect("the page is written");
    }
    assert_eq!(read(&path), wanted, "out of date: run `make pages`");
}

#[test]
fn the_manual_page_is_that_of_the_command_line() {
    holds("deploy/man/db_pool_exporter.1", &manual());
}

#[test]
fn the_completions_are_those_of_the_command_line() {
    holds("deploy/completions/db_pool_exporter.bash", &completion(Shell::Bash));
    holds("deploy/completions/_db_pool_exporter", &completion(Shell::Zsh));
    holds("deploy/completions/db_pool_exporter.fish", &completion(Shell::Fish));
}

#[test]
fn bash_completes_flags_and_subcommands() {
    let script = format!(
        "source '{}'\nCOMP_WORDS=(db_pool_exporter --web.l); COMP_CWORD=1\n\
         _db_pool_exporter db_pool_exporter --web.l db_pool_exporter\necho \"${{COMPREPLY[@]}}\"\n",
        root("deploy/completions/db_pool_exporter.bash").display()
    );
    let printed = passed(&run_with_input(&mut Command::new("bash"), &script));
    assert!(printed.contains("--web.listen-address"), "{printed}");
}

#[test]
fn the_manual_page_is_well_formed() {
    if Command::new("man").arg("--version").output().is_err() {
        return;
    }
    let page = root("deploy/man/db_pool_exporter.1");
    let output =
        run(Command::new("man").args(["--warnings", "-E", "ascii", "-l", "-Tascii"]).arg(page));
    // man prints a bold letter as the letter, a backspace and the letter again.
    let mut printed = passed(&output);
    while let Some(at) = printed.find('\u{8}') {
        printed.replace_range(at - 1..=at, "");
    }
    assert!(printed.contains("EXIT STATUS") && printed.contains("web.listen"), "{printed}");
    assert!(output.stderr.is_empty(), "{}", crate::text(&output.stderr));
}
