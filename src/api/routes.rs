//! The table of routes: a row for each endpoint.
//!
//! To add an endpoint: a file with its answer, and a row here.

use super::{Context, exposition, lifecycle, page, probe, request, runbook};
use crate::web::{Access, Admission, Route, TELEMETRY, Verb};

/// All endpoints.
pub const ROUTES: &[Route<Context>] = &[
    Route {
        verb: Verb::Get,
        path: TELEMETRY,
        access: Access::Open,
        admission: Admission::Limited,
        answer: |context, request| Box::pin(exposition::answer(context, request)),
    },
    Route {
        verb: Verb::Get,
        path: "/probe",
        access: Access::Sensitive,
        // Each request is a probe of its own, also where its answer would be equal.
        admission: Admission::Unshared,
        answer: |context, request| Box::pin(probe::answer(context, request)),
    },
    Route {
        verb: Verb::Get,
        path: "/",
        access: Access::Sensitive,
        admission: Admission::Limited,
        answer: |context, request| Box::pin(page::answer(context, request)),
    },
    Route {
        verb: Verb::Get,
        path: "/runbook",
        access: Access::Sensitive,
        admission: Admission::Limited,
        answer: |context, request| Box::pin(runbook::answer(context, request)),
    },
    Route {
        verb: Verb::Get,
        path: "/-/healthy",
        access: Access::Open,
        admission: Admission::Always,
        answer: |_, _| Box::pin(lifecycle::healthy()),
    },
    Route {
        verb: Verb::Get,
        path: "/-/ready",
        access: Access::Open,
        admission: Admission::Limited,
        answer: |context, _| Box::pin(lifecycle::ready(context)),
    },
    Route {
        verb: Verb::Post,
        path: "/-/reload",
        access: Access::Change,
        admission: Admission::Limited,
        answer: |context, _| Box::pin(lifecycle::reload(context)),
    },
    Route {
        verb: Verb::Get,
        path: "/api/v1/health",
        access: Access::Open,
        admission: Admission::Limited,
        answer: |context, request| Box::pin(request::answer_health(context, request)),
    },
    json("/api/v1/database/pool/status", |context, request| {
        Box::pin(request::answer(context, request, super::pool_status))
    }),
    json("/api/v1/database/pool/health", |context, request| {
        Box::pin(request::answer(context, request, super::pool_health))
    }),
    Route {
        verb: Verb::Post,
        path: "/api/v1/database/pool/reset-metrics",
        access: Access::Change,
        admission: Admission::Limited,
        answer: |context, request| {
            Box::pin(request::answer(context, request, super::reset_metrics))
        },
    },
    json("/api/v1/database/slow-queries", |context, request| {
        Box::pin(request::answer(context, request, super::slow_queries))
    }),
    json("/api/v1/targets", |context, request| {
        Box::pin(request::answer(context, request, super::targets))
    }),
    json("/api/v1/sd", |context, request| Box::pin(request::answer(context, request, super::sd))),
    json("/api/v1/openapi.json", |context, request| {
        Box::pin(request::answer(context, request, super::openapi))
    }),
];

/// The row of an endpoint that shows details as JSON.
const fn json(
    path: &'static str,
    answer: for<'a> fn(&'a Context, &'a crate::web::Request) -> crate::web::Answering<'a>,
) -> Route<Context> {
    Route {
        verb: Verb::Get,
        path,
        access: Access::Sensitive,
        admission: Admission::Limited,
        answer,
    }
}
