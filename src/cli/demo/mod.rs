//! `demo`: a temporary PostgreSQL, a sample shop with some applications, and the daemon that watches them. With
//! PgBouncer, Prometheus and Alertmanager where they are installed.
//!
//! | file | holds |
//! | --- | --- |
//! | `script.rs` | the scenes, their times, and the alerts that each must cause |
//! | `director.rs` | plays the script and notes the alerts |
//! | `crew.rs` | the processes of the applications, and the load of each in each scene |
//! | `application.rs` | such a process, from its own side |
//! | `stage.rs` | starts the servers, and writes the exporter's configuration |
//! | `server.rs`, `database.rs`, `bouncer.rs`, `prometheus.rs` | the servers |
//! | `rules.rs` | the project's alert rules, faster |
//! | `programs.rs` | finds and ends programs |
//! | `screen.rs` | what is printed |

mod application;
mod bouncer;
mod crew;
mod database;
mod director;
mod programs;
mod prometheus;
mod rules;
mod screen;
mod script;
mod server;
mod stage;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::bouncer::Bouncer;
use self::crew::{Crew, ORDERS, Places, SHOP};
use self::director::{Director, Rounds};
use self::prometheus::{Prometheus, reachable};
use self::screen::{Diary, Screen};
use self::script::{Scenario, Script};
use self::server::NAME;
use self::stage::Stage;
use super::{Command, flags};
use crate::app::{self, Daemon, LogQueue, Notifier, logging};
use crate::config::{Loader, Reread};
use crate::duration;
use crate::files::FileReader;
use crate::text::printable;
use crate::web::{self, Listener};

/// A scenario is played within these times.
const SHORTEST: Duration = Duration::from_secs(20);
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// The flags of `demo`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::Args)]
pub(crate) struct DemoArguments {
    /// The scenes to play: a whole day, or one scene between two calm ones.
    #[arg(long, value_enum, default_value = "day")]
    scenario: Scenario,

    /// Play the scenario once in this time, and end [default: again and again until Ctrl-C, a day in 5m].
    #[arg(long, value_name = "DURATION", value_parser = length)]
    duration: Option<Duration>,

    /// The number of times that the scenario is played with --duration.
    #[arg(long, value_name = "N", default_value_t = 1)]
    rounds: u32,
}

fn length(text: &str) -> Result<Duration, &'static str> {
    let length = duration::parse(text).filter(|length| (SHORTEST..=LONGEST).contains(length));
    length.ok_or("must be a time from 20s to 24h")
}

