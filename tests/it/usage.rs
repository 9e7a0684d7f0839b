//! The command line: exit codes, and what goes to standard output and to standard error.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::process::{Ended, Program};
use crate::support::workplace;

fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Ended {
    let mut program = Program::at(env!("CARGO_BIN_EXE_db_pool_exporter")).env("USER", "somebody");
    for argument in arguments {
        program = program.arg(argument);
    }
    for (name, value) in environment {
        program = program.env(name, value);
    }
    program.run()
}

#[test]
fn all_three_problems_are_told_without_their_values() {
    let environment =
        [("DB_POOL_SIZE", "abc-s3cret"), ("DB_POOL_TIMEOUT", "-1"), ("DATABASE_URL", "nonsense")];
    for arguments in [[].as_slice(), &["serve"], &["config"], &["--config.check"]] {
        let ended = run(arguments, &environment);
        assert_eq!(ended.code, 64, "{arguments:?}");
        let Ended { output: answer, log: errors, .. } = ended;
        assert!(answer.is_empty(), "{answer}");
        let lines: Vec<_> = errors.lines().collect();
        assert_eq!(lines.len(), 3, "{errors}");
        for name in environment.map(|(name, _)| name) {
            assert!(lines.iter().any(|line| line.starts_with(&format!("{name}: "))), "{errors}");
        }
        assert!(
            !["abc", "s3cret", "-1", "nonsense"].iter().any(|value| errors.contains(value)),
            "{errors}"
        );
    }
}

#[test]
fn a_valid_configuration_is_said_to_be_so() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/config.example.yml");
    let ended = run(&["--config.check", "--config.file", example], &[]);
    assert_eq!((ended.code, ended.output.as_str()), (0, "configuration is valid\n"));
    let ended = run(&["--config.check", "--config.file=/nowhere.yml"], &[]);
    assert_eq!(ended.code, 64);
}

#[test]
fn misspelled_variables_and_a_missing_url_are_warned_of_at_once() {
    let environment = [
        ("DATABASE_URI", "s3cr3t"),
        ("DB_POOL_SIZES", "5"),
        ("DB_POOL_EXPORTER_LOG_LEVLE", "debug"),
        ("DB_POOL_EXPORTER_SERVICE_HOST", "10.0.0.1"),
        ("APP_ENV", "prod"),
        ("DB_MONITOR_INTERVAL", "1"),
    ];
    let built_in =
        "DATABASE_URL is not set: the built-in URL postgresql://sentinelops:***@localhost:5432";
    let expected = [
        built_in,
        "DATABASE_URI is set: is it mistyped?",
        "DB_POOL_SIZES is not a known variable and is ignored; did you mean `DB_POOL_SIZE`?",
        "ignored; did you mean `DB_POOL_EXPORTER_LOG_LEVEL`?",
        "APP_ENV looks like production",
    ];
    for subcommand in ["check", "config", "--config.check"] {
        let errors = run(&[subcommand], &environment).log;
        for words in expected {
            assert!(errors.contains(words), "{subcommand}: {words}\n{errors}");
        }
        assert!(!errors.contains("s3cr3t") && !errors.contains("SERVICE_HOST"), "{errors}");
    }
    let daemon = Program::daemon().env("DB_MONITOR_ENABLED", "false").start();
    daemon.logged(built_in);
}

#[test]
fn files_that_are_no_files_are_refused_at_the_start() {
    let folder = workplace::folder("pipes");
    let pipe = folder.join("pipe.yml");
    let pipe = pipe.to_str().expect("a plain path");
    assert!(Command::new("mkfifo").arg(pipe).status().expect("mkfifo").success());
    for (arguments, environment) in [
        (vec![], vec![("DB_PASSWORD_FILE", pipe)]),
        (vec![], vec![("DATABASE_URL_FILE", pipe)]),
        (vec!["--config.file", pipe], vec![]),
        (vec!["--web.config.file", pipe], vec![]),
    ] {
        let start = Instant::now();
        let ended = run(&arguments, &environment);
        assert!(start.elapsed() < Duration::from_secs(5), "{arguments:?} {:?}", start.elapsed());
        assert_eq!(ended.code, 64, "{}", ended.log);
        assert!(ended.log.contains("is not a regular file"), "{}", ended.log);
    }
    std::fs::remove_dir_all(folder).expect("it is ours");
}

