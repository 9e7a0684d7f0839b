//! Tests of the room as a whole: precedence, completeness, and that no value is ever printed.

use std::time::Duration;

use ::config::FileFormat;

use super::*;
use crate::pool::PasswordSource;
use crate::probe::TargetKind;
use crate::view::Pattern;
use crate::view::application::NameMatch;
use crate::view::statements;

mod modules;
mod printed;
mod sources;
mod target_files;

const EXAMPLE: &str = include_str!("../../config.example.yml");

/// Text that must appear nowhere.
const MARKER: &str = "s3cr3t marker\u{1}";

fn load_yaml(variables: &[(&str, &str)], text: &str) -> Result<Config, Problems> {
    load_text(variables, text, FileFormat::Yaml)
}

fn load_text(
    variables: &[(&str, &str)],
    text: &str,
    format: FileFormat,
) -> Result<Config, Problems> {
    let file = Document::parse(text, format).unwrap();
    load_file(variables, &file)
}

fn load_file(variables: &[(&str, &str)], file: &Document) -> Result<Config, Problems> {
    let mut environment: BTreeMap<String, String> =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    environment.entry("USER".to_owned()).or_insert("somebody".to_owned());
    let reader = FileReader::default();
    let (folder, files) = (PathBuf::new(), Files::new(&reader));
    let (name, good) = (String::new(), GoodFiles::default());
    let sources =
        Sources { environment: &environment, document: file, name, folder, files, good: &good };
    resolve(&sources, Report::default())
}

fn good(variables: &[(&str, &str)], text: &str) -> Config {
    load_yaml(variables, text).unwrap_or_else(|problems| panic!("{problems}"))
}

fn bad(variables: &[(&str, &str)], text: &str) -> Vec<String> {
    match load_yaml(variables, text) {
        Ok(_) => panic!("loads, but should not: {variables:?} {text}"),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

/// Checks that there is exactly one problem, and what it begins with.
fn one(variables: &[(&str, &str)], text: &str, expected: &str) {
    let problems = bad(variables, text);
    assert!(problems.len() == 1 && problems[0].starts_with(expected), "{expected}: {problems:?}");
}

/// The value of an option of the target `default`, as the listing shows it.
fn shown<'a>(config: &'a Config, key: &str) -> &'a str {
    let path = ["targets", "default", key];
    let entry = config.entries.iter().find(|entry| entry.path == path);
    entry.map_or("", |entry| &entry.shown)
}

fn like(name: &str) -> NameMatch {
    NameMatch::Like(Pattern::new(name))
}

fn password(config: &Config, target: usize) -> Option<&str> {
    config.targets[target].connect.dsn.password.as_ref().map(|secret| secret.reveal())
}

#[test]
fn nothing_at_all_is_the_specifications_defaults() {
    let config = good(&[], "");
    assert_eq!(config.targets.len(), 1);
    let target = &config.targets[0];
    assert_eq!((target.name.as_str(), target.kind), ("default", TargetKind::Postgres));
    let limits = &target.limits;
    assert_eq!((limits.size, limits.max_overflow), (20, Some(10)));
    assert_eq!(limits.timeout, Duration::from_secs(30));
    assert_eq!(limits.recycle, Some(Duration::from_secs(3600)));
    assert!(limits.pre_ping && limits.use_lifo && !limits.echo && !limits.echo_statements);
    assert_eq!(target.connect.timeout, Duration::from_secs(10));
    assert_eq!(target.connect.application_name, "db_pool_exporter");
    assert_eq!(target.command_timeout, None);
    assert_eq!(target.views.query_cache_size, 1200);
    assert_eq!(target.schedule.connect_interval, Some(Duration::ZERO));
    assert_eq!(target.schedule.timeout, Duration::from_secs(8));
    assert_eq!((target.app_env.as_str(), config.production), ("development", false));
    assert!(config.enabled);
    let used = "DATABASE_URL is not set: the built-in URL postgresql://sentinelops:***@localhost:5432/sentinelops is used";
    assert_eq!(config.warnings, [used]);
    let mistyped = [("DATABSE_URL", "postgresql://u:s3cret@h/d"), ("DATABASE_USER", "x")];
    let hint = format!("{used}; DATABSE_URL is set: is it mistyped?");
    assert_eq!(good(&mistyped, "").warnings, [hint]);
    let thresholds = crate::probe::Thresholds { saturation_percent: 90.0, slow_rate_percent: 5.0 };
    assert_eq!(config.targets[0].thresholds, thresholds);
    assert_eq!(target.write, None);
    assert_eq!(shown(&config, "use_insertmanyvalues"), "true");
    let application = &target.views.applications[0];
    assert_eq!(application.sessions.user, like("sentinelops"));
    assert_eq!(application.sessions.database, like("sentinelops"));
    assert_eq!((application.pool.size(), application.instances), (Some(20), None));
    assert_eq!(
        (application.name.as_deref(), target.views.sampling),
        (None, Duration::from_secs(1))
    );
}

