//! The reported headroom, compared with the number of connections that can really be opened.

use db_pool_exporter::view;
use tokio_postgres::Client;

use super::builder;
use crate::support::postgres::Cluster;
use crate::support::watch::{Lines, Privilege, Watch, monitor, settings};

on_versions! {
    an_ordinary_role_can_open_what_is_left,
    a_role_can_open_what_its_limit_leaves,
    a_database_takes_what_its_limit_leaves,
}

/// Opens connections until the server refuses one; returns the open ones.
async fn open_until_refused(cluster: &Cluster, role: &str, database: &str) -> Vec<Client> {
    let mut clients = Vec::new();
    loop {
        match cluster.client_of(role, "secret", database).await {
            Ok(client) => clients.push(client),
            Err(error) => {
                assert_eq!(error.code().map(|code| code.code()), Some("53300"), "{error:?}");
                return clients;
            }
        }
    }
}

async fn look(cluster: &Cluster) -> (Watch, Lines) {
    let watch = Watch::new(settings(cluster, view::ViewSettings::default()));
    // The first probe's connection stays open, and counts as used.
    watch.good().await;
    let lines = watch.lines().await;
    (watch, lines)
}

async fn an_ordinary_role_can_open_what_is_left(version: Option<u32>) {
    let mut builder = builder(version).setting("max_connections", "20");
    let reserves = version == Some(18);
    if reserves {
        builder = builder.setting("reserved_connections", "2");
    }
    let cluster = builder.start();
    monitor(&cluster, Privilege::ReadAllStats);
    cluster.role("ordinary", "secret");
    let held = cluster.client("ordinary", "secret").await.expect("it gets in");
    let (watch, lines) = look(&cluster).await;
    assert_eq!(lines.value("server_reserved_connections"), if reserves { 2.0 } else { 0.0 });
    let available = lines.value("server_available_connections");
    let opened = open_until_refused(&cluster, "ordinary", "postgres").await;
    assert_eq!(available, opened.len() as f64);
    drop((held, watch));
}

async fn a_role_can_open_what_its_limit_leaves(version: Option<u32>) {
    let cluster = builder(version).setting("max_connections", "20").start();
    monitor(&cluster, Privilege::None);
    cluster.role("limited", "secret");
    cluster.psql("ALTER ROLE limited CONNECTION LIMIT 4");
    let held = cluster.client("limited", "secret").await.expect("it gets in");
    let (watch, lines) = look(&cluster).await;
    assert_eq!(lines.value("server_role_connection_limit{user=\"limited\"}"), 4.0);
    let available = lines.value("server_role_available_connections{user=\"limited\"}");
    let opened = open_until_refused(&cluster, "limited", "postgres").await;
    assert_eq!((available, opened.len()), (3.0, 3));
    // The monitoring role's own limit is 3, and its pool has one connection open.
    assert_eq!(lines.value("server_role_available_connections{user=\"monitor\"}"), 2.0);
    drop((held, watch));
}

async fn a_database_takes_what_its_limit_leaves(version: Option<u32>) {
    let cluster = builder(version).setting("max_connections", "20").start();
    monitor(&cluster, Privilege::ReadAllStats);
    cluster.role("ordinary", "secret");
    cluster.psql("CREATE DATABASE small CONNECTION LIMIT 5");
    let held = cluster.client_of("ordinary", "secret", "small").await.expect("it gets in");
    // Superusers count, too.
    cluster.role("chief", "secret");
    cluster.psql("ALTER ROLE chief SUPERUSER");
    let chief = cluster.client_of("chief", "secret", "small").await.expect("it gets in");
    let (watch, lines) = look(&cluster).await;
    let available = lines.value("server_database_available_connections{database=\"small\"}");
    let opened = open_until_refused(&cluster, "ordinary", "small").await;
    assert_eq!((available, opened.len()), (3.0, 3));
    drop((held, chief, watch));
}
