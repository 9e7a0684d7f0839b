//! The web configuration file, in the format of the Prometheus exporter toolkit.
//!
//! Stricter than the toolkit where it ignores a mistake: a file together with its inline twin, a
//! list of allowed names that nothing would check. Problems name keys, never values.

mod names;
mod section;
mod settings;
mod tls;

use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use yaml_rust2::parser::Parser;
use yaml_rust2::{Event, ScanError, Yaml, YamlLoader};

pub(super) use settings::{
    ClientAuth, ClientCertificates, Header, Http2, RateLimit, TlsSettings, WebConfig,
};

use self::section::Section;
use super::users::{HashProblem, password_hash};
use crate::duration;
use crate::files::FileReader;
use crate::problem::{Problem, Problems};
use crate::secret::Secret;
use crate::watch::ReadFiles;

/// The result of reading the file.
pub(super) struct Loaded {
    /// The files that were read, also those that could not be.
    pub(super) files: ReadFiles,
    /// Settings that are used, but better changed.
    pub(super) warnings: Vec<Problem>,
    /// The settings, or all problems.
    pub(super) outcome: Result<WebConfig, Problems>,
}

/// The largest file that is read: the configuration, a certificate or a key.
const LARGEST: u64 = 1024 * 1024;

/// Reads the file and all files that it names. Blocks, up to the time-out of the reader for each.
pub(super) fn load(file: &Path, reader: &FileReader) -> Loaded {
    let mut files = ReadFiles::new(reader.clone(), LARGEST);
    let mut problems = Problems::default();
    let mut warnings = Vec::new();
    let settings = read(file, &mut files, &mut warnings, &mut problems);
    let outcome = match settings {
        Some(settings) if problems.is_empty() => Ok(settings),
        Some(_) | None => Err(problems),
    };
    Loaded { files, warnings, outcome }
}

fn read(
    file: &Path,
    files: &mut ReadFiles,
    warnings: &mut Vec<Problem>,
    problems: &mut Problems,
) -> Option<WebConfig> {
    let text = match files.read(file) {
        // The parser takes a NUL for the end of the file: what follows would be ignored.
        Ok(bytes) => String::from_utf8(bytes).ok().filter(|text| !text.contains('\0')),
        Err(error) => {
            problems.add(Problem::new(file.display().to_string(), error.to_string()));
            return None;
        }
    };
    let documents = text.as_deref().and_then(|text| match documents(text) {
        Ok(documents) => Some(documents),
        Err((line, what)) => {
            problems.add(Problem::new(format!("line {line}"), what));
            None
        }
    });
    if text.is_none() {
        problems.add(Problem::new(file.display().to_string(), "is not UTF-8 text"));
    }
    let root = match documents?.as_slice() {
        [] => Yaml::Null,
        [root] => root.clone(),
        [_, ..] => {
            problems.add(Problem::new("file", "holds more than one document"));
            return None;
        }
    };
    Some(settings(&root, &mut Folder { file, path: file.parent()?, files, warnings }, problems))
}

const DEEPEST: usize = 16;
const MOST_ALIASES: usize = 16;

/// Parses the text within limits of depth and aliases.
///
/// The loader is recursive and copies the value of an alias at each use: without the limits a small
/// file could exhaust the stack or the memory.
fn documents(text: &str) -> Result<Vec<Yaml>, (usize, String)> {
    let mut parser = Parser::new_from_str(text);
    let mut depth = 0_usize;
    let mut aliases = 0_usize;
    loop {
        let (event, mark) = parser.next_token().map_err(place_and_message)?;
        match event {
            Event::StreamEnd => break,
            Event::SequenceStart(..) | Event::MappingStart(..) => depth += 1,
            Event::SequenceEnd | Event::MappingEnd => depth = depth.saturating_sub(1),
            Event::Alias(_) => aliases += 1,
            Event::Nothing
            | Event::StreamStart
            | Event::DocumentStart
            | Event::DocumentEnd
            | Event::Scalar(..) => {}
        }
        if depth > DEEPEST || aliases > MOST_ALIASES {
            return Err((mark.line(), "nested too deeply, or too many aliases".to_owned()));
        }
    }
    YamlLoader::load_from_str(text).map_err(place_and_message)
}