/// A file with one module.
fn with_module(text: &str) -> String {
    format!("auth_modules: {{ app: {{ type: userpass, userpass: {{ username: m }}, {text} }} }}")
}

#[test]
fn a_file_with_modules_alone_has_no_target() {
    let text = with_module("allowed_targets: ['*']");
    let config = good(&[], &text);
    assert!(config.targets.is_empty() && config.auth_modules.len() == 1);
    assert_eq!(config.warnings, [""; 0]);
    let url = ("DATABASE_URL", "postgresql://u@h/d");
    assert_eq!(good(&[url], &text).targets.len(), 1);
    assert!(good(&[url], "auth_modules: {}").warnings.is_empty());
    assert_eq!(good(&[], "auth_modules: {}\ndefaults: {}").targets.len(), 1, "the built-in URL");
}

#[test]
fn a_module_has_its_login_its_options_and_the_settings_of_defaults() {
    let text = "
defaults: { interval: 20s, slow_query_threshold: 3s, connect_timeout: 2s, write_probe: { enabled: true } }
auth_modules:
  app:
    type: userpass
    userpass: { username: m, password: pw }
    options: { sslmode: require, connect_timeout: '1', application_name: probe, dbname: own }
    timeout: 3s
    allowed_targets: [db]
";
    let config = good(&[], text);
    let template = &config.auth_modules["app"].template;
    assert_eq!(template.schedule.interval, Duration::from_secs(20));
    assert_eq!(template.schedule.timeout, Duration::from_secs(3));
    assert_eq!(template.slow_threshold, Duration::from_secs(3));
    assert_eq!(template.connect.timeout, Duration::from_secs(1));
    assert!(template.write.is_none() && template.views.applications.is_empty());
    let dsn = &template.connect.dsn;
    assert_eq!(dsn.password.as_ref().map(crate::secret::Secret::reveal), Some("pw"));
    assert_eq!((dsn.user.as_deref(), dsn.database.as_deref()), (Some("m"), Some("own")));
    assert_eq!(template.connect.sslmode(), "require");
    assert!(template.connect.credentials.passfile == crate::pool::Passfile::Unused);
}

#[test]
fn a_module_without_encryption_is_warned_of_in_production() {
    let production = [("APP_ENV", "production")];
    let warnings = |options: &str| {
        good(&production, &with_module(&format!("allowed_targets: [db]{options}"))).warnings
    };
    assert_eq!(warnings("").len(), 1);
    assert!(warnings("")[0].starts_with("auth_modules.app: its logins may be without TLS"));
    assert_eq!(warnings(", options: { sslmode: require }"), [""; 0]);
}

