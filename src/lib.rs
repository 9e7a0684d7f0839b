//! A Prometheus exporter for PostgreSQL connection pools.
//!
//! The rooms, from the lowest to the highest; each imports only those before it in this list
//! (ARCHITECTURE.md has the table, `tests/layering.rs` holds it).

pub mod duration;

pub mod files;

pub mod problem;

pub mod secret;

mod switch;

pub mod text;

pub mod watch;

pub use db_pool_metrics as metrics;

pub mod dsn;

pub mod pool;

pub mod view;

pub mod source;

pub mod probe;

pub mod health;

mod ondemand;

mod report;

mod sizing;

pub mod web;

pub mod api;

pub mod config;

pub mod app;

pub mod cli;
