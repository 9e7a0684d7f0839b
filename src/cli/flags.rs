//! Reads flags and their variables into settings. All problems are reported at once, without the values.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::net::Ipv4Addr;
use std::time::Duration;

use tracing::level_filters::LevelFilter;

use super::Command;
use super::arguments::{Arguments, Subcommand, Web as WebArguments};
use crate::app::DaemonSettings;
use crate::app::logging::{self, Format};
use crate::config::{Entry, Origin, Problem, Problems, quote, unknown_flag_variables};
use crate::switch;
use crate::text::Palette;
use crate::web::{self, Listen};

const LEVELS: [(&str, LevelFilter); 5] = [
    ("debug", LevelFilter::DEBUG),
    ("info", LevelFilter::INFO),
    ("warn", LevelFilter::WARN),
    ("error", LevelFilter::ERROR),
    ("trace", LevelFilter::TRACE),
];

const COLORS: [(&str, Option<Palette>); 3] =
    [("auto", None), ("always", Some(Palette::Ansi)), ("never", Some(Palette::Plain))];

const FORMATS: [(&str, Format); 2] = [("logfmt", Format::Logfmt), ("json", Format::Json)];

/// Reads the flags, and the variables of the flags that were not typed.
pub(super) fn resolve(
    arguments: Arguments,
    environment: &BTreeMap<String, String>,
) -> Result<Command, Problems> {
    let mut flags = Flags { environment, problems: Problems::default(), entries: Vec::new() };
    let config_file =
        flags.optional("config.file", arguments.config_file, "", |text| Some(text.into()));
    let check_only = flags.switch("config.check", arguments.config_check);
    let auto_reload = flags.switch("config.enable-auto-reload", arguments.auto_reload);
    let offset = arguments.timeout_offset;
    let web = web(&mut flags, arguments.web, offset);
    let log = log(&mut flags, arguments.log_level, arguments.log_format);
    let color = flags.optional("color", arguments.color, "one of: auto, always, never", |text| {
        word(&COLORS, text)
    });
    let Flags { problems, mut entries, .. } = flags;
    // It is no setting of the daemon.
    entries.retain(|entry| entry.path.last().is_none_or(|flag| flag != "color"));
    problems.into_result()?;
    let palette = match color.flatten() {
        Some(palette) => palette,
        None => palette_of_terminal(environment),
    };
    let subcommand = arguments.subcommand.unwrap_or(Subcommand::Serve);
    let settings = DaemonSettings { config_file, auto_reload, web, log };
    Ok(Command { subcommand, check_only, settings, palette, entries })
}

/// Returns colours for a terminal that wants them (<https://no-color.org>).
pub(super) fn palette_of_terminal(environment: &BTreeMap<String, String>) -> Palette {
    let is_set = |name: &str| environment.get(name).is_some_and(|value| !value.is_empty());
    let is_dumb = environment.get("TERM").is_some_and(|term| term == "dumb");
    let wanted = std::io::stdout().is_terminal() && !is_set("NO_COLOR") && !is_dumb;
    if wanted { Palette::Ansi } else { Palette::Plain }
}

/// Warns of variables that look like those of flags, and are none.
pub(super) fn unknown_variables(environment: &BTreeMap<String, String>) -> Vec<String> {
    let command = super::command_line();
    let flags = command.get_arguments().filter_map(|argument| argument.get_long());
    let known: Vec<String> = flags.map(variable).collect();
    unknown_flag_variables(environment.keys().map(String::as_str), &known)
}

