//! What others write and start: names and statements in other encodings, and processes that are no clients.

use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use db_pool_exporter::view::{self, statements};

use super::builder;
use crate::support::pools::ROLE;
use crate::support::postgres::Cluster;
use crate::support::wait_for;
use crate::support::watch::{Privilege, Watch, monitor, settings};

on_versions! {
    a_text_that_is_not_utf8_loses_no_row,
    a_walsender_is_no_client_even_where_it_may_not_be_seen,
}

/// The encodings of the databases in which names are made and from which the exporter looks.
const ENCODINGS: [&str; 4] = ["UTF8", "LATIN1", "EUC_JP", "SQL_ASCII"];

/// A database of each encoding.
fn databases(cluster: &Cluster) {
    for encoding in ENCODINGS {
        let name = encoding.to_lowercase();
        cluster.psql(&format!(
            "CREATE DATABASE {name} ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
        ));
    }
}

/// Every view, with texts.
fn views() -> view::ViewSettings {
    let slow_threshold = Duration::from_millis(100);
    let views = view::ViewSettings {
        slow_threshold,
        show_query_text: true,
        ..view::ViewSettings::default()
    };
    let mut views = views.with(statements::VIEW.name);
    views.statements.show_text = true;
    views
}

/// A role, a database and a running statement with an e with an accent, as they are written in LATIN1.
async fn a_text_that_is_not_utf8_loses_no_row(version: Option<u32>) {
    let cluster =
        builder(version).setting("shared_preload_libraries", "pg_stat_statements").start();
    monitor(&cluster, Privilege::ReadAllStats);
    cluster.role(ROLE.0, ROLE.1);
    databases(&cluster);
    let client = cluster.client_of(ROLE.0, ROLE.1, "latin1").await.expect("it gets in");
    tokio::spawn(async move { client.batch_execute("SELECT pg_sleep(60) /* caf\u{e9} */").await });
    cluster.psql(
        "\\connect latin1\n\\encoding UTF8\nALTER ROLE app CONNECTION LIMIT 50; ALTER ROLE app RENAME TO \"caf\u{e9}\"; \
         CREATE DATABASE \"b\u{e9}\" ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0; \
         ALTER DATABASE \"b\u{e9}\" CONNECTION LIMIT 40",
    );
    tokio::time::sleep(Duration::from_millis(300)).await;
    for encoding in ENCODINGS {
        let name = encoding.to_lowercase();
        cluster.psql(&format!("\\connect {name}\nCREATE EXTENSION pg_stat_statements"));
        let mut settings = settings(&cluster, views());
        let mut dsn = settings.connect.dsn.as_ref().clone();
        dsn.database = Some(name);
        settings.connect.dsn = dsn.into();
        let watch = Watch::new(settings);
        // Where the server cannot convert the texts of statements, it refuses the view once.
        watch.probe().await;
        let snapshot = watch.good().await;
        let activity = snapshot.views.activity.as_ref().expect("it was good");
        let texts: Vec<_> = activity.running.iter().map(|r| (&r.key.user, &r.slow.text)).collect();
        eprintln!("{encoding}: {texts:?}");
        let accent = if encoding == "LATIN1" { "\u{e9}" } else { "\u{fffd}" };
        let (user, text) = texts.first().expect("the statement runs");
        assert_eq!(**user, format!("caf{accent}"), "{encoding}");
        let expected = format!("SELECT pg_sleep(60) /* caf{accent} */");
        assert_eq!(text.as_deref(), Some(expected.as_str()), "{encoding}");
        let limits = snapshot.views.limits.as_ref().expect("it was good");
        let limited = |names: &[(String, u64)], name: &str| {
            names.iter().any(|(known, _)| *known == format!("{name}{accent}"))
        };
        assert!(limited(&limits.roles, "caf") && limited(&limits.databases, "b"), "{limits:?}");
    }
}

/// A psql that has a walsender, until it is dropped.
struct Replica(Child);

impl Replica {
    fn start(cluster: &Cluster) -> Replica {
        let child = Command::new("psql")
            .arg(format!(
                "host=127.0.0.1 port={} user={} password='{}' dbname=postgres replication=database",
                cluster.port(),
                ROLE.0,
                ROLE.1
            ))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn();
        let mut child = child.expect("psql runs");
        child
            .stdin
            .as_mut()
            .expect("it is ours")
            .write_all(b"IDENTIFY_SYSTEM;\n")
            .expect("it reads");
        Replica(child)
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn a_walsender_is_no_client_even_where_it_may_not_be_seen(version: Option<u32>) {
    let cluster = builder(version).start();
    monitor(&cluster, Privilege::None);
    cluster.role(ROLE.0, ROLE.1);
    cluster.psql("ALTER ROLE app REPLICATION");
    let _client = cluster.client(ROLE.0, ROLE.1).await.expect("it gets in");
    let _replica = Replica::start(&cluster);
    wait_for("the walsender", Duration::from_secs(10), || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walsender'";
        (cluster.psql(sql) == "1").then_some(())
    });
    let snapshot = Watch::new(settings(&cluster, view::ViewSettings::default())).good().await;
    let activity = snapshot.views.activity.expect("it was good");
    let of_app = activity.sets.iter().filter(|(key, _)| key.user == ROLE.0);
    assert_eq!(of_app.map(|(_, sessions)| sessions.states.iter().sum::<u64>()).sum::<u64>(), 1);
}
