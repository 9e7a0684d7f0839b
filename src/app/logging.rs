//! The log: logfmt or JSON, one line an event, to standard error by way of a queue.

use std::io;

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use super::json_writer::PrintableJson;
use super::log_queue::LogQueue;
use super::logfmt::Logfmt;

/// The level and the format of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogSettings {
    /// The lowest level that is logged.
    pub level: LevelFilter,
    /// The format of a line.
    pub format: Format,
}

/// The format of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// `ts=... level=info message="..."`.
    Logfmt,
    /// The same fields as a JSON object.
    Json,
}

/// Starts the log and returns its queue. Only the first call of a process has an effect on the log.
///
/// # Errors
/// When the thread that writes cannot be started.
pub(crate) fn init(settings: LogSettings) -> io::Result<LogQueue> {
    let queue = LogQueue::default();
    queue.start(io::stderr())?;
    let registry = tracing_subscriber::registry();
    let lines = queue.clone();
    let writer = move || lines.clone();
    // Only the two layers' types differ. An error means that a log was started before.
    let _ = match settings.format {
        Format::Logfmt => registry.with(logfmt(writer).with_filter(filter(settings))).try_init(),
        Format::Json => registry.with(json(writer).with_filter(filter(settings))).try_init(),
    };
    Ok(queue)
}

/// The crates of this workspace; their log targets begin with these names.
const OWN_CRATES: [&str; 2] = [env!("CARGO_CRATE_NAME"), "db_pool_metrics"];

/// Libraries log from warnings on: lower levels are of no use to operators and may quote what they send.
fn filter(settings: LogSettings) -> Targets {
    let others = settings.level.min(LevelFilter::WARN);
    let own = OWN_CRATES.map(|name| (name, settings.level));
    Targets::new().with_default(others).with_targets(own)
}

fn logfmt<S, W>(writer: W) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + 'static,
{
    fmt::layer().event_format(Logfmt).with_ansi(false).with_writer(writer)
}

fn json<S, W>(writer: W) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + 'static,
{
    fmt::layer().json().flatten_event(true).with_target(false).with_writer(PrintableJson(writer))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, PoisonError};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Kept {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    fn speak() {
        tracing::info!(target = "orders", "it is \"up\"");
        tracing::debug!("not logged");
        tracing::info!(target: "tokio_postgres", "not logged");
        tracing::warn!(target: "tokio_postgres", "a warning");
    }

    #[test]
    fn neither_format_lets_a_server_drive_or_deceive_a_terminal() {
        let attack = "\u{1b}[2J\u{9b}31m\rHEALTHY\u{202e}x\u{2066}\u{2028}\u{2029}\u{7}\u{7f}";
        let kept = Kept::default();
        let speak = || tracing::info!(error = attack, role = %attack, debug = ?attack, "{attack}");
        let writer = kept.clone();
        let layer = logfmt(move || writer.clone()).with_filter(filter(INFO));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), speak);
        let writer = kept.clone();
        let layer = json(move || writer.clone()).with_filter(filter(INFO));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), speak);
        let text = kept.text();
        let lines: Vec<&str> = text.split('\n').collect();
        assert_eq!(lines.len(), 3, "{text:?}");
        assert!(!lines.concat().contains(crate::text::is_unsafe), "{text:?}");
        let line: serde_json::Value = serde_json::from_str(lines[1]).unwrap();
        assert_eq!((&line["message"], &line["error"]), (&attack.into(), &attack.into()));
    }

    const INFO: LogSettings = LogSettings { level: LevelFilter::INFO, format: Format::Logfmt };

    #[test]
    fn logfmt_lines() {
        let kept = Kept::default();
        let writer = kept.clone();
        let layer = logfmt(move || writer.clone()).with_filter(filter(INFO));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), speak);
        let text = kept.text();
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.contains("level=info"), "{text}");
        assert!(text.contains(r#""it is \"up\"""#), "{text}");
        assert!(text.contains("target=orders"), "{text}");
    }

    #[test]
    fn json_lines() {
        let kept = Kept::default();
        let writer = kept.clone();
        let layer = json(move || writer.clone()).with_filter(filter(INFO));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), speak);
        let text = kept.text();
        assert_eq!(text.lines().count(), 2, "{text}");
        let line: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["message"], "it is \"up\"");
        assert_eq!(line["target"], "orders");
    }
}