fn place_and_message(error: ScanError) -> (usize, String) {
    (error.marker().line(), plain(error.info()))
}

/// Returns a message of the parser; that of a duplicate key has the key as debug text, `String("a")`.
fn plain(message: &str) -> String {
    let key = message.strip_suffix(": duplicated key in mapping");
    let key = key.and_then(|key| key.split_once('(')?.1.strip_suffix(')'));
    match key.map(|key| key.trim_matches('"')) {
        Some(key) => format!("the key `{key}` is there a second time"),
        None => message.to_owned(),
    }
}

/// The folder in which relative paths begin, and the record of the files that were read.
struct Folder<'a> {
    /// The web configuration file itself.
    file: &'a Path,
    path: &'a Path,
    files: &'a mut ReadFiles,
    warnings: &'a mut Vec<Problem>,
}

fn settings(root: &Yaml, folder: &mut Folder<'_>, problems: &mut Problems) -> WebConfig {
    let keys = ["tls_server_config", "http_server_config", "basic_auth_users", "rate_limit"];
    let root = Section::new("", root, &keys, problems);
    let http = root.section("http_server_config", &["http2", "headers"], problems);
    WebConfig {
        tls: tls::read(&root, folder, problems),
        http2: if http.flag("http2", problems) == Some(false) {
            Http2::Off
        } else {
            Http2::Offered
        },
        headers: headers(&http, problems),
        users: users(&root, problems),
        rate_limit: rate_limit(&root, problems),
    }
}

