//! Questions to a Prometheus server, over its HTTP API. Its answers are outside data: bounded in time, size and
//! number, and never trusted to be what was asked for.
//!
//! <https://prometheus.io/docs/prometheus/latest/querying/api/>

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use thiserror::Error;
use tokio::time::timeout;

use super::client::get;
use super::endpoint::Endpoint;
use super::material::{Material, MaterialFiles};
use super::settings::Login;
use crate::files::FileReader;
use crate::text::printable;

/// The largest answer, in bytes: 11,000 points, the most that Prometheus gives, of some hundred series.
const LARGEST: usize = 32 * 1024 * 1024;

/// The maximum number of series and of points that are read; the rest is dropped.
const MOST_SERIES: usize = 1_000;
const MOST_POINTS: usize = 11_000;

/// The longest text of an error that is shown, in characters.
const LONGEST: usize = 300;

/// The settings of the connection to a Prometheus.
#[derive(Clone)]
pub(crate) struct PrometheusSettings {
    /// Its address, with the prefix of its paths.
    pub url: Endpoint,
    /// The login; `None` for that of the URL, or none.
    pub login: Option<Login>,
    /// Certificates to trust for https; `None` for those of the system.
    pub ca: Option<PathBuf>,
    /// Reads the files named here.
    pub files: FileReader,
    /// The limit of one question.
    pub timeout: Duration,
}

/// A Prometheus that answers questions.
pub(crate) struct Prometheus {
    settings: PrometheusSettings,
    material: Material,
}

/// A question without a usable answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum PrometheusError {
    /// No answer came, or no answer of an HTTP API.
    #[error("Prometheus cannot be asked: {0}")]
    Fetch(String),
    /// The answer is an error of Prometheus.
    #[error("Prometheus refuses the query: {0}")]
    Refused(String),
    /// The answer is no answer to a query.
    #[error("the answer is not that of a Prometheus")]
    NotPrometheus,
}

/// A series of an answer: its labels, and its points by time.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Series {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Seconds since 1970, and the value, which is a number; ascending.
    pub points: Vec<(f64, f64)>,
}

/// Selects series by labels that are equal.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Selector(BTreeMap<String, String>);

impl Selector {
    /// Selects nothing in particular.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds a label; an empty value selects series without it.
    pub(crate) fn with(mut self, label: &str, value: &str) -> Self {
        self.0.insert(label.to_owned(), value.to_owned());
        self
    }

    /// Returns the matchers between braces, with the values quoted.
    pub(crate) fn text(&self) -> String {
        let matchers = self.0.iter().map(|(label, value)| {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            format!("{label}=\"{value}\"")
        });
        format!("{{{}}}", matchers.collect::<Vec<_>>().join(","))
    }
}

#[derive(Deserialize)]
struct Answer {
    status: String,
    #[serde(default)]
    error: String,
    data: Option<Data>,
}

#[derive(Deserialize)]
struct Data {
    result: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    #[serde(default)]
    metric: BTreeMap<String, String>,
    value: Option<(f64, String)>,
    #[serde(default)]
    values: Vec<(f64, String)>,
}

impl Prometheus {
    /// Reads the files of the connection. Nothing is sent yet.
    pub(crate) async fn new(settings: PrometheusSettings) -> Self {
        let needs_tls = matches!(&settings.url, Endpoint::Web(web) if web.is_tls);
        let wanted = MaterialFiles {
            login: settings.login.as_ref(),
            ca: settings.ca.as_deref(),
            files: &settings.files,
            prefix: "prometheus ",
        };
        let material = Material::read(&wanted, needs_tls).await;
        Self { settings, material }
    }

    /// Asks for values at a time, in seconds since 1970.
    ///
    /// # Errors
    /// Without a usable answer.
    pub(crate) async fn at(&self, query: &str, time: f64) -> Result<Vec<Series>, PrometheusError> {
        let mut parameters = form_urlencoded::Serializer::new(String::new());
        parameters.append_pair("query", query).append_pair("time", &time.to_string());
        self.ask("/api/v1/query", &parameters.finish()).await
    }

