//! A Prometheus exporter for PostgreSQL connection pools.
//!
//! The rooms, from the lowest to the highest; each imports only those above it in this list
//! (ARCHITECTURE.md has the table, `tests/layering.rs` holds it).

pub mod secret;
pub mod dsn;
