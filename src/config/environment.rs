//! The variables: the application's own, and ours. They describe the target `default`.

use std::collections::BTreeMap;
use std::fmt;

use config::{ConfigError, Map, Source, Value, ValueKind};

use super::layers::Ledger;
use super::unit::Grammar;

/// What a value's origin begins with when a variable said it.
const ORIGIN: &str = "environment: ";

/// The target that the variables describe.
pub(super) const TARGET: &str = "default";

/// Where a variable's value goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Into {
    /// To the configuration as a whole.
    Root,
    /// To the target.
    Target,
    /// To the target; the value is the content of the file that it names.
    Content,
}

struct Variable {
    name: &'static str,
    into: Into,
    key: &'static str,
}

const fn root(name: &'static str, key: &'static str) -> Variable {
    Variable { name, into: Into::Root, key }
}

const fn target(name: &'static str, key: &'static str) -> Variable {
    Variable { name, into: Into::Target, key }
}

/// Every variable with its key in the file.
const VARIABLES: &[Variable] = &[
    root("APP_ENV", "app_env"),
    root("DB_MONITOR_ENABLED", "enabled"),
    target("DATABASE_URL", "url"),
    Variable { name: "DATABASE_URL_FILE", into: Into::Content, key: "url" },
    target("DB_PASSWORD", "password"),
    target("DB_PASSWORD_FILE", "password_file"),
    target("DB_POOL_SIZE", "pool.size"),
    target("DB_MAX_OVERFLOW", "pool.max_overflow"),
    target("DB_POOL_TIMEOUT", "pool.timeout"),
    target("DB_POOL_RECYCLE", "pool.recycle"),
    target("DB_POOL_PRE_PING", "pool.pre_ping"),
    target("DB_POOL_USE_LIFO", "pool.use_lifo"),
    target("DB_ECHO_POOL", "pool.echo"),
    target("DB_CONNECT_TIMEOUT", "connect_timeout"),
    target("DB_COMMAND_TIMEOUT", "command_timeout"),
    target("DATABASE_ECHO", "echo"),
    target("DB_QUERY_CACHE_SIZE", "query_cache_size"),
    target("DB_USE_INSERTMANYVALUES", "use_insertmanyvalues"),
    target("DB_MONITOR_INTERVAL", "interval"),
    target("DB_MONITOR_TIMEOUT", "timeout"),
    target("DB_MONITOR_QUERY", "query"),
    target("DB_MONITOR_SLOW_QUERY_THRESHOLD", "slow_query_threshold"),
    target("DB_MONITOR_SLOW_QUERY_SAMPLING", "slow_query_sampling"),
    target("DB_MONITOR_SATURATION_PERCENT", "saturation_percent"),
    target("DB_MONITOR_SLOW_RATE_PERCENT", "slow_rate_percent"),
    target("DB_MONITOR_CONNECT_INTERVAL", "connect_interval"),
    target("DB_MONITOR_APPLICATION", "applications.default.match.application_name"),
    target("DB_MONITOR_APPLICATION_USER", "applications.default.match.user"),
    target("DB_MONITOR_INSTANCES", "applications.default.instances"),
];

/// Pairs of which only one may be set.
const EITHER: [(&str, &str); 2] =
    [("DATABASE_URL", "DATABASE_URL_FILE"), ("DB_PASSWORD", "DB_PASSWORD_FILE")];

/// The variable that said a value, if one did.
pub(super) fn variable_of(value: &Value) -> Option<&str> {
    value.origin()?.strip_prefix(ORIGIN)
}

/// How a variable writes durations: the application's own as the application reads them.
pub(super) fn grammar(variable: &str) -> Grammar {
    match variable.starts_with("DB_MONITOR_") {
        true => Grammar::Units,
        false => Grammar::Seconds,
    }
}

/// The variables that are set, as a source for the `config` crate.
#[derive(Clone)]
pub(super) struct Variables(Map<String, Value>);

/// The `config` crate asks for it; the values are nobody's business.
impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Variables")
    }
}

impl Source for Variables {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self.0.clone())
    }
}

impl Variables {
    /// Takes our variables out of an environment; those of the target only if there is that target.
    pub(super) fn read(
        environment: &BTreeMap<String, String>,
        with_target: bool,
        ledger: &Ledger,
    ) -> Self {
        let mut values = Map::new();
        for variable in VARIABLES {
            let Some(text) = set(environment, variable.name) else { continue };
            let Some(text) = content(variable, text, ledger) else { continue };
            let origin = format!("{ORIGIN}{}", variable.name);
            let value = Value::new(Some(&origin), ValueKind::String(text));
            match variable.into {
                Into::Root => values.insert(variable.key.to_owned(), value),
                Into::Target | Into::Content if with_target => {
                    values.insert(format!("targets.{TARGET}.{}", variable.key), value)
                }
                Into::Target | Into::Content => None,
            };
        }
        Self(values)
    }
}

/// Whether the environment names the database of the target `default`.
pub(super) fn names_target(environment: &BTreeMap<String, String>) -> bool {
    ["DATABASE_URL", "DATABASE_URL_FILE"].iter().any(|name| set(environment, name).is_some())
}

/// Notes what is wrong with the environment as a whole.
pub(super) fn check(environment: &BTreeMap<String, String>, with_target: bool, ledger: &Ledger) {
    for (plain, file) in EITHER {
        if set(environment, plain).is_some() && set(environment, file).is_some() {
            ledger.refuse(format!("{plain} and {file}"), "only one of the two may be set");
        }
    }
    let known = |name: &String| VARIABLES.iter().any(|variable| variable.name == name);
    for name in environment.keys().filter(|name| name.starts_with("DB_MONITOR_") && !known(name)) {
        ledger.warn(format!("{name} is not a known variable and is ignored"));
    }
    if with_target {
        return;
    }
    for variable in VARIABLES.iter().filter(|variable| variable.into != Into::Root) {
        if set(environment, variable.name).is_some() {
            ledger.warn(format!(
                "{} is ignored: variables describe the target `{TARGET}`, which exists when \
                 DATABASE_URL is set or the file names no other target",
                variable.name
            ));
        }
    }
}

/// A variable's text; an empty one is as if unset.
fn set<'a>(environment: &'a BTreeMap<String, String>, name: &str) -> Option<&'a str> {
    environment.get(name).map(String::as_str).filter(|text| !text.trim().is_empty())
}

/// The text that a variable gives, by itself or by the file that it names.
fn content(variable: &Variable, text: &str, ledger: &Ledger) -> Option<String> {
    if text.contains(char::REPLACEMENT_CHARACTER) {
        ledger.refuse(variable.name, "must be UTF-8");
        return None;
    }
    if variable.into != Into::Content {
        return Some(text.to_owned());
    }
    match super::read_secret(text.as_ref()) {
        Ok(content) => Some(content.reveal().to_owned()),
        Err(message) => {
            ledger.refuse(variable.name, message);
            None
        }
    }
}

/// The names of all variables.
#[cfg(test)]
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    VARIABLES.iter().map(|variable| variable.name)
}
