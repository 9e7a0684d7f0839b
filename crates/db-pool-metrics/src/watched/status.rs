//! The status document: JSON for `GET /api/v1/database/pool/status`.
//!
//! `integrations/status.schema.json` of db_pool_exporter is its contract. It is small and fixed, so that it is
//! written here and no JSON crate is needed.

use std::fmt::Display;
use std::time::{Duration, SystemTime};

use super::View;
use super::families::Closed;
use crate::{CheckOutOutcome, Distribution, Label as _, Purpose};

/// The name of the pool's class in the document.
const CLASS: &str = "bb8";

/// One process's pool, as far as it does not change.
pub(super) struct Identity {
    pub(super) application: String,
    pub(super) started_at: SystemTime,
    pub(super) instance_id: String,
}

/// Settings of a pool that only the document shows.
pub(super) struct Settings {
    pub(super) is_tested_at_check_out: bool,
}

/// Writes the document.
pub(super) fn document(view: &View, settings: &Settings, identity: &Identity) -> String {
    let mut json = Json(String::with_capacity(3 * 1024));
    json.object(None, |json| {
        json.text("pool_class", CLASS);
        json.object(Some("metrics"), |json| metrics(json, view));
        json.object(Some("pool_config"), |json| {
            json.value("size", view.state.size);
            json.seconds("timeout", view.state.timeout);
            match view.state.recycle {
                Some(age) => json.seconds("recycle", age),
                None => json.value("recycle", -1),
            }
            json.value("pre_ping", settings.is_tested_at_check_out);
        });
        json.object(Some("db_pool_status"), |json| extension(json, view, identity));
    });
    json.0
}

/// The fields of the specification.
fn metrics(json: &mut Json, view: &View) {
    json.object(Some("connections"), |json| {
        json.value("active", view.state.active);
        json.value("idle", view.state.idle);
        json.value("total", view.state.open);
        json.value("overflow", view.state.overflow());
        json.value("failed", view.meter.failed.count());
    });
    json.object(Some("performance"), |json| {
        let connect = view.meter.instruments.times.connect.distribution(Purpose::Pool);
        json.value("avg_connection_time_ms", connect.mean() * 1000.0);
    });
    json.object(Some("events"), |json| {
        let totals = view.meter.instruments.totals();
        json.value("checkouts", totals.checkouts);
        json.value("checkins", totals.checkins);
        json.value("connects", view.opened);
        json.value("disconnects", view.disconnects());
    });
}

fn extension(json: &mut Json, view: &View, identity: &Identity) {
    json.value("schema_version", 1);
    json.text("application", &identity.application);
    json.object(Some("process"), |json| {
        json.value("pid", std::process::id());
        let since = identity.started_at.duration_since(SystemTime::UNIX_EPOCH);
        json.seconds("started_at", since.unwrap_or_default());
        json.text("instance_id", &identity.instance_id);
    });
    json.object(Some("library"), |json| json.text("version", env!("CARGO_PKG_VERSION")));
    json.text("pool_class", CLASS);
    json.object(Some("limits"), |json| {
        json.value("size", view.state.size);
        json.value("max_overflow", 0);
        json.value("max_connections", view.state.size);
        json.seconds("timeout_seconds", view.state.timeout);
    });
    json.object(Some("now"), |json| now(json, view));
    json.object(Some("totals"), |json| totals(json, view));
    json.object(Some("histograms"), |json| {
        let times = &view.meter.instruments.times;
        json.histogram("checkout_wait_seconds", &times.wait.distribution());
        json.histogram("connect_duration_seconds", &times.connect.distribution(Purpose::Pool));
        json.histogram("use_duration_seconds", &times.usage.distribution());
    });
}

fn now(json: &mut Json, view: &View) {
    json.value("checked_out", view.state.active);
    json.value("idle", view.state.idle);
    json.value("overflow", view.state.overflow());
    json.value("open", view.state.open);
    json.value("connecting", view.state.connecting);
    json.value("waiting", view.state.pending);
    json.seconds("oldest_wait_seconds", view.queue.oldest);
}

fn totals(json: &mut Json, view: &View) {
    let checkouts = &view.meter.instruments.checkouts;
    json.object(Some("checkouts"), |json| {
        json.value("ok", checkouts.count(CheckOutOutcome::Ok));
        json.value("timeout", checkouts.count(CheckOutOutcome::Timeout));
        json.value("error", checkouts.count(CheckOutOutcome::ConnectError));
        json.value("cancelled", checkouts.count(CheckOutOutcome::Cancelled));
    });
    json.value("checkins", view.meter.instruments.checkins.count());
    json.value("connects", view.opened);
    json.value("failed_connects", view.meter.failed.count());
    json.value("disconnects", view.disconnects());
    json.object(Some("closed"), |json| {
        for reason in Closed::all() {
            json.value(reason.label(), view.closed(reason));
        }
    });
}

/// Writes one JSON object. Names are fixed; texts have no character that needs an escape.
struct Json(String);

impl Json {
    fn object(&mut self, name: Option<&str>, fill: impl FnOnce(&mut Self)) {
        if let Some(name) = name {
            self.name(name);
        }
        self.0.push('{');
        fill(self);
        self.0.push('}');
    }

    fn text(&mut self, name: &str, text: &str) {
        debug_assert!(text.chars().all(|c| c.is_ascii_graphic() && c != '"' && c != '\\'));
        self.value(name, format_args!("\"{text}\""));
    }

    /// Writes a number, `true` or `false`.
    fn value(&mut self, name: &str, value: impl Display) {
        self.name(name);
        self.0.push_str(&value.to_string());
    }

    fn seconds(&mut self, name: &str, time: Duration) {
        self.value(name, time.as_secs_f64());
    }

    fn histogram(&mut self, name: &str, found: &Distribution) {
        self.object(Some(name), |json| {
            json.list("edges", &found.edges);
            json.list("counts", &found.counts);
            json.value("sum", found.sum);
            json.value("count", found.count());
        });
    }

    fn list(&mut self, name: &str, values: &[impl Display]) {
        let values: Vec<String> = values.iter().map(ToString::to_string).collect();
        self.value(name, format_args!("[{}]", values.join(",")));
    }

    fn name(&mut self, name: &str) {
        if !self.0.ends_with('{') {
            self.0.push(',');
        }
        self.0.push('"');
        self.0.push_str(name);
        self.0.push_str("\":");
    }
}
