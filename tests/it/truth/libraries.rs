//! Pools with a minimum and a maximum, of another library and of another language.

use super::stage::{Expected, Setup, Stage};
use crate::support::workers::{Library, Plan};

/// The settings of a pool that keeps 2 connections and opens 6 at most.
const FIXED: &str =
    "{ shop: { match: { application_name: shop }, pool: fixed, min: 2, max: 6, instances: 1 } }";

fn minimum_and_maximum(library: Library) {
    let stage = Stage::start(Setup::of(5, 3).applications(FIXED));
    let plan = Plan { library, name: "shop", limits: (2, 6), ..Plan::USUAL };
    let mut workers = stage.workers(1, plan);
    workers[0].tell("warm 6");
    let rest = workers[0].wait("all to be back", |now| now.out == 0);
    let idle = Expected {
        status: "healthy",
        checks: &[("pool_saturation", "pass")],
        samples: &[
            ("active_connections", 0.0),
            ("open_connections", rest.open as f64),
            ("size", 6.0),
            ("max_connections", 6.0),
            ("saturation_ratio", 0.0),
        ],
        absent: &["overflow_connections"],
        source: "activity",
        codes: &[0],
        ..Expected::default()
    };
    stage.expect(&format!("{library:?} 2 to 6, idle"), "shop", &idle);
    workers[0].tell("hold 6");
    workers[0].tell("wait 2");
    let full = Expected {
        status: "unhealthy",
        samples: &[
            ("active_connections", 6.0),
            ("saturation_ratio", 1.0),
            ("saturated_instances", 1.0),
        ],
        absent: &["overflow_connections"],
        codes: &[1, 2],
        ..Expected::default()
    };
    stage.expect(&format!("{library:?} 2 to 6, full"), "shop", &full);
}

#[test]
fn psycopg_pool_is_read_as_it_is() {
    minimum_and_maximum(Library::PsycopgPool);
}

#[test]
fn node_postgres_is_read_as_it_is() {
    minimum_and_maximum(Library::NodePg);
}
