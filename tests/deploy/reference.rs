//! The pages that are made from the table of options and the command line: docs/configuration.md's tables,
//! config.example.yml, the service's environment file and the manual page's ENVIRONMENT.
//!
//! `make config-docs` writes them; the tests below hold that they are up to date.

use std::fmt::Write as _;

use db_pool_exporter::config::{OptionDoc, Place, VariableDoc, reference};

use crate::variables::{flags, shown, variable};
use crate::{read, root};

const WIDTH: usize = 100;

/// Compares a page with what the code makes of it; with UPDATE_CONFIG_DOCS=1 writes it first.
fn holds(path: &str, wanted: &str) {
    if std::env::var_os("UPDATE_CONFIG_DOCS").is_some() {
        // At once: other tests read the page at the same time.
        let new = root(&format!("{path}.new"));
        std::fs::write(&new, wanted).expect("the page is written");
        std::fs::rename(new, root(path)).expect("the page is replaced");
    }
    assert!(read(root(path)) == wanted, "{path} is out of date: make config-docs");
}

/// A flag as the pages describe it.
struct Flag {
    name: String,
    default: String,
    is_in_words: bool,
    doc: String,
}

/// The flags, with the defaults that their help texts name; a switch is off.
fn flag_docs() -> Vec<Flag> {
    let command = db_pool_exporter::cli::command_line();
    let in_force = shown([], None);
    let describe = |name: &String| {
        let argument = command.get_arguments().find(|arg| arg.get_long() == Some(name))?;
        let help = argument.get_help()?.to_string();
        let (doc, words) = match help.split_once(" [default: ") {
            Some((doc, words)) => {
                (doc.to_owned(), words.trim_end_matches("].").trim_end_matches(']'))
            }
            None => (help.trim_end_matches('.').to_owned(), ""),
        };
        let value = in_force.get(&format!("flags.{name}")).map_or("", String::as_str);
        let default = if value == "false" { value } else { words };
        let is_in_words = default.contains(' ');
        Some(Flag { name: name.clone(), default: default.to_owned(), is_in_words, doc })
    };
    flags().iter().filter_map(describe).collect()
}

#[test]
fn the_tables_of_the_configuration_page_are_those_of_the_code() {
    let path = "docs/configuration.md";
    let options = reference();
    let variables = |is_application| {
        let all = options.iter().flat_map(|option| &option.variables);
        variable_table(all.filter(|v| v.is_application == is_application))
    };
    let mut page = read(root(path));
    page = replaced(&page, "variables of the application", &variables(true));
    page = replaced(&page, "variables of the exporter", &variables(false));
    page = replaced(&page, "flags", &flag_table(&flag_docs()));
    for (title, place) in [
        ("keys at the top", Place::Top),
        ("keys of defaults and targets", Place::DefaultsAndTargets),
        ("keys of targets", Place::Targets),
        ("keys of applications", Place::Applications),
        ("keys of modules", Place::AuthModules),
    ] {
        page = replaced(&page, title, &key_table(options.iter().filter(|o| o.place == place)));
    }
    holds(path, &page);
}

/// Replaces the block between the marks of a table.
fn replaced(page: &str, title: &str, table: &str) -> String {
    let begin = format!("<!-- table: {title} -->\n");
    let (before, rest) = page.split_once(&begin).unwrap_or_else(|| panic!("no mark {begin}"));
    let (_, after) = rest.split_once("<!-- end -->").expect("the end of the table");
    format!("{before}{begin}\n{table}\n<!-- end -->{after}")
}

fn variable_table<'a>(variables: impl Iterator<Item = &'a VariableDoc>) -> String {
    let mut table =
        String::from("| variable | default | values | what it does |\n| --- | --- | --- | --- |\n");
    for v in variables {
        let default = code(&v.default, v.is_in_words);
        let _ = writeln!(table, "| `{}` | {default} | {} | {} |", v.name, v.range, v.doc);
    }
    table
}

fn key_table<'a>(options: impl Iterator<Item = &'a OptionDoc>) -> String {
    let mut table = String::from(
        "| key | default | values | variable | what it does |\n| --- | --- | --- | --- | --- |\n",
    );
    for o in options {
        let variables: Vec<_> = o.variables.iter().map(|v| format!("`{}`", v.name)).collect();
        let _ = writeln!(
            table,
            "| `{}` | {} | {} | {} | {} |",
            o.key,
            code(&o.default, true),
            o.range,
            variables.join(", "),
            o.doc
        );
    }
    table
}