#[test]
fn variables_are_read() {
    let config = good(
        &[
            ("DATABASE_URL", "postgresql+asyncpg://app:pw@db:5433/orders"),
            ("DB_POOL_SIZE", "0"),
            ("DB_MAX_OVERFLOW", "-1"),
            ("DB_POOL_TIMEOUT", "2.5"),
            ("DB_POOL_RECYCLE", "-1"),
            ("DB_POOL_PRE_PING", "Off"),
            ("DB_COMMAND_TIMEOUT", "None"),
            ("DB_CONNECT_TIMEOUT", ""),
            ("DB_MONITOR_INTERVAL", "250ms"),
            ("DB_MONITOR_CONNECT_INTERVAL", "0"),
            ("DB_MONITOR_ENABLED", "no"),
            ("DB_MONITOR_APPLICATION", "web-*"),
            ("DB_MONITOR_INSTANCES", "4"),
            ("DB_USE_INSERTMANYVALUES", "0"),
            ("DB_QUERY_CACHE_SIZE", "7"),
            ("DB_MONITOR_INTERVALL", "1"),
        ],
        "",
    );
    let target = &config.targets[0];
    assert_eq!((target.limits.size, target.limits.max_overflow), (0, None));
    assert_eq!(target.limits.timeout, Duration::from_millis(2500));
    assert_eq!((target.limits.recycle, target.limits.pre_ping), (None, false));
    assert_eq!(target.connect.timeout, Duration::from_secs(10));
    assert_eq!(target.schedule.interval, Duration::from_millis(250));
    assert_eq!(target.schedule.timeout, Duration::from_millis(200));
    assert_eq!(target.schedule.connect_interval, None);
    assert_eq!((target.views.query_cache_size, config.enabled), (7, false));
    let application = &target.views.applications[0];
    assert_eq!(application.sessions.application_name, Some(Pattern::new("web-*")));
    assert_eq!((&application.sessions.user, application.instances), (&NameMatch::Any, Some(4)));
    assert_eq!(application.name.as_deref(), Some("web"));
    assert_eq!(target.views.sampling, Duration::from_millis(250), "never slower than the probes");
    assert_eq!(shown(&config, "use_insertmanyvalues"), "false");
    assert_eq!(config.warnings.len(), 1);
    assert!(config.warnings[0].starts_with("DB_MONITOR_INTERVALL is not a known variable"));
}

#[test]
fn probable_misspellings_are_warned_of_with_a_suggestion() {
    let url = ("DATABASE_URL", "postgresql://u@h/d");
    let warnings = |name: &str| good(&[url, (name, "5")], "").warnings;
    for (name, expected) in [
        ("DB_MONITOR_INTERVALL", "; did you mean `DB_MONITOR_INTERVAL`?"),
        ("DB_MONITOR_0123456789ABCDEF", " is not a known variable and is ignored"),
        ("DB_POOL_SIZES", "; did you mean `DB_POOL_SIZE`?"),
        ("DB_POOL_MAX_OVERFLOW", "; did you mean `DB_MAX_OVERFLOW`?"),
        ("DB_PASWORD_FILE", "; did you mean `DB_PASSWORD_FILE`?"),
        ("DB_POOL_SIZE_FILE", "ignored: DB_POOL_SIZE has no file"),
        ("DATABASE_URI", "; did you mean `DATABASE_URL`?"),
    ] {
        let found = warnings(name);
        let is_expected =
            matches!(&found[..], [one] if one.starts_with(name) && one.ends_with(expected));
        assert!(is_expected, "{name}: {found:?}");
    }
    for name in
        ["DB_HOST", "DB_USER", "DB_NAME", "DB_PORT_5432_TCP", "DB_MONITOR_SERVICE_HOST", "X"]
    {
        assert_eq!(warnings(name), [""; 0], "{name}");
    }
    for (name, is_warned_of) in [
        ("prod", true),
        ("Producton", true),
        ("prd", true),
        ("eu-prod", true),
        ("Production", false),
        ("staging", false),
        ("preprod", false),
        ("non-prod", false),
    ] {
        let warnings = good(&[url, ("APP_ENV", name)], "").warnings;
        assert_eq!(warnings.iter().any(|w| w.starts_with("APP_ENV looks")), is_warned_of, "{name}");
    }
}

#[test]
fn a_url_in_a_variable_of_other_programs_is_pointed_out() {
    for name in ["DB_URL", "POSTGRES_URL", "SQLALCHEMY_DATABASE_URI"] {
        let warnings = good(&[(name, "postgresql://u:s3cret@h/d")], "").warnings;
        let expected = format!("; {name} is set, but is not read: is it meant?");
        assert!(matches!(&warnings[..], [one] if one.ends_with(&expected)), "{name}: {warnings:?}");
        let url = ("DATABASE_URL", "postgresql://u@h/d");
        assert_eq!(good(&[url, (name, "x")], "").warnings, [""; 0], "the application's own");
    }
}

