//! The manual page and the shell completions, generated from the command line; `make pages` updates them.

use std::process::Command;

use clap::builder::Resettable;
use clap_complete::{Shell, generate};
use db_pool_exporter::cli::{Extra, extra};

use crate::{passed, read, root, run, run_with_input};

const NAME: &str = "db_pool_exporter";

/// The foot of every page.
const SOURCE: &str = concat!("db_pool_exporter ", env!("CARGO_PKG_VERSION"));

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
The subcommands have codes of their own: see their pages.
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

/// The pages by their file names: that of the program, and one of each subcommand.
fn manuals() -> Vec<(String, String)> {
    let mut command = db_pool_exporter::cli::command_line().disable_help_subcommand(true);
    command.build();
    let own = (format!("{NAME}.1"), manual(&command, &(crate::reference::roff() + MORE)));
    let subcommands = command.get_subcommands().filter(|sub| !sub.is_hide_set());
    let subcommands = subcommands.map(|sub| {
        let more = extra(sub.get_name()).map(more).unwrap_or_default();
        (format!("{NAME}-{}.1", sub.get_name()), manual(sub, &more))
    });
    [own].into_iter().chain(subcommands).collect()
}

/// A page with further sections before its last one.
fn manual(command: &clap::Command, more: &str) -> String {
    let command = command.clone().after_long_help(Resettable::Reset);
    let mut page = Vec::new();
    let man = clap_mangen::Man::new(command).date("").manual("").source(SOURCE);
    man.render(&mut page).expect("memory can be written");
    let page = String::from_utf8(page).expect("roff is text");
    let page: String = page.lines().map(|line| format!("{}\n", line.trim_end())).collect();
    match page.find(".SH VERSION") {
        Some(at) => format!("{}{more}{}", &page[..at], &page[at..]),
        None => page + more,
    }
}

/// The further sections of a subcommand.
fn more(extra: &Extra) -> String {
    let plain = |text: &str| text.replace('\\', "\\e").replace('-', "\\-");
    let list = |head: &str, rows: &[(&str, &str)]| {
        let rows = rows
            .iter()
            .map(|(name, meaning)| format!(".TP\n\\fB{}\\fR\n{}\n", plain(name), plain(meaning)));
        let rows: String = rows.collect();
        if rows.is_empty() { rows } else { format!(".SH \"{head}\"\n{rows}") }
    };
    let examples: String = extra
        .examples
        .iter()
        .map(|(line, what)| format!("# {}\n{}\n\n", plain(what), plain(line)))
        .collect();
    let examples = if examples.is_empty() {
        examples
    } else {
        format!(".SH EXAMPLES\n.nf\n{}\n.fi\n", examples.trim_end())
    };
    let see = format!(".SH \"SEE ALSO\"\n\\fB{NAME}\\fR(1)\n");
    list("ENVIRONMENT", extra.environment) + &list("EXIT STATUS", extra.exit) + &examples + &see
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
    for (name, page) in manuals() {
        holds(&format!("deploy/man/{name}"), &page);
    }
}

#[test]
fn every_manual_page_that_is_named_is_shipped_and_no_other() {
    let page = read(root("deploy/man/db_pool_exporter.1")).replace("\\-", "-");
    let named = page.lines().filter_map(|line| line.strip_suffix("(1)"));
    let mut named: Vec<String> = named.map(|name| format!("{name}.1")).collect();
    named.push("db_pool_exporter.1".to_owned());
    let shipped = std::fs::read_dir(root("deploy/man")).expect("a folder");
    let shipped = shipped.map(|entry| entry.expect("an entry").file_name().into_string());
    let mut shipped: Vec<String> = shipped.map(|name| name.expect("a plain name")).collect();
    named.sort();
    shipped.sort();
    assert_eq!(named, shipped);
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
fn bash_completes_values() {
    let completed = |words: &[&str], expected: &[&str]| {
        let (last, previous) = (words.last().unwrap_or(&""), words[words.len() - 2]);
        let script = format!(
            "source '{}'\nCOMP_WORDS=(db_pool_exporter {}); COMP_CWORD={}\n\
             _db_pool_exporter db_pool_exporter '{last}' '{previous}'\necho \"${{COMPREPLY[@]}}\"\n",
            root("deploy/completions/db_pool_exporter.bash").display(),
            words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" "),
            words.len()
        );
        let printed = passed(&run_with_input(&mut Command::new("bash"), &script));
        let printed: Vec<&str> = printed.split_whitespace().collect();
        assert_eq!(printed, expected, "{words:?}");
    };
    completed(&["serve", "--log.level", "d"], &["debug"]);
    completed(&["check", "--format", ""], &["table", "json"]);
    completed(&["check", "--color", "a"], &["auto", "always"]);
    completed(&["completions", "f"], &["fish"]);
}

#[test]
fn the_program_prints_its_completions() {
    if std::env::var_os("UPDATE_PAGES").is_some() {
        // The program was compiled with the scripts as they were.
        return;
    }
    for (shell, path) in [
        ("bash", "deploy/completions/db_pool_exporter.bash"),
        ("zsh", "deploy/completions/_db_pool_exporter"),
        ("fish", "deploy/completions/db_pool_exporter.fish"),
    ] {
        let mut program = Command::new(env!("CARGO_BIN_EXE_db_pool_exporter"));
        let printed = passed(&run(program.args(["completions", shell])));
        assert!(printed == read(root(path)), "{shell}");
    }
}

#[test]
fn the_manual_page_is_well_formed() {
    if Command::new("man").arg("--version").output().is_err() {
        return;
    }
    for (name, words) in [
        ("db_pool_exporter.1", "web.listen"),
        ("db_pool_exporter-check.1", "--samples"),
        ("db_pool_exporter-size.1", "--prometheus.url"),
        ("db_pool_exporter-drill.1", "--yes"),
    ] {
        let page = root("deploy/man").join(name);
        let output =
            run(Command::new("man").args(["--warnings", "-E", "ascii", "-l", "-Tascii"]).arg(page));
        // man prints a bold letter as the letter, a backspace and the letter again.
        let mut printed = passed(&output);
        while let Some(at) = printed.find('\u{8}') {
            printed.replace_range(at - 1..=at, "");
        }
        for word in ["ENVIRONMENT", "EXIT STATUS", "EXAMPLES", words] {
            assert!(printed.contains(word), "{name}: {word}: {printed}");
        }
        assert!(output.stderr.is_empty(), "{}", crate::text(&output.stderr));
    }
}