    /// Asks for values from one time to another, each a step apart.
    ///
    /// # Errors
    /// Without a usable answer.
    pub(crate) async fn range(
        &self,
        query: &str,
        (start, end): (f64, f64),
        step: Duration,
    ) -> Result<Vec<Series>, PrometheusError> {
        let mut parameters = form_urlencoded::Serializer::new(String::new());
        parameters
            .append_pair("query", query)
            .append_pair("start", &start.to_string())
            .append_pair("end", &end.to_string())
            .append_pair("step", &step.as_secs_f64().to_string());
        self.ask("/api/v1/query_range", &parameters.finish()).await
    }

    async fn ask(&self, path: &str, parameters: &str) -> Result<Vec<Series>, PrometheusError> {
        let endpoint = self.settings.url.below(&format!("{path}?{parameters}"));
        let answer = timeout(self.settings.timeout, get(&endpoint, &self.material, LARGEST)).await;
        let limit = self.settings.timeout.as_secs_f64();
        let answer = answer
            .map_err(|_| PrometheusError::Fetch(format!("no answer within {limit} s")))?
            .map_err(|error| PrometheusError::Fetch(error.message))?;
        parse(&answer)
    }
}

/// Reads an answer.
fn parse(answer: &[u8]) -> Result<Vec<Series>, PrometheusError> {
    let answer: Answer =
        serde_json::from_slice(answer).map_err(|_| PrometheusError::NotPrometheus)?;
    if answer.status != "success" {
        let error: String = printable(&answer.error).chars().take(LONGEST).collect();
        return Err(PrometheusError::Refused(error));
    }
    let rows = answer.data.ok_or(PrometheusError::NotPrometheus)?.result;
    Ok(rows.into_iter().take(MOST_SERIES).map(series).collect())
}

/// Keeps the points that are numbers, in ascending order of time. `NaN` is no number; `+Inf` is, for limits.
fn series(row: Row) -> Series {
    let points = row.values.into_iter().chain(row.value).take(MOST_POINTS);
    let mut last = f64::NEG_INFINITY;
    let points = points.filter_map(|(at, text)| {
        let value: f64 = text.parse().ok()?;
        let is_good = at.is_finite() && at > last && !value.is_nan();
        is_good.then(|| {
            last = at;
            (at, value)
        })
    });
    Series { labels: row.metric, points: points.collect() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> Result<Vec<Series>, PrometheusError> {
        parse(text.as_bytes())
    }

    #[test]
    fn vectors_and_matrices_are_read() {
        let text = r#"{"status":"success","data":{"resultType":"matrix","result":[
            {"metric":{"target":"orders"},"values":[[1,"2"],[2,"NaN"],[3,"+Inf"],[2,"9"],[4,"x"]]},
            {"value":[5,"7"]}]}}"#;
        let all = parsed(text).unwrap();
        assert_eq!(all[0].points, [(1.0, 2.0), (3.0, f64::INFINITY)]);
        assert_eq!(all[0].labels["target"], "orders");
        assert_eq!(all[1].points, [(5.0, 7.0)]);
    }

    #[test]
    fn errors_are_shown_and_other_answers_refused() {
        let refused = parsed("{\"status\":\"error\",\"error\":\"parse \\u001b[2J\"}");
        assert_eq!(refused, Err(PrometheusError::Refused("parse \\u{1b}[2J".to_owned())));
        for text in ["", "[]", "<html>", r#"{"status":"success"}"#, r#"{"status":1}"#] {
            assert_eq!(parsed(text), Err(PrometheusError::NotPrometheus), "{text}");
        }
        let scalar = r#"{"status":"success","data":{"resultType":"scalar","result":[1,"2"]}}"#;
        assert_eq!(parsed(scalar), Err(PrometheusError::NotPrometheus));
    }

    #[test]
    fn values_of_labels_are_quoted() {
        let selector = Selector::new().with("target", "a\"b\\c\nd").with("job", "x");
        assert_eq!(selector.text(), "{job=\"x\",target=\"a\\\"b\\\\c\\nd\"}");
    }

    proptest! {
        #[test]
        fn any_answer_is_read_or_refused(text in ".{0,200}", number in ".{0,12}", at in any::<f64>()) {
            let _ = parse(text.as_bytes());
            let row = serde_json::json!({"metric": {"a": text}, "values": [[at, number]]});
            let whole = serde_json::json!({"status": "success", "data": {"result": [row]}});
            let _ = parse(whole.to_string().as_bytes());
        }
    }
}