#[test]
fn a_list_of_targets_is_refused_with_its_file_and_line() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text, line) in [
        ("x.yml", "# a comment\ndefaults: { interval: 1s }\ntargets:\n  - { name: a }\n", 3),
        ("x.toml", "app_env = 'test'\n[[targets]]\nname = 'a'\n", 2),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let problems = load(&BTreeMap::new(), Some(&path)).err().unwrap().to_string();
        let expected = format!("{name}, line {line})");
        assert!(
            problems.contains("targets: must be a table") && problems.contains(&expected),
            "{problems}"
        );
    }
}

#[test]
fn an_empty_file_is_no_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yml");
    for text in ["", "\n", "# nothing\n"] {
        std::fs::write(&path, text).unwrap();
        let problems = load(&BTreeMap::new(), Some(&path)).err().unwrap().to_string();
        assert!(
            problems.contains("config.yml: is empty, and DATABASE_URL is not set"),
            "{problems}"
        );
    }
    std::fs::remove_file(&path).unwrap();
    let problems = load(&BTreeMap::new(), Some(&path)).err().unwrap().to_string();
    assert!(problems.ends_with("config.yml: cannot be read: no such file"), "{problems}");
}

#[test]
fn passwords_in_a_file_that_everybody_may_read_are_warned_of() {
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yml");
    let url = "targets:\n  a: { url: 'postgresql://u:s3cr3t@h/d' }\n";
    let text = "targets:\n  a: { url: 'postgresql://u@h/d', password: s3cr3t }\n";
    let none = "targets:\n  a: { url: 'postgresql://u@h/d' }\n";
    for (text, mode, expected) in [
        (url, 0o644, Some("(targets.a.url)")),
        (text, 0o644, Some("(targets.a.password)")),
        (url, 0o640, None),
        (none, 0o644, None),
    ] {
        std::fs::write(&path, text).unwrap();
        set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let config = load(&BTreeMap::new(), Some(&path)).unwrap_or_else(|p| panic!("{p}"));
        let warnings = config.warnings.join("\n");
        assert_eq!(warnings.contains("every user of this host"), expected.is_some(), "{warnings}");
        assert!(warnings.contains(expected.unwrap_or_default()), "{warnings}");
        assert!(!warnings.contains("s3cr3t"), "{warnings}");
    }
}

#[test]
fn every_problem_at_once() {
    let variables = [
        ("DB_POOL_SIZE", "abc"),
        ("DB_POOL_TIMEOUT", "-1"),
        ("DATABASE_URL", "nonsense"),
        ("DB_POOL_PRE_PING", "5"),
    ];
    let text = "
defaults: { pool: { size: 20.7, recycel: 5 }, pre_ping: true }
targets:
  default: { pool: { size: true } }
  a: { url: 5, intervall: 3, pool: 7 }
  b: { interval: 1s, timeout: 2s, labels: { target: x, a-b: y, n: 00123 } }
nothing: 1
";
    let problems = bad(&variables, text);
    for expected in [
        "DB_POOL_SIZE: must be a whole number from 0 to 10000 (0 is no limit)",
        "DB_POOL_TIMEOUT: must be seconds, from 0.001 to 3600",
        "DATABASE_URL: ",
        "DB_POOL_PRE_PING: must be true or false",
        "defaults.pool.size: must be a whole number",
        "defaults.pool.recycel: is not a known key; did you mean `recycle`?",
        "defaults.pre_ping: is not a known key",
        "targets.default.pool.size: must be a whole number",
        "targets.a.url: must be text",
        "targets.a.intervall: is not a known key; did you mean `interval`?",
        "targets.a.pool: must be a table of keys",
        "targets.b.url: is missing",
        "targets.b.timeout: must not be longer than the interval",
        "targets.b.labels.target: the name must be",
        "targets.b.labels.a-b: the name must be",
        "targets.b.labels.n: must be the label's value, as text",
        "nothing: is not a known key",
    ] {
        let found = problems.iter().filter(|problem| problem.starts_with(expected)).count();
        assert_eq!(found, 1, "{expected}\n{}", problems.join("\n"));
    }
    assert_eq!(problems.len(), 17, "{}", problems.join("\n"));
}

