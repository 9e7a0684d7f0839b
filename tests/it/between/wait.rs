//! Where the wait is, with a real PgBouncer between a real application and a real server.
//!
//! | situation | layer | what is said |
//! | --- | --- | --- |
//! | nothing happens | none | no client waits in PgBouncer; the server has ... free |
//! | 25 clients hold or want the 3 connections of PgBouncer | pooler | 22 clients wait in PgBouncer, 3 of 3 in use |
//! | the 3 wait for a lock | server | 2 of 3 busy sessions wait for a lock |
//! | PgBouncer is paused | pooler | which is paused |
//! | PgBouncer is gone | unknown | PgBouncer cannot be seen |
//! | the server is stopped | server | the server serves nobody |

use std::fs;
use std::net::SocketAddr;

use rustix::process::Signal;

use super::SOON;
use crate::support::client::psql_program;
use crate::support::pools::{self, ROLE};
use crate::support::postgres::Cluster;
use crate::support::process::Program;
use crate::support::web::get;
use crate::support::{bouncer, wait_for, workplace};

/// A server, a PgBouncer in front of it, and a daemon that watches both.
struct Layers {
    cluster: Cluster,
    bouncer: Program,
    port: u16,
    daemon: Program,
    address: SocketAddr,
}

impl Layers {
    fn start() -> Layers {
        let cluster = pools::cluster();
        cluster.role("monitor", "secret");
        cluster.psql("GRANT pg_monitor TO monitor; CREATE TABLE stock (n int)");
        cluster.psql("GRANT ALL ON stock TO app; INSERT INTO stock VALUES (1)");
        let shop = format!("shop = host=127.0.0.1 port={} dbname=postgres", cluster.port());
        let lines =
            format!("default_pool_size = 3\nadmin_users = {}\nquery_wait_timeout = 60\n", ROLE.0);
        let mut bouncer = bouncer::serving(&cluster, &shop, ROLE, &lines);
        let port = bouncer.address().port();
        let file = workplace::folder("configuration").join("exporter.yml");
        let text = format!(
            "defaults: {{ interval: 1s, pool: {{ size: 8, max_overflow: 0 }} }}\n\
             targets:\n  orders:\n    url: postgresql://monitor:secret@127.0.0.1:{}/postgres?sslmode=disable\n    \
             applications: {{ shop: {{ match: {{ user: app }}, pool_size: 8, max_overflow: 0 }} }}\n  \
             bouncer:\n    kind: pgbouncer\n    url: {}\n",
            cluster.port(),
            super::url(port, ROLE.0, "pgbouncer"),
        );
        fs::write(&file, text).expect("the folder is ours");
        let mut daemon = Program::daemon().arg("--config.file").arg(file).start();
        let address = daemon.address();
        Layers { cluster, bouncer, port, daemon, address }
    }

    /// Clients of the pool shop/app, each with one statement.
    fn clients(&self, count: usize, sql: &str) -> Vec<Program> {
        let url = super::url(self.port, ROLE.0, "shop");
        (0..count)
            .map(|_| Program::at(psql_program()).arg(&url).arg("-c").arg(sql).start())
            .collect()
    }

    /// Ends the server's sessions of the application: a statement goes on there when its client is gone.
    fn end_sessions(&self) {
        let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'";
        self.cluster.psql(sql);
    }

    /// Waits until a check of the console has this outcome and says these words.
    fn expect_check(&self, name: &str, outcome: &str, words: &str) {
        wait_for(name, SOON, || {
            let health = get(self.address, "/api/v1/database/pool/health?target=bouncer").json();
            let check = &health["checks"][name];
            let says = check["message"].as_str().unwrap_or_default().contains(words);
            (check["status"] == outcome && says).then_some(())
        });
    }

    /// Waits until the layer is this one and the sentence, in health and on the page, has these words.
    fn expect(&self, situation: &str, layer: &str, words: &str) {
        let mut last = String::new();
        let sample = format!("db_pool_bottleneck{{target=\"orders\",layer=\"{layer}\"}}");
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_for(situation, SOON, || {
                let health = get(self.address, "/api/v1/database/pool/health?target=orders").json();
                let page = get(self.address, "/metrics");
                last = health["bottleneck"].to_string();
                let is_found = page.sample(&sample) == Some(1.0)
                    && page.sum("db_pool_bottleneck") == 1.0
                    && health["bottleneck"]["layer"] == layer;
                // The page may be that of the next probe.
                let is_said = || get(self.address, "/?target=orders").body.contains(words);
                (is_found && last.contains(words) && is_said()).then_some(())
            });
        }));
        println!("| {situation} | {layer} | {last} |");
        assert!(found.is_ok(), "{situation}: {last}\n{}", self.daemon.log());
    }
}

#[test]
fn the_wait_is_found_in_the_pooler_on_the_server_or_nowhere() {
    let layers = Layers::start();
    layers.expect("nothing happens", "none", "no client waits in PgBouncer");
    let waiting = layers.clients(25, "SELECT pg_sleep(30)");
    let sentence = "22 clients wait in PgBouncer";
    layers.expect("25 clients, 3 connections", "pooler", sentence);
    layers.expect("25 clients, 3 connections", "pooler", "for pool shop/app, 3 of 3 in use");
    layers.expect("25 clients, 3 connections", "pooler", "sessions on CPU");
    layers.expect_check("pooler_saturation", "warn", "3 of 3 server connections in use");
    layers.expect_check("pooler_waiting", "pass", "22 clients wait for shop/app");
    drop(waiting);
    layers.end_sessions();
    layers.expect("they are gone", "none", "no client waits in PgBouncer");

    let holder = layers.clients(1, "BEGIN; UPDATE stock SET n = 2; SELECT pg_sleep(30)");
    let locked = "SELECT count(*) FROM pg_locks WHERE relation = 'stock'::regclass AND granted";
    wait_for("the lock", SOON, || (layers.cluster.psql(locked) == "1").then_some(()));
    let blocked = layers.clients(9, "UPDATE stock SET n = 3");
    layers.expect(
        "the connections wait for a lock",
        "server",
        "2 of 3 busy sessions wait for a lock",
    );
    drop((holder, blocked));
    layers.end_sessions();
    bouncer::command(layers.port, ROLE, "PAUSE shop");
    let paused = layers.clients(2, "SELECT 1");
    layers.expect("paused", "pooler", "which is paused");
    layers.expect_check("pooler_paused", "warn", "paused: shop");
    drop(paused);
    bouncer::command(layers.port, ROLE, "RESUME shop");
    layers.expect("resumed", "none", "no client waits in PgBouncer");
    layers.expect_check("pooler_paused", "pass", "");

    layers.bouncer.signal(Signal::KILL);
    layers.expect("PgBouncer is gone", "unknown", "PgBouncer cannot be seen (target bouncer)");
    layers.cluster.stop();
    layers.expect("the server is stopped", "server", "the server serves nobody");
}