fn flag_table(flags: &[Flag]) -> String {
    let mut table = String::from("| flag | default | what it does |\n| --- | --- | --- |\n");
    for flag in flags {
        let default = code(&flag.default, flag.is_in_words);
        let _ = writeln!(table, "| `--{}` | {default} | {} |", flag.name, flag.doc);
    }
    table
}

/// A default in a cell: as code if it has signs that Markdown could take for its own.
fn code(default: &str, is_in_words: bool) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    if is_in_words || default.chars().all(is_plain) {
        default.to_owned()
    } else {
        format!("`{default}`")
    }
}

/// Markdown as plain text: links and code without their marks.
fn plain(text: &str) -> String {
    let mut plain = text.replace("**", "").replace('`', "");
    while let Some((before, after)) = plain.split_once("](") {
        let (before, words) = before.rsplit_once('[').expect("the words of a link");
        let (_, after) = after.split_once(')').expect("the end of a link");
        plain = format!("{before}{words}{after}");
    }
    plain
}

/// A description as a sentence.
fn sentence(text: &str) -> String {
    let begins_with_code = text.starts_with('`');
    let text = plain(text);
    if begins_with_code {
        return format!("{}.", text.trim_end_matches('.'));
    }
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_ascii_uppercase()).unwrap_or_default();
    format!("{first}{}.", chars.as_str().trim_end_matches('.'))
}

/// Wraps a text into comment lines.
fn comment(text: &str, indent: usize) -> String {
    let mut lines = String::new();
    let mut line = String::new();
    for word in text.split(' ') {
        if line.len() + word.len() + indent + 3 > WIDTH && !line.is_empty() {
            let _ = writeln!(lines, "{:indent$}#{line}", "");
            line.clear();
        }
        line = format!("{line} {word}");
    }
    let _ = writeln!(lines, "{:indent$}#{line}", "");
    lines
}

#[test]
fn the_environment_file_is_that_of_the_code() {
    holds("deploy/systemd/db_pool_exporter.env", &environment_file());
}

const ENVIRONMENT_HEAD: &str = "\
# What db_pool_exporter watches, and how: read by systemd as /etc/default/db_pool_exporter, or by a container
# as its env file. A line that begins with # is not in force and shows the default; an empty value counts as
# unset. After a change: systemctl restart db_pool_exporter. Without DATABASE_URL, and with
# APP_ENV=production, the daemon does not start: exit code 64, and the log names the reason.
#
# The first two parts are the application's own: the same file can serve both, so that the exporter judges
# the pool by the limits that the application really has. Made from the code by `make config-docs`.
";

const SECRETS: &str = "\
# Keep a secret in a file. Under systemd put it into /etc/db_pool_exporter/secrets (readable by root only) and
# name it here as shown. A variable and its _FILE together are refused.
";

/// Values that the packaged file sets.
const PRESET: [(&str, &str); 1] = [("APP_ENV", "production")];

/// Paths of the flags' files under systemd.
const FILES: [(&str, &str); 2] = [
    ("config.file", "/etc/db_pool_exporter/config.yml"),
    ("web.config.file", "/etc/db_pool_exporter/web.yml"),
];

fn environment_file() -> String {
    let options = reference();
    let is_database = |o: &&OptionDoc| {
        o.place == Place::Targets || o.variables.iter().any(|v| v.name == "APP_ENV")
    };
    let variables = |is_wanted: &dyn Fn(&&OptionDoc, &VariableDoc) -> bool| -> String {
        let of = |o: &OptionDoc| -> String {
            o.variables.iter().filter(|v| is_wanted(&o, v)).map(assignment).collect()
        };
        options.iter().map(of).collect()
    };
    let mut file = String::from(ENVIRONMENT_HEAD);
    file += &heading("The database");
    file += SECRETS;
    file += &variables(&|o, _| is_database(o));
    file += &heading("The pool, as the application has it");
    file += &variables(&|o, v| !is_database(o) && v.is_application);
    file += &heading("The monitor");
    file += &variables(&|o, v| !is_database(o) && !v.is_application);
    file += &heading("The daemon: each is a flag too, see db_pool_exporter(1)");
    // In a service that only checks its configuration there is nothing to start.
    for flag in flag_docs().iter().filter(|flag| flag.name != "config.check") {
        file += &flag_assignment(flag);
    }
    file
}