#[test]
fn a_list_of_targets_is_refused_with_an_example() {
    let problems = bad(&[], "targets:\n  - { name: orders, url: 'postgresql://u@h/d' }\n");
    let expected =
        "targets: must be a table of keys, as in `targets: { orders: { url: ... } }`".to_owned();
    assert!(problems.contains(&expected), "{problems:?}");
}

#[test]
fn a_key_named_like_a_variable_or_a_path_has_a_suggestion() {
    for (key, meant) in [
        ("databse_url", "url"),
        ("database_url", "url"),
        ("DATABASE_URL", "url"),
        ("pool_size", "pool.size"),
        ("pool-size", "pool.size"),
        ("db_pool_timeout", "pool.timeout"),
        ("max_overflow", "pool.max_overflow"),
        ("ulr", "url"),
    ] {
        let problems = bad(&[], &format!("targets:\n  a: {{ {key}: 5 }}\n"));
        let expected = format!("targets.a.{key}: is not a known key; did you mean `{meant}`?");
        assert!(problems.contains(&expected), "{expected}: {problems:?}");
    }
    let problems = bad(&[], "targets:\n  a: { colour_of_the_house: 5 }\n");
    assert!(problems.iter().any(|problem| problem.ends_with("is not a known key")), "{problems:?}");
}

#[test]
fn precedence() {
    let text = "
defaults: { interval: 20s, pool: { size: 1, max_overflow: 1 }, connect_timeout: 4 }
targets:
  default: { pool: { max_overflow: 2, timeout: 3 } }
  b: { url: 'postgresql://u@b/x?connect_timeout=9', pool: { size: 5 } }
  a: { url: 'postgresql://u@a/x', connect_timeout: 3s }
";
    let config = good(&[("DB_POOL_TIMEOUT", "4"), ("DATABASE_URL", "postgresql://u@d/x")], text);
    let names: Vec<_> = config.targets.iter().map(|target| target.name.as_str()).collect();
    assert_eq!(names, ["default", "a", "b"]);
    let [default, a, b] = &config.targets[..] else { panic!("three targets") };
    assert_eq!((default.limits.size, default.limits.max_overflow), (1, Some(2)));
    assert_eq!(default.limits.timeout, Duration::from_secs(4));
    assert_eq!(a.limits.timeout, Duration::from_secs(30), "variables describe `default` alone");
    assert_eq!((b.limits.size, b.limits.max_overflow), (5, Some(1)));
    assert_eq!(b.schedule.interval, Duration::from_secs(20));
    let seconds = |target: &probe::TargetSettings| target.connect.timeout.as_secs();
    assert_eq!((seconds(default), seconds(a), seconds(b)), (4, 3, 9));
}

#[test]
fn the_target_default_exists_if_it_is_named_or_alone() {
    let names = |variables: &[(&str, &str)], text| -> Vec<String> {
        good(variables, text).targets.into_iter().map(|target| target.name).collect()
    };
    let file = "targets: { x: { url: 'postgresql://u@x/x' } }";
    assert_eq!(names(&[], file), ["x"]);
    assert_eq!(names(&[("DATABASE_URL", "postgresql://u@x/x")], file), ["default", "x"]);
    assert_eq!(names(&[], "defaults: { interval: 5 }"), ["default"]);
    assert_eq!(names(&[], "targets: {}"), ["default"]);
    let config = good(&[("DB_POOL_SIZE", "5")], file);
    assert!(config.warnings[0].starts_with("DB_POOL_SIZE is ignored"), "{:?}", config.warnings);
}