/// The headers that the toolkit permits, and the values that it permits (any, if empty).
const HEADERS: [(&str, &[&str]); 5] = [
    ("Content-Security-Policy", &[]),
    ("Strict-Transport-Security", &[]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-XSS-Protection", &[]),
];

fn headers(http: &Section<'_>, problems: &mut Problems) -> Vec<Header> {
    let section = http.section("headers", &HEADERS.map(|(name, _)| name), problems);
    let mut headers = Vec::new();
    for (name, allowed) in HEADERS {
        let Some(text) = section.text(name, problems) else { continue };
        if !allowed.is_empty() && !allowed.contains(&text.as_ref()) {
            problems.add(section.problem(name, format!("must be {}", allowed.join(" or "))));
            continue;
        }
        match Header::new(name, &text) {
            Some(header) => headers.push(header),
            None => problems.add(section.problem(name, "must be one line of visible characters")),
        }
    }
    headers
}

fn users(root: &Section<'_>, problems: &mut Problems) -> Vec<(String, Secret)> {
    let mut users = Vec::new();
    for (name, value) in root.entries("basic_auth_users", problems) {
        let path = format!("basic_auth_users.{name}");
        // The Authorization header joins name and password by a colon.
        if name.contains(':') {
            problems.add(Problem::new(&path, "a name must not hold a colon"));
        }
        match value.as_str().ok_or(HashProblem::NotBcrypt).and_then(password_hash) {
            Ok(hash) => users.push((name.into_owned(), hash)),
            Err(problem) => problems.add(Problem::new(path, problem.to_string())),
        }
    }
    users
}

fn rate_limit(root: &Section<'_>, problems: &mut Problems) -> Option<RateLimit> {
    let section = root.section("rate_limit", &["interval", "burst"], problems);
    let interval = section.read("interval", interval, INTERVAL, problems);
    let burst = section.read("burst", burst, "must be a whole number, 0 or more", problems);
    let interval = interval.filter(|interval| !interval.is_zero())?;
    let Some(burst) = NonZeroU32::new(burst.unwrap_or(0)) else {
        problems.add(section.problem("burst", "must be at least 1: with 0 no request passes"));
        return None;
    };
    Some(RateLimit { interval, burst })
}

const INTERVAL: &str = "must be 0 or a duration with its unit, such as 100ms or 1s";

fn interval(value: &Yaml) -> Option<Duration> {
    match value.as_i64() {
        Some(0) => Some(Duration::ZERO),
        Some(_) => None,
        None => duration::go(value.as_str()?),
    }
}

fn burst(value: &Yaml) -> Option<u32> {
    u32::try_from(value.as_i64()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems_of(text: &str) -> Vec<String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let outcome = load(file.path(), &FileReader::default()).outcome;
        outcome.err().unwrap_or_default().iter().map(Problem::to_string).collect()
    }

    #[test]
    fn an_empty_file_protects_nothing() {
        for text in ["", "\n# none\n", "tls_server_config:\n", "tls_server_config: {}\n", "{}"] {
            assert_eq!(problems_of(text), [""; 0], "{text:?}");
        }
    }

    #[test]
    fn a_full_file_without_tls_is_taken() {
        let text = "
http_server_config:
  http2: off
  headers:
    Content-Security-Policy: default-src 'self'
    Strict-Transport-Security: max-age=31536000
    X-Content-Type-Options: nosniff
    X-Frame-Options: sameorigin
    X-XSS-Protection: 1
basic_auth_users:
  prom: $2y$05$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi
rate_limit: { interval: 1m30s, burst: 5 }
";
        assert_eq!(problems_of(text), [""; 0]);
    }

    #[test]
    fn all_problems_are_told_at_once_without_values() {
        let text = "
tls_server_config:
  cert: hidden
  cert_file: nowhere.pem
  key: hidden
  min_version: TLS10
  max_version: hidden
  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, hidden]
  curve_preferences: [CurveP521]
  client_auth_type: hidden
  prefer_server_cipher_suites: hidden
  client_ca: hidden
  typo: hidden
http_server_config:
  headers: { Server: hidden, X-Frame-Options: hidden }
basic_auth_users: { a: hidden, b: 5 }
rate_limit: { interval: hidden, burst: -1 }
unknown: hidden
";
        let problems = problems_of(text);
        let all = problems.join("\n");
        for key in [
            "tls_server_config.cert_file",
            "tls_server_config.cert:",
            "tls_server_config.key:",
            "tls_server_config.min_version",
            "tls_server_config.max_version",
            "tls_server_config.cipher_suites[0]",
            "tls_server_config.cipher_suites[1]",
            "tls_server_config.curve_preferences[0]",
            "tls_server_config.client_auth_type",
            "tls_server_config.prefer_server_cipher_suites",
            "tls_server_config.client_ca:",
            "tls_server_config.typo",
            "http_server_config.headers.Server",
            "http_server_config.headers.X-Frame-Options",
            "basic_auth_users.a",
            "basic_auth_users.b",
            "rate_limit.interval",
            "rate_limit.burst",
            "unknown: ",
        ] {
            assert!(all.contains(key), "{key} in\n{all}");
        }
        assert!(!all.contains("hidden"), "{all}");
    }

    #[test]
    fn what_is_not_yaml_is_told_with_its_line() {
        for text in ["a: [", "- a", "x", "a: 1\na: 2", "---\na: 1\n---\nb: 2", "a: 1\0"] {
            assert_ne!(problems_of(text), [""; 0], "{text:?}");
        }
    }

    #[test]
    fn a_key_that_is_there_twice_is_named() {
        for (text, key) in [("ab: 1\nab: 2\n", "ab"), ("7: 1\n7: 2\n", "7")] {
            let problems = problems_of(text);
            let expected = format!("the key `{key}` is there a second time");
            assert!(problems.len() == 1 && problems[0].ends_with(&expected), "{problems:?}");
        }
    }

    #[test]
    fn nesting_and_aliases_are_bounded() {
        let deep = "- ".repeat(100_000);
        let bomb = format!("a: &a [x]\nb: [{}]", "*a,".repeat(20));
        for text in [deep, "[".repeat(300), "{a: ".repeat(300), bomb] {
            assert_ne!(problems_of(&text), [""; 0]);
        }
    }
}
