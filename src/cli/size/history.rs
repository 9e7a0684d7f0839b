//! The inputs from a Prometheus.

use std::io::IsTerminal as _;
use std::time::{Duration, SystemTime};

use super::{SizeArguments, Sized};
use crate::cli::progress::Bar;
use crate::duration;
use crate::files::FileReader;
use crate::sizing::{HistoryRequest, LEAST_DATA, OfPool, read_history};
use crate::source::{Login, Prometheus, PrometheusSettings};

/// The limit of one question: a week of samples is a lot of work for a Prometheus.
const LIMIT: Duration = Duration::from_secs(60);

/// The limit of reading a file with a secret.
const FILES: Duration = Duration::from_secs(5);

/// Asks the Prometheus about every application.
pub(super) fn read(arguments: &SizeArguments) -> Result<Vec<Sized>, String> {
    let window = arguments.prometheus.window;
    if window < LEAST_DATA {
        let least = duration::show(LEAST_DATA);
        return Err(format!("--window is less than {least}, which does not show the busiest hour"));
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let request = HistoryRequest {
        window,
        end: now.as_secs_f64().floor(),
        target: arguments.target.clone(),
        application: arguments.application.clone(),
        cores: arguments.cores,
        overlap: arguments.overlap,
    };
    let Some(settings) = settings(arguments) else {
        return Err("--prometheus.url is missing".to_owned());
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let mut bar = Bar::new(std::io::stderr().is_terminal());
    let all = runtime.block_on(async {
        let prometheus = Prometheus::new(settings).await;
        read_history(&prometheus, &request, |done, all| bar.show(done, all, "applications")).await
    });
    bar.clear();
    runtime.shutdown_background();
    Ok(all.map_err(|error| error.to_string())?.into_iter().map(sized).collect())
}

fn sized((labels, inputs): OfPool) -> Sized {
    let name = |label: &str| labels.get(label).map_or("", String::as_str);
    let inputs = inputs.map_err(|error| error.to_string());
    Sized::new(name("target"), name("application"), inputs)
}

fn settings(arguments: &SizeArguments) -> Option<PrometheusSettings> {
    let given = &arguments.prometheus;
    let basic = given.username.clone().zip(given.password_file.clone());
    let basic = basic.map(|(username, password)| Login::Basic { username, password });
    let token = given.bearer_token_file.clone().map(Login::Bearer);
    Some(PrometheusSettings {
        url: given.url.clone()?.0,
        login: basic.or(token),
        ca: given.ca_file.clone(),
        files: FileReader::new(FILES),
        timeout: LIMIT,
    })
}