#[test]
fn passwords() {
    let url = ("DATABASE_URL", "postgresql://u@h/x");
    assert_eq!(password(&good(&[url, ("DB_PASSWORD", "a")], ""), 0), Some("a"));
    assert_eq!(password(&good(&[url, ("PGPASSWORD", "b")], ""), 0), Some("b"));
    let both = good(&[url, ("PGPASSWORD", "b"), ("DB_PASSWORD", "a")], "");
    assert_eq!(password(&both, 0), Some("a"));
    let own = good(&[("DATABASE_URL", "postgresql://u:c@h/x"), ("DB_PASSWORD", "a")], "");
    assert_eq!((password(&own, 0), own.warnings.len()), (Some("c"), 1));
    one(&[url, ("DB_PASSWORD", "a"), ("DB_PASSWORD_FILE", "/x")], "", "DB_PASSWORD and ");
    let file = "targets: { x: { url: 'postgresql://u@h/x', password: a, password_file: config.example.yml } }";
    one(&[], file, "targets.x.password_file: only one of");
}

#[test]
fn secrets_come_from_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("url"), "postgresql://u@h/x\n").unwrap();
    std::fs::write(path("password"), "two words \n\n").unwrap();
    std::fs::write(path("empty"), "\n").unwrap();
    let config =
        good(&[("DATABASE_URL_FILE", &path("url")), ("DB_PASSWORD_FILE", &path("password"))], "");
    assert_eq!(password(&config, 0), Some("two words \n"), "one trailing newline is dropped");
    let source = &config.targets[0].connect.credentials.source;
    assert!(*source == Some(PasswordSource::File(path("password").into())), "asked again there");
    let config = good(&[("DATABASE_URL_FILE", &path("url")), ("PGPASSWORD", "b")], "");
    assert_eq!(password(&config, 0), Some("b"));
    assert!(config.targets[0].connect.credentials.source.is_none(), "the file has no password");
    std::fs::write(path("two_lines"), "postgresql://u@h/x\n\n").unwrap();
    one(
        &[("DATABASE_URL_FILE", &path("two_lines"))],
        "",
        "DATABASE_URL_FILE: database URL at byte 19: white",
    );
    std::fs::write(path("two_words"), "s3cret \n").unwrap();
    let url = ("DATABASE_URL", "postgresql://u@h/x");
    let config = good(&[url, ("DB_PASSWORD_FILE", &path("two_words"))], "");
    let warning = "target `default`: its password begins or ends with white space or a line break";
    assert_eq!(config.warnings, [warning]);
    std::fs::write(path("empty.yml"), "# targets:\n\n").unwrap();
    let empty = path("empty.yml");
    let loaded = |environment: &[(&str, &str)]| {
        let environment = environment.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect();
        load(&environment, Some(empty.as_ref()))
    };
    let problems = loaded(&[]).err().unwrap();
    assert_eq!(problems.to_string(), format!("{empty}: is empty, and DATABASE_URL is not set"));
    assert_eq!(loaded(&[url]).ok().unwrap().warnings, [format!("{empty} is empty")]);
    std::fs::write(path("whole"), "postgresql://u:c@h/x\n").unwrap();
    let config = good(&[("DATABASE_URL_FILE", &path("whole")), ("PGPASSWORD", "b")], "");
    assert_eq!(password(&config, 0), Some("c"));
    let source = &config.targets[0].connect.credentials.source;
    assert!(*source == Some(PasswordSource::UrlFile(path("whole").into())), "asked again there");
    one(
        &[("DB_PASSWORD_FILE", &path("empty"))],
        "",
        "DB_PASSWORD_FILE: names a file that is empty",
    );
    one(
        &[("DATABASE_URL_FILE", &path("none"))],
        "",
        "DATABASE_URL_FILE: names a file that cannot be",
    );
    let both = [("DATABASE_URL_FILE", path("url")), ("DATABASE_URL", "postgresql://u@h/x".into())];
    let both = both.each_ref().map(|(name, value)| (*name, value.as_str()));
    one(&both, "", "DATABASE_URL and DATABASE_URL_FILE: only one");
    let text = "targets: { x: { url: 'postgresql://u@h/x', password_file: password } }";
    std::fs::write(path("config.yml"), text).unwrap();
    let config = load(&BTreeMap::new(), Some(path("config.yml").as_ref())).ok().unwrap();
    assert_eq!(password(&config, 0), Some("two words \n"), "paths begin at the file's folder");
}