fn web(flags: &mut Flags<'_>, web: WebArguments, offset: Option<String>) -> web::ServerSettings {
    let path = "a path such as `/metrics`";
    let number = "a whole number from 0 (no limit) to 100000";
    let address = "`:PORT`, `HOST:PORT`, `[IPV6]:PORT` or `unix:/path`";
    let url = "an http:// or https:// URL without a login and a query";
    let default = web::ServerSettings::default();
    let default_listen = joined(default.listen.iter().map(Listen::to_string).collect());
    web::ServerSettings {
        listen: flags.value_or(
            "web.listen-address",
            joined(web.listen),
            (default.listen, default_listen.unwrap_or_default()),
            address,
            listen,
        ),
        systemd_socket: flags.switch("web.systemd-socket", web.systemd_socket),
        telemetry_path: flags.value_or(
            "web.telemetry-path",
            web.telemetry_path,
            (default.telemetry_path.clone(), default.telemetry_path),
            path,
            telemetry_path,
        ),
        web_config_file: flags
            .optional("web.config.file", web.web_config_file, "", |text| Some(text.into())),
        max_requests: flags.value_or(
            "web.max-requests",
            web.max_requests,
            (default.max_requests, default.max_requests.to_string()),
            number,
            requests,
        ),
        max_probes: flags.value_or(
            "web.max-probes",
            web.max_probes,
            (default.max_probes, default.max_probes.to_string()),
            "a whole number from 1 to 1000",
            probes,
        ),
        external_url: flags
            .optional("web.external-url", web.external_url, url, |text| text.parse().ok()),
        route_prefix: flags.optional("web.route-prefix", web.route_prefix, path, plain_path),
        lifecycle: flags.switch("web.enable-lifecycle", web.lifecycle),
        local_trust: !flags.switch("web.disable-local-trust", web.no_local_trust),
        timeout_offset: flags.value_or(
            "timeout-offset",
            offset,
            (default.timeout_offset, default.timeout_offset.as_secs_f64().to_string()),
            "seconds, from 0 to 60",
            seconds,
        ),
        production: default.production,
        limits: default.limits,
    }
}

fn log(
    flags: &mut Flags<'_>,
    level: Option<String>,
    format: Option<String>,
) -> logging::LogSettings {
    let levels = "one of: debug, info, warn, error, trace";
    let formats = "one of: logfmt, json";
    logging::LogSettings {
        level: flags.value_or(
            "log.level",
            level,
            (LevelFilter::INFO, "info".to_owned()),
            levels,
            |text| word(&LEVELS, text),
        ),
        format: flags.value_or(
            "log.format",
            format,
            (Format::Logfmt, "logfmt".to_owned()),
            formats,
            |text| word(&FORMATS, text),
        ),
    }
}

/// Applies APP_ENV=production: JSON logs unless the format was chosen, and the rules for untrusted clients.
pub(super) fn in_production(command: &mut Command) {
    command.settings.web.production = true;
    if let Some(entry) = defaulted(command, "log.format") {
        entry.shown = "json".to_owned();
        command.settings.log.format = Format::Json;
    }
}

/// Listens on loopback unless an address was chosen: the demo's passwords are in its documentation. Logs errors
/// alone unless a level was chosen: the demo's own lines say what happens.
pub(super) fn for_demo(command: &mut Command) {
    if let Some(entry) = defaulted(command, "log.level") {
        entry.shown = "error".to_owned();
        command.settings.log.level = LevelFilter::ERROR;
    }
    if defaulted(command, "web.listen-address").is_some() {
        let host = Some(Ipv4Addr::LOCALHOST.to_string());
        for listen in &mut command.settings.web.listen {
            if let Listen::Tcp { port, .. } = listen {
                *listen = Listen::Tcp { host: host.clone(), port: *port };
            }
        }
    }
}

/// Returns the listing of a flag that has its default.
fn defaulted<'c>(command: &'c mut Command, flag: &str) -> Option<&'c mut Entry> {
    command.entries.iter_mut().find(|entry| {
        entry.origin == Origin::Default && entry.path.last().is_some_and(|key| key == flag)
    })
}

/// Reads one flag after the other, and collects problems and the listing of `config`.
struct Flags<'a> {
    environment: &'a BTreeMap<String, String>,
    problems: Problems,
    entries: Vec<Entry>,
}

