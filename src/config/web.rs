//! The web configuration file, in the Prometheus exporter toolkit's format.
//!
//! Stricter than the toolkit where it looks away: a file and its inline twin together, a list of
//! allowed names that nothing would check. Problems name keys, never values.

mod duration;
mod section;
mod tls;

use std::num::NonZeroU32;
use std::path::Path;

use yaml_rust2::parser::Parser;
use yaml_rust2::{Event, ScanError, Yaml, YamlLoader};

use crate::http::web::{self, Files, Header, Loaded, RateLimit, WebConfig, password_hash};
use section::{Problems, Section};

/// How `http` reads the file, now and whenever it changed.
pub fn loader(file: &Path) -> web::Load {
    let file = file.to_owned();
    Box::new(move || load(&file))
}

/// Reads the file and all that it names.
pub fn load(file: &Path) -> Loaded {
    let mut files = Files::default();
    let mut problems = Problems::default();
    let settings = read(file, &mut files, &mut problems);
    let outcome = match settings {
        Some(settings) if problems.is_empty() => Ok(settings),
        Some(_) | None => Err(problems.into_texts()),
    };
    Loaded { files, outcome }
}

fn read(file: &Path, files: &mut Files, problems: &mut Problems) -> Option<WebConfig> {
    let text = match files.read(file) {
        // The parser would take a NUL for the end of the file.
        Ok(bytes) => String::from_utf8(bytes).ok().filter(|text| !text.contains('\0')),
        Err(error) => {
            problems.add(&file.display().to_string(), format_args!("cannot be read: {error}"));
            return None;
        }
    };
    let documents = text.as_deref().and_then(|text| match documents(text) {
        Ok(documents) => Some(documents),
        Err((line, what)) => {
            problems.add(&format!("line {line}"), what);
            None
        }
    });
    if text.is_none() {
        problems.add(&file.display().to_string(), "is not UTF-8 text");
    }
    let root = match documents?.as_slice() {
        [] => Yaml::Null,
        [root] => root.clone(),
        [_, ..] => {
            problems.add("file", "holds more than one document");
            return None;
        }
    };
    Some(settings(&root, &mut Folder { path: file.parent()?, files }, problems))
}

const DEEPEST: usize = 16;
const MOST_ALIASES: usize = 16;

/// The loader is recursive and copies what aliases name: how deep and how many is looked at first.
fn documents(text: &str) -> Result<Vec<Yaml>, (usize, String)> {
    let told = |error: ScanError| (error.marker().line(), error.info().to_owned());
    let (mut parser, mut depth, mut aliases) = (Parser::new_from_str(text), 0_usize, 0_usize);
    loop {
        let (event, mark) = parser.next_token().map_err(told)?;
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
    YamlLoader::load_from_str(text).map_err(told)
}

/// Where relative paths begin, and the record of what was read.
struct Folder<'a> {
    path: &'a Path,
    files: &'a mut Files,
}

fn settings(root: &Yaml, folder: &mut Folder<'_>, problems: &mut Problems) -> WebConfig {
    let keys = ["tls_server_config", "http_server_config", "basic_auth_users", "rate_limit"];
    let root = Section::new("", root, &keys, problems);
    let http = root.section("http_server_config", &["http2", "headers"], problems);
    WebConfig {
        tls: tls::read(&root, folder, problems),
        http2: http.flag("http2", problems).unwrap_or(true),
        headers: headers(&http, problems),
        users: users(&root, problems),
        rate_limit: rate_limit(&root, problems),
    }
}

/// Those that the toolkit permits, and the values that it permits.
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
        if !allowed.is_empty() && !allowed.contains(&text) {
            problems.add(&section.path(name), format_args!("must be {}", allowed.join(" or ")));
            continue;
        }
        match Header::new(name, text) {
            Some(header) => headers.push(header),
            None => problems.add(&section.path(name), "must be one line of visible characters"),
        }
    }
    headers
}

fn users(root: &Section<'_>, problems: &mut Problems) -> Vec<(String, crate::secret::Secret)> {
    let mut users = Vec::new();
    for (name, value) in root.entries("basic_auth_users", problems) {
        let path = format!("basic_auth_users.{name}");
        match value.as_str().and_then(password_hash) {
            // The header's own form cannot carry it.
            Some(_) if name.contains(':') => problems.add(&path, "a name must not hold a colon"),
            Some(hash) => users.push((name.to_owned(), hash)),
            None => problems.add(&path, "must be a bcrypt hash, as htpasswd -nB makes it"),
        }
    }
    users
}

fn rate_limit(root: &Section<'_>, problems: &mut Problems) -> Option<RateLimit> {
    let section = root.section("rate_limit", &["interval", "burst"], problems);
    let interval = section.scalar("interval").and_then(|value| {
        let interval = duration::read(value);
        if interval.is_none() {
            let allowed = "must be 0 or a duration with its unit, such as 100ms or 1s";
            problems.add(&section.path("interval"), allowed);
        }
        interval
    });
    let burst = section.scalar("burst").and_then(|value| {
        let burst = value.as_i64().and_then(|n| u32::try_from(n).ok());
        if burst.is_none() {
            problems.add(&section.path("burst"), "must be a whole number, 0 or more");
        }
        burst
    });
    let interval = interval.filter(|interval| !interval.is_zero())?;
    let Some(burst) = NonZeroU32::new(burst.unwrap_or(0)) else {
        problems
            .add(&section.path("burst"), "must be at least 1: otherwise nothing is let through");
        return None;
    };
    Some(RateLimit { interval, burst })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems_of(text: &str) -> Vec<String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let outcome = load(file.path()).outcome;
        outcome.err().unwrap_or_default()
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
    X-XSS-Protection: '1'
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
    fn nesting_and_aliases_are_bounded() {
        let deep = "- ".repeat(100_000);
        let bomb = format!("a: &a [x]\nb: [{}]", "*a,".repeat(20));
        for text in [deep, "[".repeat(300), "{a: ".repeat(300), bomb] {
            assert_ne!(problems_of(&text), [""; 0]);
        }
    }
}