#[test]
fn ranges() {
    let table: [(&str, &[&str], &[&str]); 12] = [
        ("DB_POOL_SIZE", &["0", "1", "10000"], &["-1", "10001", "1.0", "1e2", "٣"]),
        ("DB_MAX_OVERFLOW", &["-1", "0", "10000"], &["-2", "10001", "0.5"]),
        ("DB_POOL_TIMEOUT", &["0.001", "3600"], &["0", "0.0001", "3601", "30s", "inf", "nan"]),
        ("DB_POOL_RECYCLE", &["-1", "0", "3600"], &["-2", "20.7", "1h"]),
        ("DB_CONNECT_TIMEOUT", &["1", "0.5", "300"], &["0", "-1", "301", "none"]),
        ("DB_COMMAND_TIMEOUT", &["5", "None", "none", "0.5"], &["0", "-1", "null"]),
        ("DB_MONITOR_INTERVAL", &["0.1", "1h", "10"], &["0", "0.05", "3601", "2h", "-1s"]),
        ("DB_MONITOR_TIMEOUT", &["10", "10ms"], &["0", "10.5", "11s"]),
        ("DB_MONITOR_SLOW_QUERY_SAMPLING", &["1", "100ms"], &["0", "11"]),
        ("DB_MONITOR_SATURATION_PERCENT", &["0.5", "100"], &["0", "101", "-5", "90%"]),
        ("DB_MONITOR_CONNECT_INTERVAL", &["0", "60", "1m"], &["-1", "0.01"]),
        ("DB_MONITOR_INSTANCES", &["1", "10000"], &["0", "10001", "-1"]),
    ];
    for (name, allowed, refused) in table {
        allowed.iter().for_each(|value| drop(good(&[(name, value)], "")));
        refused.iter().for_each(|value| one(&[(name, value)], "", &format!("{name}: must ")));
    }
}

#[test]
fn production() {
    let app_env = ("APP_ENV", "production");
    one(&[app_env], "", "DATABASE_URL: the built-in URL must not be used in production");
    let built_in = "postgresql://sentinelops:sentinelops@localhost:5432/sentinelops";
    one(&[app_env, ("DATABASE_URL", built_in)], "", "DATABASE_URL: the built-in URL");
    let remote = ("DATABASE_URL", "postgresql://u@db/x");
    let config = good(&[app_env, remote, ("DB_POOL_PRE_PING", "false")], "");
    assert!(config.production);
    assert_eq!(config.warnings.len(), 2, "{:?}", config.warnings);
    for local in ["localhost", "127.0.0.1", "[::1]", "%2Frun"] {
        let url = format!("postgresql://u@{local}/x");
        assert!(good(&[app_env, ("DATABASE_URL", &url)], "").warnings.is_empty(), "{local}");
    }
    assert!(good(&[remote, ("DB_POOL_PRE_PING", "false")], "").warnings.is_empty());
}

#[test]
fn libpqs_variables_fill_and_are_named() {
    let config = good(&[("DATABASE_URL", "postgresql://"), ("PGHOST", "db"), ("PGUSER", "u")], "");
    assert_eq!(
        config.targets[0].connect.dsn.to_string(),
        "postgresql://u@db:5432/u?sslmode=prefer"
    );
    one(&[("DATABASE_URL", "postgresql://h"), ("PGPORT", "x")], "", "PGPORT: must be a number");
}

#[test]
fn without_a_user_it_is_the_effective_one_and_not_that_of_a_variable() {
    let effective = whoami::username().unwrap();
    for url in ["postgresql://h", "postgresql://h1,h2/d", "postgresql:///d", "host=h"] {
        let config =
            good(&[("DATABASE_URL", url), ("USER", "mallory"), ("LOGNAME", "mallory")], "");
        let dsn = &config.targets[0].connect.dsn;
        assert_eq!(dsn.user.as_ref(), Some(&effective), "{url}");
    }
}