impl Flags<'_> {
    /// Reads a flag with a default, given as the listing shows it.
    fn value_or<T>(
        &mut self,
        flag: &str,
        typed: Option<String>,
        (default, shown): (T, String),
        allowed: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> T {
        match self.given(flag, typed) {
            Some((text, origin)) => {
                self.read(flag, &text, origin, allowed, read).unwrap_or(default)
            }
            None => {
                self.list(flag, yaml(&shown), Origin::Default);
                default
            }
        }
    }

    /// Reads a flag without a default.
    fn optional<T>(
        &mut self,
        flag: &str,
        typed: Option<String>,
        allowed: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        match self.given(flag, typed) {
            Some((text, origin)) => self.read(flag, &text, origin, allowed, read),
            None => {
                self.list(flag, "none".to_owned(), Origin::Default);
                None
            }
        }
    }

    fn switch(&mut self, flag: &str, typed: Option<String>) -> bool {
        let default = (false, "false".to_owned());
        self.value_or(flag, typed, default, "true or false", switch::parse)
    }

    /// Returns the text that was typed, or else the variable's. An empty text counts as not given.
    fn given(&self, flag: &str, typed: Option<String>) -> Option<(String, Origin)> {
        let variable = variable(flag);
        let by_flag = typed.map(|text| (text, Origin::Flag(flag.to_owned())));
        let by_variable = self.environment.get(&variable).cloned();
        let by_variable = by_variable.map(|text| (text, Origin::Variable(variable)));
        by_flag.or(by_variable).filter(|(text, _)| !text.trim().is_empty())
    }

    fn read<T>(
        &mut self,
        flag: &str,
        text: &str,
        origin: Origin,
        allowed: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let value = read(text);
        if value.is_none() {
            let place = match &origin {
                Origin::Variable(name) => name.clone(),
                Origin::Flag(_) | Origin::Default | Origin::File(_) | Origin::Url => {
                    format!("--{flag}")
                }
            };
            self.problems.add(Problem::new(place, format!("must be {allowed}")));
        }
        self.list(flag, yaml(text), origin);
        value
    }

    fn list(&mut self, flag: &str, shown: String, origin: Origin) {
        let path = vec!["flags".to_owned(), flag.to_owned()];
        self.entries.push(Entry { path, shown, origin });
    }
}

/// Returns the variable of a flag.
fn variable(flag: &str) -> String {
    format!("DB_POOL_EXPORTER_{}", flag.to_ascii_uppercase().replace(['.', '-'], "_"))
}

/// Writes a flag's text as YAML: everything but numbers and booleans is quoted.
fn yaml(text: &str) -> String {
    let plain = text.parse::<f64>().is_ok() || matches!(text, "true" | "false");
    if plain { text.to_owned() } else { quote(text) }
}

fn word<T: Copy>(words: &[(&str, T)], text: &str) -> Option<T> {
    words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value)
}

/// Joins the values of a repeated flag, as its variable would list them.
fn joined(typed: Vec<String>) -> Option<String> {
    (!typed.is_empty()).then(|| typed.join(","))
}

fn listen(text: &str) -> Option<Vec<Listen>> {
    text.split(',').map(|one| one.trim().parse().ok()).collect()
}

fn requests(text: &str) -> Option<usize> {
    let digits = text.chars().all(|c| c.is_ascii_digit());
    text.parse().ok().filter(|number| digits && *number <= 100_000)
}

fn probes(text: &str) -> Option<usize> {
    requests(text).filter(|number| (1..=1000).contains(number))
}

fn seconds(text: &str) -> Option<Duration> {
    let number: f64 = text.trim_end_matches('s').parse().ok()?;
    Duration::try_from_secs_f64(number).ok().filter(|offset| offset.as_secs() <= 60)
}

/// Reads a path of plain segments, and drops the `/` at its end.
fn plain_path(text: &str) -> Option<String> {
    let path = text.trim_matches('/');
    if path.is_empty() {
        return Some(String::new());
    }
    let is_plain = path.chars().all(|c| c.is_ascii_alphanumeric() || "/-_.~".contains(c));
    let mut segments = path.split('/');
    let has_good_segments = segments.all(|part| !part.is_empty() && part != "." && part != "..");
    (is_plain && has_good_segments).then(|| format!("/{path}"))
}