#[test]
fn mistakes_in_yaml_are_named_with_place_and_cause() {
    let folder = workplace::folder("yaml");
    let file = folder.join("config.yml");
    let url = "url: 'postgresql://u:s3cr3t@h/d'";
    for (text, expected) in [
        (format!("targets:\n  a:\n\t{url}\n"), "line 3, column 2, at targets.a: tabs disallowed"),
        (
            format!("targets: {{ a: {{ {url} }}\n"),
            "column 1, at targets: while parsing a flow mapping",
        ),
        (
            format!("targets:\n  a: {{ {url} }}\n  a: {{ {url} }}\n"),
            "line 3, column 3, at targets.a: this key is there a second time",
        ),
        (String::new(), "is empty, and DATABASE_URL is not set"),
    ] {
        std::fs::write(&file, text).expect("the folder is writable");
        let ended = run(&["--config.check", "--config.file", file.to_str().expect("plain")], &[]);
        assert_eq!(ended.code, 64);
        assert!(
            ended.log.contains(expected) && ended.log.contains("config.yml: "),
            "{}",
            ended.log
        );
        assert!(!ended.log.contains("s3cr3t"), "{}", ended.log);
    }
    let ended = run(&["--config.check", "--config.file=/nowhere.yml"], &[]);
    assert_eq!(ended.log, "/nowhere.yml: cannot be read: no such file\n");
    std::fs::remove_dir_all(folder).expect("it is ours");
}

#[test]
fn the_effective_configuration_has_no_secret() {
    let environment =
        [("DATABASE_URL", "postgresql://u:s3cr3t@h/x"), ("DB_POOL_EXPORTER_LOG_LEVEL", "debug")];
    let ended = run(&["config", "--web.listen-address", ":0"], &environment);
    assert_eq!(ended.code, 0);
    let answer = ended.output;
    assert!(!answer.contains("s3cr3t"), "{answer}");
    for line in [
        "web.listen-address: \":0\"  # flag: --web.listen-address",
        "log.level: debug  # environment: DB_POOL_EXPORTER_LOG_LEVEL",
        "size: 20  # default",
        "postgresql://u:***@h:5432/x",
    ] {
        assert!(answer.contains(line), "{line}\n{answer}");
    }
}

#[test]
fn wrong_usage_ends_with_64_and_quotes_nothing() {
    for arguments in [
        ["postgresql://u:s3cr3t@h/x"].as_slice(),
        &["serve", "s3cr3t"],
        &["--password=s3cr3t"],
        &["--password", "s3cr3t"],
        &["--s3cr3t"],
        &["-s3cr3t"],
        &["--log.level=s3cr3t"],
        &["--log.level", "info", "--log.level", "s3cr3t"],
        &["--web.enable-lifecycle", "s3cr3t"],
        &["--config.file"],
    ] {
        let ended = run(arguments, &[]);
        assert_eq!(ended.code, 64, "{arguments:?}");
        let Ended { output: answer, log: errors, .. } = ended;
        assert!(answer.is_empty() && !errors.is_empty() && !errors.contains("s3cr3t"), "{errors}");
    }
    let errors = run(&["--log.levle=info"], &[]).log;
    assert!(errors.contains("--log.levle") && errors.contains("`--log.level`"), "{errors}");
}

#[test]
fn version_and_help() {
    let ended = run(&["--version"], &[]);
    let answer = ended.output;
    let start = concat!("db_pool_exporter, version ", env!("CARGO_PKG_VERSION"), " (branch: ");
    assert!(ended.code == 0 && answer.starts_with(start), "{answer}");
    let ended = run(&["--help"], &[]);
    let answer = ended.output;
    assert!(ended.code == 0);
    for flag in ["--config.file", "--web.listen-address", "--log.format", "--timeout-offset"] {
        assert!(answer.contains(flag), "{flag}");
    }
}

