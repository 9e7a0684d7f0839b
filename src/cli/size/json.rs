//! The advice as JSON. docs/size.schema.json describes it.

use serde_json::{Value, json};

use super::Sized;
use crate::sizing::{
    Advice, Arithmetic, Basis, Binding, Estimate, Fit, Inputs, Measured, Plan, PoolLimit, Spread,
};

/// Returns the advice on every application.
pub(super) fn of_all(all: &[Sized], code: u8) -> String {
    let pools: Vec<Value> = all.iter().map(pool).collect();
    format!("{:#}\n", json!({ "exit_code": code, "pools": pools }))
}

fn pool(sized: &Sized) -> Value {
    let [target, application] = &sized.names;
    let (inputs, advice, error) = match &sized.outcome {
        Ok((inputs, advice)) => (inputs_json(inputs), advice_json(advice), None),
        Err(message) => (Value::Null, Value::Null, Some(message)),
    };
    json!({
        "target": target,
        "application": application,
        "fit": fit(sized.fit()),
        "error": error,
        "inputs": inputs,
        "advice": advice,
    })
}

fn fit(fit: Fit) -> &'static str {
    match fit {
        Fit::Yes => "fits",
        Fit::No => "does_not_fit",
        Fit::Unknown => "unknown",
    }
}

fn inputs_json(inputs: &Inputs) -> Value {
    let (span, usage) = (&inputs.span, &inputs.usage);
    let server = inputs.server.as_ref().map(|server| {
        json!({
            "max_connections": server.max_connections,
            "ordinary_connections": server.ordinary,
            "others_peak": server.others,
            "role_limit_left": server.role,
            "database_limit_left": server.database,
            "cores": server.cores,
        })
    });
    json!({
        "user": inputs.user,
        "database": inputs.database,
        "source": match span.measured {
            Measured::Prometheus => "prometheus",
            Measured::Live => "live",
        },
        "window_seconds": span.asked.as_secs_f64(),
        "data_seconds": span.seen.as_secs_f64(),
        "step_seconds": span.step.as_secs_f64(),
        "pool_size": inputs.pool.size,
        "pool_max": match inputs.pool.max {
            PoolLimit::AtMost(max) => Some(max),
            PoolLimit::Unlimited => None,
        },
        "processes": inputs.processes.usual,
        "processes_most": inputs.processes.most,
        "processes_known": inputs.processes.are_known,
        "active": spread(&usage.active),
        "active_peak": usage.peak,
        "fullest_process": usage.fullest.as_ref().map(spread),
        "saturated_ratio": usage.saturated,
        "longest_wait_seconds": usage.longest_wait.map(|wait| wait.as_secs_f64()),
        "timeouts": usage.timeouts,
        "checkouts_per_second": usage.rate,
        "hold_seconds": usage.hold.map(|hold| hold.as_secs_f64()),
        "on_cpu": usage.on_cpu.as_ref().map(spread),
        "server": server,
    })
}

fn spread(spread: &Spread) -> Value {
    json!({
        "samples": spread.len(),
        "mean": spread.mean(),
        "p99": spread.quantile(0.99),
        "peak": spread.peak(),
    })
}

fn advice_json(advice: &Advice) -> Value {
    let need = advice.need.map(|need| {
        json!({
            "size": need.demand.size,
            "max": need.demand.max,
            "peak": need.demand.peak,
            "at_least": need.demand.is_open_ended,
            "basis": match need.demand.basis {
                Basis::Fullest => "fullest_process",
                Basis::Shared => "shared_load",
                Basis::Means => "hourly_means",
            },
            "saturated_ratio": need.full,
        })
    });
    json!({
        "decided_by": match advice.binding {
            Binding::Application => "application",
            Binding::Waits => "waits",
            Binding::Server => "server",
            Binding::Role => "role",
            Binding::Database => "database",
            Binding::Processors => "processors",
        },
        "may_open": advice.may_open,
        "server_gives": advice.given,
        "needs_per_process": need,
        "db_pool_size": advice.plan.map(|plan| plan.size),
        "db_max_overflow": advice.plan.map(|plan| plan.overflow),
        "max_per_process": advice.plan.map(Plan::max),
        "max_per_process_for_every_peak": advice.up_to,
        "is_enough": advice.plan_is_enough,
        "more_processes_now": advice.room_now,
        "more_processes_with_advice": advice.room_then,
    })
}

/// Returns the rule of thumb.
pub(super) fn of_arithmetic(inputs: &Arithmetic, estimate: &Estimate) -> String {
    let json = json!({
        "fit": fit(estimate.fit),
        "workers": inputs.workers,
        "connections_per_worker": inputs.per_worker,
        "processes": inputs.processes,
        "server_gives": inputs.given,
        "db_pool_size": estimate.plan.size,
        "db_max_overflow": estimate.plan.overflow,
        "connections": estimate.total,
        "more_processes": estimate.room,
    });
    format!("{json:#}\n")
}