fn heading(title: &str) -> String {
    format!("\n# --- {title} {}\n\n", "-".repeat(WIDTH.saturating_sub(7 + title.len())))
}

fn assignment(variable: &VariableDoc) -> String {
    let name = variable.name;
    let mut text = sentence(variable.doc);
    if variable.range.contains("seconds") {
        text += " In seconds.";
    }
    if variable.is_in_words {
        let _ = write!(text, " Default: {}.", plain(&variable.default));
    }
    let text = comment(&text, 0);
    if let Some((_, value)) = PRESET.iter().find(|(preset, _)| *preset == name) {
        return format!("{text}{name}={value}\n");
    }
    let secret = name.strip_suffix("_FILE").map(str::to_ascii_lowercase);
    let value = match (secret, variable.is_in_words || variable.default == "none") {
        (Some(name), _) => format!("/run/credentials/db_pool_exporter.service/secret_{name}"),
        (None, true) => String::new(),
        (None, false) => variable.default.clone(),
    };
    format!("{text}#{name}={value}\n")
}

fn flag_assignment(flag: &Flag) -> String {
    let mut text = sentence(&flag.doc);
    if flag.is_in_words {
        let _ = write!(text, " Default: {}.", plain(&flag.default));
    }
    let path = FILES.iter().find(|(name, _)| *name == flag.name).map(|(_, path)| *path);
    let value = if flag.is_in_words { "" } else { path.unwrap_or(&flag.default) };
    format!("{}#{}={value}\n", comment(&text, 0), variable(&flag.name))
}

#[test]
fn the_example_file_is_that_of_the_code() {
    holds("config.example.yml", &example_file());
}

const EXAMPLE_HEAD: &str = "\
# The configuration of db_pool_exporter: every key, with its default where there is one.
#
# Durations are written `1m30s`, `250ms`, or as plain seconds. A null (`~`) counts as absent. Relative paths
# begin at this file's folder. Unknown keys are refused. Check with --config.check; the subcommand `config`
# shows the configuration in force, and the origin of each value.
# Precedence: defaults, this file, variables (for the target `default`), flags.
# Made from the code by `make config-docs`.
";

const TARGETS: &str = "
# The databases. Without any, and whenever DATABASE_URL is set, there is also the target `default`, which the
# variables describe. A target takes every key of `defaults`, and these:
targets:
  orders:
";

const MORE_TARGETS: &str = "
  reports:
    url: postgresql://app@reports.example/reports
    interval: 15s
    pool: { size: 10, max_overflow: 5 }
    applications:
      billing: { match: { application_name: billing }, pool: fixed, min: 2, max: 10, instances: 2 }
    password_command:
      command: [cat, /dev/null]
      timeout: 5s
      cache: 10m

  bouncer:
    kind: pgbouncer
    url: postgresql://stats@bouncer.example:6432/pgbouncer
    query: SHOW VERSION
    discover: peers

  bouncer-by-socket:
    url: postgresql://stats@localhost:6432/pgbouncer
    processes: [/run/pgbouncer-1, /run/pgbouncer-2]

# The logins of /probe?target=..&auth_module=.., and the addresses that each may be used for.
auth_modules:
  app:
";

/// Sections whose content users choose, and values of keys that only make sense in another form.
const WRITTEN: [(&str, &str); 15] = [
    ("targets_from", "# targets_from: [ conf.d/*.yml ]"),
    ("databases", ""),
    ("min", "# min: 2"),
    ("max", "# max: 10"),
    ("status_bearer_token_file", "# status_bearer_token_file: /run/secrets/status-token"),
    ("status_username", "# status_username: monitor"),
    ("status_password_file", "# status_password_file: /run/secrets/status-password"),
    ("password", "password: example"),
    ("password_file", "# password_file: /run/secrets/orders"),
    (
        "password_command",
        "# password_command: { command: [aws, rds, generate-db-auth-token, --hostname, db.example] }",
    ),
    ("labels", "labels: { team: payments }"),
    ("discover", "# discover: peers"),
    ("processes", "# processes: [/run/pgbouncer-1, /run/pgbouncer-2]"),
    ("options", "options: { application_name: probe }"),
    ("views.statements", ""),
];