/// Runs until the script ends or Ctrl-C.
pub(super) fn run(
    mut command: Command,
    arguments: DemoArguments,
    environment: &BTreeMap<String, String>,
) -> ExitCode {
    if environment.contains_key(crew::AS_APPLICATION) {
        return application::run();
    }
    flags::for_demo(&mut command);
    let log = match logging::init(command.settings.log) {
        Ok(log) => log,
        Err(error) => {
            eprintln!("demo: the log cannot be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = runtime.context("a runtime").and_then(|runtime| {
        let result = runtime.block_on(live(command, arguments, environment, log));
        runtime.shutdown_background();
        result
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {}", printable(&format!("{error:#}")));
            ExitCode::FAILURE
        }
    }
}

async fn live(
    command: Command,
    arguments: DemoArguments,
    environment: &BTreeMap<String, String>,
    log: LogQueue,
) -> Result<()> {
    let script = Script::new(arguments.scenario, arguments.duration);
    let screen = Screen::new();
    let stop = CancellationToken::new();
    TaskTracker::new().spawn(app::stop_on_signal(stop.clone())?);
    // Ports are bound before the server starts, so that a port in use is reported at once.
    let listeners = web::bind(&command.settings.web, web::Inherited::empty())
        .context("choose another address with --web.listen-address=127.0.0.1:9957")?;
    let stage = Stage::start(&command, &listeners, &script, screen, environment);
    // Declared before its clients, so that it is dropped after them.
    let Some(mut stage) = stop.run_until_cancelled(stage).await.transpose()? else {
        return Ok(());
    };
    screen.say(&announcement(&stage, &listeners, &command, &script, arguments.duration));
    let Stage { server, bouncer, prometheus, status, configuration } = &mut stage;
    let loader = Loader::new(BTreeMap::new(), Some(configuration.clone()), FileReader::default());
    let config = loader.load(Reread::All).map_err(|p| anyhow::anyhow!("{p}"))?;
    let mut settings = command.settings;
    settings.config_file = Some(configuration.clone());
    let daemon = Daemon { settings, loader, config, notifier: Notifier::default(), log };
    let places =
        Places { server: server.port(), bouncer: bouncer.as_ref().map(Bouncer::port), status };
    let mut director = Director {
        script: &script,
        screen,
        server,
        places,
        prometheus: prometheus.as_ref().map(Prometheus::port),
        crew: Crew::new(),
        diary: Diary::default(),
    };
    let rounds = arguments.duration.map_or(Rounds::Endless, |_| Rounds::Times(arguments.rounds));
    let play = async {
        let played = stop.run_until_cancelled(director.play(rounds)).await;
        stop.cancel();
        played.unwrap_or(Ok(()))
    };
    let (played, ran) = tokio::join!(play, app::run(listeners, daemon, stop.clone()));
    let watched = director.prometheus.is_some();
    let (counts, diary) = director.end().await;
    if watched {
        screen.say(&format!("\ndemo: the alerts, by scene\n{}", diary.table(&script)));
    }
    screen.say(&format!(
        "demo: of the application's pool, {} check-outs got a connection, {} timed out",
        counts.served, counts.timed_out
    ));
    played.and(ran)
}

/// Returns the first screen: the addresses to open, and the scenes with their times.
fn announcement(
    stage: &Stage,
    listeners: &[Listener],
    command: &Command,
    script: &Script,
    duration: Option<Duration>,
) -> String {
    let mut text = String::from("\nOpen now\n");
    let mut line = |what: &str, where_to: &str| {
        text.push_str(&format!("  {what:<12}  {where_to}\n"));
    };
    let web = &command.settings.web;
    for listener in listeners {
        let address = listener.address().to_string();
        let place = match reachable(&address) {
            Some(address) => format!("http://{address}{}", web.prefix()),
            None => address,
        };
        line("status page", &format!("{place}/"));
        line("metrics", &format!("{place}{}", web.telemetry_path));
        line("health", &format!("{place}/api/v1/health"));
        line("pool status", &format!("{place}/api/v1/database/pool/status"));
    }
    if let Some(prometheus) = &stage.prometheus {
        line("Prometheus", &format!("http://127.0.0.1:{}/alerts", prometheus.port()));
        if let Some(port) = prometheus.alertmanager() {
            line("Alertmanager", &format!("http://127.0.0.1:{port}"));
        }
    }
    text.push('\n');
    let mut line = |what: &str, which: &str| {
        text.push_str(&format!("  {what:<12}  {which}\n"));
    };
    let login = format!("role, password and database `{NAME}`");
    line("PostgreSQL", &format!("127.0.0.1:{}, {login}", stage.server.port()));
    if let Some(bouncer) = &stage.bouncer {
        line(
            "PgBouncer",
            &format!("127.0.0.1:{}, likewise; the application mobile uses it", bouncer.port()),
        );
    }
    line(
        "applications",
        &format!(
            "shop (a pool of {} connections and {} of overflow, seen from the server) and orders-api \
             (at most {ORDERS}, it serves its own numbers)",
            SHOP.0, SHOP.1
        ),
    );
    let again = if duration.is_some() { "then the demo ends" } else { "then it begins again" };
    let _ = write!(
        text,
        "\nWhat happens, in {}; {again}\n{}\nThe exporter's own log shows errors only; --log.level=info shows more.\n\
         Ctrl-C stops everything and removes all files.\n",
        screen::clock(script.length()),
        screen::programme(script)
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_has_a_length_that_can_be_played() {
        assert_eq!(length("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(length("60"), Ok(Duration::from_secs(60)));
        for text in ["1s", "25h", "soon", ""] {
            assert!(length(text).is_err(), "{text}");
        }
    }
}
