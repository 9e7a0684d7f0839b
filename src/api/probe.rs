//! `/probe`: a fresh probe of one target, with the parameters of postgres_exporter and the semantics of
//! blackbox_exporter.
//!
//! A bad request is answered with 400, a database that is down with 200 and `db_pool_up 0`. No answer repeats the
//! target of the request, and all refusals of a target are the same.

use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{HeaderMap, RETRY_AFTER};

use tokio::time::Instant;

use super::request::DISABLED;
use super::{Context, Shown, exposition};
use crate::health::{self, Clock};
use crate::metrics::{Filter, Page};
use crate::ondemand::{Disclosure, NoProbe, OnDemandProbe, ProbeRequest};
use crate::report::{self, Report};
use crate::text::Palette;
use crate::web::{self, Answer, Request};

/// The time-out of Prometheus for the scrape, in seconds.
const SCRAPE_TIMEOUT: &str = "x-prometheus-scrape-timeout-seconds";

const NOT_ALLOWED: &str = "the target is not allowed: without auth_module it must be the name of a configured \
                           target, with auth_module an address of its allowed_targets";

/// Probes a target and answers with its families, or with the report of `check` for `debug=true`.
pub(super) async fn answer(context: &Context, request: &Request) -> Answer {
    let Some(probes) = &context.probes else { return refusal(NoProbe::Nothing) };
    let parameters = match Parameters::read(request, context.settings.timeout_offset) {
        Ok(parameters) => parameters,
        Err(problem) => return Answer::problem(StatusCode::BAD_REQUEST, problem),
    };
    let Parameters { target, module, limit, shape } = parameters;
    let asked = ProbeRequest { target: &target, module: module.as_deref(), limit };
    let probe = match probes.on_demand.probe(&asked).await {
        Ok(probe) => probe,
        Err(reason) => return refusal(reason),
    };
    match shape {
        Shape::Metrics => {
            let format = web::format(&request.headers);
            let filter = Filter::new(exposition::names(request));
            let mut page = Page::new(format, &filter);
            probe
                .finish(|probe| {
                    let shown = Shown::Targets(vec![Arc::clone(probe.target())]);
                    (context.exposition)(&shown, &mut page);
                })
                .await;
            exposition::page(page, format, &request.headers)
        }
        Shape::Explained => {
            let text = probe.finish(explained).await;
            Answer::text(StatusCode::OK, text)
        }
    }
}

/// Reports a probe as `check` does, as far as its client may read it.
fn explained(probe: &OnDemandProbe) -> String {
    let target = probe.target();
    let settings = target.settings();
    let Some(published) = target.published() else { return String::new() };
    let snapshot = match probe.disclosure() {
        Disclosure::Full => published.snapshot.as_ref().clone(),
        Disclosure::Reasons => published.snapshot.without_messages(),
    };
    let clock = Clock { now: Instant::now(), interval: settings.schedule.interval };
    let verdict = health::judge(Some(&snapshot), &clock, &settings.thresholds);
    let report = Report { settings, snapshot: &snapshot, verdict: &verdict };
    report::of_all(&[report], Palette::Plain)
}

fn refusal(reason: NoProbe) -> Answer {
    let bad = |text: &str| Answer::problem(StatusCode::BAD_REQUEST, text);
    match reason {
        NoProbe::NotAllowed => bad(NOT_ALLOWED),
        NoProbe::UnknownModule => bad("unknown auth_module"),
        NoProbe::Nothing => Answer::problem(
            StatusCode::NOT_FOUND,
            "nothing can be probed: the configuration has neither targets nor auth_modules",
        ),
        NoProbe::Disabled => Answer::problem(StatusCode::SERVICE_UNAVAILABLE, DISABLED),
        NoProbe::Busy => {
            Answer::problem(StatusCode::SERVICE_UNAVAILABLE, "too many probes at once")
                .with(RETRY_AFTER, "1")
        }
    }
}

/// The shape of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Metrics,
    /// `debug=true`.
    Explained,
}

/// The parts of a request.
struct Parameters {
    target: String,
    module: Option<String>,
    limit: Option<Duration>,
    shape: Shape,
}

impl Parameters {
    fn read(request: &Request, offset: Duration) -> Result<Self, &'static str> {
        let target = single(request, "target")?.filter(|target| !target.is_empty());
        let module = single(request, "auth_module")?;
        let synonym = single(request, "module")?;
        let module = match (module, synonym) {
            (Some(_), Some(_)) => return Err("auth_module and module are the same: give one"),
            (module, synonym) => module.or(synonym),
        };
        // Relabelling without a source leaves an empty parameter behind.
        let module = module.filter(|module| !module.is_empty());
        let shape = match single(request, "debug")?.as_deref() {
            Some("true" | "1") => Shape::Explained,
            None | Some(_) => Shape::Metrics,
        };
        Ok(Self {
            target: target.ok_or("target is missing: give the name of a configured target, or an address and an auth_module")?,
            module,
            limit: limit(&request.headers, offset)?,
            shape,
        })
    }
}

/// A parameter that may be given once: of two, one program would check the first and another use the last.
fn single(request: &Request, name: &str) -> Result<Option<String>, &'static str> {
    let mut values = request.query().filter(|(key, _)| key == name).map(|(_, value)| value);
    let first = values.next();
    if values.next().is_some() {
        return Err("a parameter is given twice");
    }
    Ok(first.map(std::borrow::Cow::into_owned))
}

/// The time that Prometheus leaves for the scrape, less the time for the answer's way.
fn limit(headers: &HeaderMap, offset: Duration) -> Result<Option<Duration>, &'static str> {
    const BAD: &str = "X-Prometheus-Scrape-Timeout-Seconds must be a number of seconds above 0";
    let mut values = headers.get_all(SCRAPE_TIMEOUT).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(BAD);
    }
    let seconds: f64 = value.to_str().ok().and_then(|text| text.trim().parse().ok()).ok_or(BAD)?;
    let time = Duration::try_from_secs_f64(seconds).map_err(|_| BAD)?;
    if time.is_zero() {
        return Err(BAD);
    }
    // With an offset above the time-out there would be no time at all.
    Ok(Some(time.saturating_sub(offset).max(time / 2)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(values: &[&str]) -> Result<Option<Duration>, &'static str> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(SCRAPE_TIMEOUT, value.parse().unwrap());
        }
        limit(&headers, Duration::from_millis(500))
    }

    #[test]
    fn the_scrape_leaves_its_time_out_less_the_offset() {
        let ms = |ms| Ok(Some(Duration::from_millis(ms)));
        assert_eq!(limits(&[]), Ok(None));
        assert_eq!(limits(&["10"]), ms(9_500));
        assert_eq!(limits(&["2.5"]), ms(2_000));
        assert_eq!(limits(&["0.6"]), ms(300));
        for bad in ["", "x", "0", "-1", "NaN", "inf", "1e300", "1s"] {
            assert!(limits(&[bad]).is_err(), "{bad}");
        }
        assert!(limits(&["10", "20"]).is_err());
    }
}