fn example_file() -> String {
    let options = reference();
    let place = |place| options.iter().filter(move |o| o.place == place);
    let mut file = String::from(EXAMPLE_HEAD);
    for option in place(Place::Top) {
        file += "\n";
        file += &key(option, option.key, 0);
    }
    file += "\n# Options of each target that does not set them itself.\ndefaults:\n";
    file += &section(place(Place::DefaultsAndTargets), 2);
    file += TARGETS;
    let (applications, others): (Vec<_>, Vec<_>) =
        place(Place::Targets).partition(|o| o.key == "applications");
    let others = others.into_iter().filter(|o| !o.key.starts_with("password_command."));
    file += &section(others, 4);
    file += &section(applications.into_iter(), 4);
    file += "      sentinelops:\n";
    file += &section(place(Place::Applications), 8);
    file += MORE_TARGETS;
    file += &section(place(Place::AuthModules), 4)
        .replace("      username: monitor\n", "      username: monitor\n      password: example\n");
    file
}

/// Writes options below a section, those of a common section together.
fn section<'a>(options: impl Iterator<Item = &'a OptionDoc>, indent: usize) -> String {
    let mut text = String::new();
    let mut open: Vec<&str> = Vec::new();
    for option in options {
        let (key_name, sections) = match option.key.rsplit_once('.') {
            Some((sections, key)) => (key, sections.split('.').collect()),
            None => (option.key, Vec::new()),
        };
        let shared = open.iter().zip(&sections).take_while(|(a, b)| a == b).count();
        for (depth, name) in sections.iter().enumerate().skip(shared) {
            let indent = indent + depth * 2;
            let _ = writeln!(text, "{:indent$}{name}:", "");
        }
        text += &key(option, key_name, indent + sections.len() * 2);
        open = sections;
    }
    text
}

/// Writes a key with its description above it.
fn key(option: &OptionDoc, name: &str, indent: usize) -> String {
    let mut text = sentence(option.doc);
    if !["text", "table", "switch"].contains(&option.range.as_str()) {
        let _ = write!(text, " Values: {}.", plain(&option.range));
    }
    if option.example.is_some() && !option.default.is_empty() && option.default != "none" {
        let _ = write!(text, " Default: {}.", plain(&option.default));
    }
    let variables: Vec<_> = option.variables.iter().map(|v| v.name).collect();
    if !variables.is_empty() {
        let _ = write!(text, " Variable {}.", variables.join(" or "));
    }
    let mut lines = comment(&text, indent);
    let written = WRITTEN.iter().find(|(key, _)| *key == option.key).map(|(_, line)| *line);
    let value = option.example.unwrap_or(&option.default);
    match written {
        Some("") => {}
        Some(line) => drop(writeln!(lines, "{:indent$}{line}", "")),
        None if option.is_section => drop(writeln!(lines, "{:indent$}{name}:", "")),
        None => drop(writeln!(lines, "{:indent$}{name}: {value}", "")),
    }
    lines
}

/// The manual page's section on variables, in roff.
pub(crate) fn roff() -> String {
    let mut page = String::from(
        ".SH ENVIRONMENT\nThe variables of the application describe the target \\fIdefault\\fR. An empty variable \
         counts as unset.\nEvery flag is a variable too: \\fBDB_POOL_EXPORTER_\\fR and the flag in capitals, with \
         underscores for dots\nand dashes. Flags win over variables, and these over the configuration file.\n",
    );
    for variable in reference().iter().flat_map(|option| &option.variables) {
        let default = match variable.default.as_str() {
            "" | "none" => String::new(),
            default => format!(" Default: {}.", plain(default)),
        };
        let unit = if variable.range.contains("seconds") { " In seconds." } else { "" };
        let text = format!("{}{unit}{default}", sentence(variable.doc)).replace('\\', "\\e");
        let _ = write!(page, ".TP\n\\fB{}\\fR\n{text}\n", variable.name);
    }
    page
}