fn telemetry_path(text: &str) -> Option<String> {
    plain_path(text).filter(|path| text.starts_with('/') && !path.is_empty())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn resolved(typed: &[&str], environment: &[(&str, &str)]) -> Result<Command, Problems> {
        let environment = environment.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect();
        let typed = ["db_pool_exporter"].iter().chain(typed);
        resolve(Arguments::try_parse_from(typed).unwrap(), &environment)
    }

    #[test]
    fn defaults() {
        let command = resolved(&[], &[]).ok().unwrap();
        assert_eq!(command.subcommand, Subcommand::Serve);
        let web = command.settings.web;
        assert_eq!(web.listen, [Listen::Tcp { host: None, port: 9956 }]);
        assert_eq!((web.telemetry_path.as_str(), web.prefix().as_str()), ("/metrics", ""));
        assert_eq!((web.max_requests, web.timeout_offset), (40, Duration::from_millis(500)));
        assert_eq!(command.settings.log.format, Format::Logfmt);
    }

    #[test]
    fn both_forms_and_both_sides_of_the_subcommand() {
        for typed in [
            ["--config.file=a.yml", "config", "--web.max-requests=7"].as_slice(),
            &["--config.file", "a.yml", "config", "--web.max-requests", "7"],
            &["config", "--web.max-requests", "7", "--config.file", "a.yml"],
        ] {
            let command = resolved(typed, &[]).ok().unwrap();
            assert_eq!(command.subcommand, Subcommand::Config);
            assert_eq!(command.settings.config_file.as_deref(), Some("a.yml".as_ref()));
            assert_eq!(command.settings.web.max_requests, 7);
        }
        let command = resolved(&["--web.enable-lifecycle", "--config.check=false"], &[]);
        let command = command.ok().unwrap();
        assert!(command.settings.web.lifecycle && !command.check_only);
    }

    #[test]
    fn a_variable_stands_in_for_a_flag() {
        let environment = [
            ("DB_POOL_EXPORTER_WEB_LISTEN_ADDRESS", "127.0.0.1:0, unix:/run/x"),
            ("DB_POOL_EXPORTER_LOG_LEVEL", "debug"),
            ("DB_POOL_EXPORTER_CONFIG_ENABLE_AUTO_RELOAD", "TRUE"),
            ("DB_POOL_EXPORTER_TIMEOUT_OFFSET", ""),
        ];
        let mut command = resolved(&["--log.level=warn"], &environment).ok().unwrap();
        in_production(&mut command);
        assert_eq!(command.settings.web.listen.len(), 2);
        assert_eq!(command.settings.log.level, LevelFilter::WARN);
        assert_eq!(command.settings.log.format, Format::Json);
        assert!(command.settings.auto_reload && command.settings.web.production);
        let typed = ["--log.format=logfmt"];
        let mut command = resolved(&typed, &environment).ok().unwrap();
        in_production(&mut command);
        assert_eq!(command.settings.log.format, Format::Logfmt);
    }

    #[test]
    fn the_demo_is_not_reachable_from_elsewhere_unless_asked() {
        let mut command = resolved(&["demo"], &[]).ok().unwrap();
        for_demo(&mut command);
        let expected = Listen::Tcp { host: Some("127.0.0.1".to_owned()), port: 9956 };
        assert_eq!(command.settings.web.listen, [expected]);
        let mut command = resolved(&["demo", "--web.listen-address=:80"], &[]).ok().unwrap();
        for_demo(&mut command);
        assert_eq!(command.settings.web.listen, [Listen::Tcp { host: None, port: 80 }]);
    }

    #[test]
    fn several_addresses() {
        let typed = ["--web.listen-address=:1", "--web.listen-address", "[::1]:2"];
        assert_eq!(resolved(&typed, &[]).ok().unwrap().settings.web.listen.len(), 2);
    }

    #[test]
    fn every_problem_without_its_value() {
        let flags = [
            "config.check",
            "config.enable-auto-reload",
            "web.listen-address",
            "web.telemetry-path",
            "web.systemd-socket",
            "web.max-requests",
            "web.max-probes",
            "web.external-url",
            "web.enable-lifecycle",
            "web.route-prefix",
            "log.level",
            "log.format",
            "timeout-offset",
        ];
        let typed: Vec<_> = flags.iter().map(|flag| format!("--{flag}=s3cr3t marker?")).collect();
        let typed: Vec<_> = typed.iter().map(String::as_str).collect();
        let problems = resolved(&typed, &[]).err().unwrap();
        assert_eq!(problems.iter().count(), flags.len(), "{problems}");
        let variables: Vec<_> = flags.iter().map(|flag| variable(flag)).collect();
        let variables: Vec<_> =
            variables.iter().map(|name| (name.as_str(), "s3cr3t marker?")).collect();
        let others = resolved(&[], &variables).err().unwrap();
        assert_eq!(others.iter().count(), flags.len(), "{others}");
        assert!(!format!("{problems}{others}").contains("s3cr3t"));
    }

    #[test]
    fn paths_and_urls() {
        assert_eq!(telemetry_path("/m/x"), Some("/m/x".to_owned()));
        for text in ["metrics", "/", "/a?b", "/a b", "/../x", "/a//b"] {
            assert_eq!(telemetry_path(text), None, "{text}");
        }
        let web = resolved(&["--web.external-url=https://h/p/"], &[]).ok().unwrap().settings.web;
        assert_eq!(web.prefix(), "/p");
        let web = resolved(&["--web.route-prefix=/"], &[]).ok().unwrap().settings.web;
        assert_eq!(web.prefix(), "");
        assert_eq!(seconds("0.5"), Some(Duration::from_millis(500)));
        assert_eq!(seconds("-1"), None);
        assert_eq!(seconds("nan"), None);
    }
}
