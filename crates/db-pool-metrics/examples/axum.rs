//! An axum application with exact metrics of its connection pool.
//!
//! ```sh
//! DATABASE_URL=postgresql://app:secret@localhost/orders cargo run --features bb8 --example axum
//! ```
//!
//! `/metrics` is for Prometheus, `/api/v1/database/pool/status` for `db_pool_exporter`.

#![allow(
    clippy::disallowed_methods,
    reason = "the rules of the daemon are not those of an application"
)]

use std::error::Error;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use bb8_postgres::PostgresConnectionManager;
use db_pool_metrics::{Metered, Watched};
use prometheus::{Registry, TextEncoder};
use tokio_postgres::NoTls;

type Pool = Watched<PostgresConnectionManager<NoTls>>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::var("DATABASE_URL")?;
    let listen = std::env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());

    let manager = PostgresConnectionManager::new_from_stringlike(url, NoTls)?;
    let pool = bb8::Pool::builder().max_size(5).build(Metered::new(manager)).await?;
    let pool = Watched::new(pool, "orders");
    let registry = Registry::new();
    pool.register(&registry)?;

    let application = Router::new()
        .route("/orders/count", get(count))
        .route("/api/v1/database/pool/status", get(status))
        .with_state(pool)
        .route("/metrics", get(metrics))
        .with_state(registry);
    axum::serve(tokio::net::TcpListener::bind(listen).await?, application).await?;
    Ok(())
}

async fn count(State(pool): State<Pool>) -> Result<String, (StatusCode, String)> {
    let unavailable = |error: String| (StatusCode::SERVICE_UNAVAILABLE, error);
    let connection = pool.get().await.map_err(|e| unavailable(e.to_string()))?;
    let row = connection.query_one("SELECT 42, pg_sleep(0.05)", &[]).await;
    Ok(row.map_err(|e| unavailable(e.to_string()))?.get::<_, i32>(0).to_string())
}

async fn status(State(pool): State<Pool>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], pool.status_json())
}

async fn metrics(State(registry): State<Registry>) -> impl IntoResponse {
    let text = TextEncoder::new().encode_to_string(&registry.gather()).unwrap_or_default();
    ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text)
}