#[test]
fn the_example_loads_and_has_every_key() {
    let config = good(&[], EXAMPLE);
    assert_eq!(config.warnings, [""; 0]);
    let key = |entry: &Entry| -> Vec<String> {
        let skip =
            if entry.path[0] == "targets" || entry.path[0] == "auth_modules" { 2 } else { 0 };
        let path: Vec<String> = entry.path.iter().skip(skip).cloned().collect();
        // One application of the example says what each of them can say.
        let is_of_application = path.first().is_some_and(|key| key == "applications");
        path.into_iter().skip(if is_of_application { 2 } else { 0 }).collect()
    };
    let said: Vec<_> =
        config.entries.iter().filter(|e| e.origin != Origin::Default).map(key).collect();
    for entry in &config.entries {
        // A file that is there on every machine cannot be named; the comment names the key.
        let commented = entry.path.last().is_some_and(|key| {
            key.ends_with("_file") || key == "status_username" || key == "targets_from"
        });
        let alone = entry.path.get(3).is_some_and(|name| name == "default");
        let whole = entry.path.last().is_some_and(|key| key == "password_command");
        assert!(
            said.contains(&key(entry)) || commented || alone || whole,
            "{} is not in the example",
            entry.path.join(".")
        );
    }
    let commented =
        ["password_file:", "password_command:", "status_username:", "status_bearer_token_file:"];
    assert!(commented.iter().all(|key| EXAMPLE.contains(key)));
    for name in environment::names().filter(|name| *name != "DATABASE_URL_FILE") {
        assert!(EXAMPLE.contains(name), "{name} is not in the example");
    }
}

#[test]
fn toml_is_equal() {
    let yaml = "
enabled: false
defaults: { interval: 20s, pool: { size: 5, recycle: -1, pre_ping: false } }
targets:
  orders:
    url: postgresql://app:pw@db/orders
    labels: { team: payments }
    slow_rate_percent: 2.5
    views: { statements: { top: 3 } }
    applications: { web: { status_urls: ['http://a/x', 'http://b/x'] } }
  bouncer: { kind: pgbouncer, url: 'postgresql://stats@b:6432' }
auth_modules:
  app:
    type: userpass
    userpass: { username: m, password: x }
    allowed_targets: ['*.db:5432', '10.0.0.0/8']
";
    let toml = "
enabled = false
[defaults]
interval = '20s'
pool = { size = 5, recycle = -1, pre_ping = false }
[targets.orders]
url = 'postgresql://app:pw@db/orders'
labels = { team = 'payments' }
slow_rate_percent = 2.5
views.statements.top = 3
applications.web.status_urls = ['http://a/x', 'http://b/x']
[targets.bouncer]
kind = 'pgbouncer'
url = 'postgresql://stats@b:6432'
[auth_modules.app]
type = 'userpass'
userpass = { username = 'm', password = 'x' }
allowed_targets = ['*.db:5432', '10.0.0.0/8']
";
    let (a, b) = (good(&[], yaml), load_text(&[], toml, FileFormat::Toml).ok().unwrap());
    assert!(a.targets == b.targets && a.auth_modules == b.auth_modules);
    assert_eq!(a.entries, b.entries);
    assert_eq!(a.targets[1].views.applications[0].instances, Some(2));
    let bouncer = &a.targets[0];
    assert!(bouncer.connect.ping == "SHOW VERSION" && bouncer.query == "SHOW VERSION");
    assert_eq!(bouncer.connect.dsn.database.as_deref(), Some("pgbouncer"));
}

/// The number of statements that the first target shows; `None` if the view is off.
fn shown_statements(config: &Config) -> Option<u32> {
    let views = &config.targets[0].views;
    views.enabled.contains(&statements::VIEW.name).then_some(views.statements.top)
}

#[test]
fn statements_are_switched_in_either_form() {
    let statements = |text: &str| {
        let text = format!("targets: {{ x: {{ url: 'postgresql://u@h/x', views: {text} }} }}\n");
        let text = format!("{text}defaults: {{ views: {{ statements: {{ top: 7 }} }} }}");
        shown_statements(&good(&[], &text))
    };
    assert_eq!(statements("{}"), Some(7));
    assert_eq!(statements("{ statements: false }"), None);
    assert_eq!(statements("{ statements: off }"), None);
    assert_eq!(statements("{ statements: { top: 3 } }"), Some(3));
    let text = "targets: { default: { views: { statements: 5 } } }";
    one(&[], text, "targets.default.views.statements: must be true, false or a table");
    assert_eq!(shown_statements(&good(&[], "")), None);
}