#[test]
fn a_daemon_that_is_not_there_is_not_healthy() {
    let ended = run(&["healthcheck", "--web.listen-address=unix:/nowhere/x.sock"], &[]);
    assert_eq!(ended.code, 1);
}

#[test]
fn a_mistyped_command_or_flag_is_named_with_the_closest_one() {
    for (arguments, words) in [
        (["chek"].as_slice(), "chek: is not a known command; did you mean `check`?"),
        (&["drll"], "did you mean `drill`?"),
        (&["--web.listen-adress=:1"], "did you mean `--web.listen-address`?"),
        (&["check", "--formt=json"], "--formt: is not a known argument; did you mean `--format`?"),
        (&["size", "--windw", "7d"], "did you mean `--window`?"),
        (&["check", "--format=xml"], "--format: must be one of: table, json"),
        (&["check", "--samples=none"], "--samples: must be a whole number from 1 to 1000"),
        (&["size", "--workers=4"], "--connections-per-worker: is missing"),
        (&["size", "--window=1y"], "--window: must be a duration from 1m to 8760h"),
        (&["completions", "csh"], "must be one of: bash, zsh, fish"),
        (&["s3cr3t"], "the commands are serve, config, check, size, drill"),
    ] {
        let ended = run(arguments, &[]);
        assert_eq!(ended.code, 64, "{arguments:?}: {}", ended.log);
        assert!(ended.log.contains(words), "{arguments:?}: {words:?} is not in {}", ended.log);
        assert!(!ended.log.contains("s3cr3t") && !ended.log.contains("xml"), "{}", ended.log);
    }
    assert!(run(&["check", "--formt"], &[]).log.ends_with("See db_pool_exporter check --help\n"));
}

#[test]
fn the_help_of_a_subcommand_shows_its_own_flags_with_variables_and_examples() {
    for (subcommand, own, of_others) in [
        ("check", "--samples", "--web."),
        ("size", "--prometheus.url", "--log."),
        ("drill", "--hold", "--web."),
        ("healthcheck", "--web.listen-address", "--config."),
        ("serve", "--web.max-requests", "--color"),
        ("config", "--config.file", "--samples"),
    ] {
        let help = run(&[subcommand, "--help"], &[]);
        assert_eq!(help.code, 0);
        let help = help.output;
        assert!(help.contains(own) && !help.contains(of_others), "{subcommand}: {help}");
        if subcommand != "serve" {
            assert!(help.contains("EXAMPLES:"), "{help}");
        }
        assert_eq!(run(&["help", subcommand], &[]).output, help, "both ways to ask");
    }
    let help = run(&["--help"], &[]).output;
    assert!(help.contains("ENVIRONMENT:\n  DATABASE_URL") && help.contains("EXAMPLES:"), "{help}");
    let version = run(&["-V"], &[]).output;
    assert_eq!(version, run(&["--version"], &[]).output);
    // A flag of the daemon has no effect there, but one environment and one command line serve all.
    let accepted = run(&["check", "--web.max-requests=7", "--log.level=x"], &[]);
    assert_eq!(accepted.log, "--log.level: must be one of: debug, info, warn, error, trace\n");
}

#[test]
fn colours_follow_the_terminal_and_no_color() {
    let program = env!("CARGO_BIN_EXE_db_pool_exporter");
    let colored = |environment: &str| {
        let command = format!("{environment} {program} check");
        let output = Command::new("script")
            .args(["-qec", &command, "/dev/null"])
            .env("DATABASE_URL", "postgresql://app@127.0.0.1:1/orders")
            .env("TERM", "xterm")
            .env_remove("NO_COLOR")
            .output()
            .expect("script is there");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("UNHEALTHY"), "{text}");
        text.contains("\u{1b}[31m")
    };
    assert!(colored(""), "a terminal");
    assert!(!colored("NO_COLOR=1"), "https://no-color.org");
    assert!(!colored("TERM=dumb"));
}
