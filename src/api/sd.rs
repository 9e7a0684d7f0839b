//! `GET /api/v1/sd`: the targets as Prometheus' HTTP service discovery wants them, one group a target.
//!
//! For one scrape a target, through `/metrics?target=` or `/probe`: `__param_target` is filled in, so that the
//! job only puts the exporter's own address into `__address__` (docs/scaling.md). What begins with `__meta_`
//! is there for relabelling; the target's own labels become labels of every series.
//! <https://prometheus.io/docs/prometheus/latest/http_sd/>

use hyper::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value};

use super::request::{ApiRequest, Reply};
use crate::metrics::Label;
use crate::probe::Target;

#[derive(Serialize)]
struct Group {
    targets: [String; 1],
    labels: Map<String, Value>,
}

/// Every target, in the order of the roster, also when monitoring is disabled.
pub(crate) fn sd(request: &ApiRequest<'_>) -> Reply {
    let targets = request.roster.targets();
    let groups: Vec<Group> = targets.iter().map(|target| group(target)).collect();
    Reply::new(StatusCode::OK, &groups)
}

fn group(target: &Target) -> Group {
    let settings = target.settings();
    let own = settings.labels.iter().map(|(name, value)| (name.clone(), value.clone()));
    let known = [
        ("__param_target", target.name().to_owned()),
        ("__meta_db_pool_target", target.name().to_owned()),
        ("__meta_db_pool_kind", settings.kind.label().to_owned()),
        ("__meta_db_pool_host", target.host()),
        ("__meta_db_pool_server", target.server().address().to_string()),
        ("__meta_db_pool_database", target.database().to_owned()),
    ];
    let known = known.into_iter().map(|(name, value)| (name.to_owned(), value));
    let labels = own.chain(known).map(|(name, value)| (name, Value::String(value))).collect();
    Group { targets: [target.name().to_owned()], labels }
}
