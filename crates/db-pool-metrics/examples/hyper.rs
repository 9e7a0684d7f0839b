//! A hyper application with exact metrics of its connection pool; as `axum.rs`, without a framework.
//!
//! ```sh
//! DATABASE_URL=postgresql://app:secret@localhost/orders cargo run --features bb8 --example hyper
//! ```

#![allow(
    clippy::disallowed_methods,
    reason = "the rules of the daemon are not those of an application"
)]

use std::convert::Infallible;
use std::error::Error;

use bb8_postgres::PostgresConnectionManager;
use db_pool_metrics::{Metered, Watched};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
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

    let listener = tokio::net::TcpListener::bind(listen).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let (pool, registry) = (pool.clone(), registry.clone());
        let service = service_fn(move |request| answer(request, pool.clone(), registry.clone()));
        let server = hyper::server::conn::http1::Builder::new();
        tokio::spawn(server.serve_connection(TokioIo::new(stream), service));
    }
}

async fn answer(
    request: Request<Incoming>,
    pool: Pool,
    registry: Registry,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, kind, body) = match request.uri().path() {
        "/orders/count" => match count(&pool).await {
            Ok(count) => (StatusCode::OK, "text/plain", count.to_string()),
            Err(error) => (StatusCode::SERVICE_UNAVAILABLE, "text/plain", error.to_string()),
        },
        "/api/v1/database/pool/status" => (StatusCode::OK, "application/json", pool.status_json()),
        "/metrics" => {
            let text = TextEncoder::new().encode_to_string(&registry.gather());
            (StatusCode::OK, prometheus::TEXT_FORMAT, text.unwrap_or_default())
        }
        _ => (StatusCode::NOT_FOUND, "text/plain", String::new()),
    };
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    Ok(response)
}

async fn count(pool: &Pool) -> Result<i32, Box<dyn Error + Send + Sync>> {
    let connection = pool.get().await?;
    Ok(connection.query_one("SELECT 42", &[]).await?.get(0))
}
