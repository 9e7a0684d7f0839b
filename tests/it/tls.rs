//! TLS with real servers: for the same URL, the exporter and the real psql must get the same result.

use std::fs;
use std::time::{Duration, SystemTime};

use db_pool_exporter::metrics::{Filter, Format, Page};
use db_pool_exporter::pool::{Budget, Peer, QueryError, Reason};
use db_pool_exporter::probe;
use db_pool_exporter::view;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::support::authority::Leaf;
use crate::support::client::{Outcome, at_home, connect, outcome, pool};
use crate::support::pools;
use crate::support::postgres::Cluster;
use crate::support::scene::{
    CLIENT_CERTIFICATE, HOSTNOSSL_ONLY, HOSTSSL_ONLY, MODES, Scene, server, start, text, url,
    with_client_ca,
};
use crate::support::wait_for;

#[tokio::test]
async fn every_sslmode_comes_to_the_end_that_psql_comes_to() {
    let scene = Scene::new();
    let (root, other) = (scene.authority.certificate(), scene.stranger.certificate());
    let good = scene.issue(&Leaf::default());
    let other_name = &["subjectAltName=DNS:other.example"][..];
    let wrong = Leaf { common_name: "other.example", extensions: other_name, ..Leaf::default() };
    let expired = scene.issue(&Leaf { days: -1, ..Leaf::default() });
    let servers = [
        ("no TLS", Cluster::builder()),
        ("a private CA", server(&good)),
        ("a wrong host name", server(&scene.issue(&wrong))),
        ("an expired certificate", server(&expired)),
        (
            "a demand for a client certificate",
            with_client_ca(server(&good), &scene).hba(CLIENT_CERTIFICATE),
        ),
        ("hostssl only", server(&good).hba(HOSTSSL_ONLY)),
        ("hostnossl only", server(&good).hba(HOSTNOSSL_ONLY)),
    ];
    let mut counts = [0; 3];
    for (what, builder) in servers {
        let cluster = start(builder);
        let urls = Scene::urls(&cluster, "localhost", &MODES, &[&root, &other]);
        let found = scene.agree(what, &urls).await;
        counts.iter_mut().zip(found).for_each(|(sum, found)| *sum += found);
    }
    assert!(counts.iter().all(|n| *n > 10), "there is something of everything: {counts:?}");
}

#[tokio::test]
async fn a_root_file_at_home_is_used_for_require_too() {
    let scene = Scene::new();
    let cluster = start(server(&scene.issue(&Leaf::default())));
    let folder = scene.home.join(".postgresql");
    fs::create_dir(&folder).unwrap();
    let urls = Scene::urls(&cluster, "localhost", &MODES, &[]);
    for (root, require) in
        [(&scene.authority, Outcome::Encrypted), (&scene.stranger, Outcome::Refused)]
    {
        fs::copy(root.certificate(), folder.join("root.crt")).unwrap();
        scene.agree("a root file at home", &urls).await;
        let url = url(&cluster, "localhost", &[("sslmode", "require")]);
        assert_eq!(outcome(&connect(&url, &scene.home).await), require);
    }
}

#[tokio::test]
async fn channel_binding_is_demanded_and_had() {
    let scene = Scene::new();
    let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp384r1", "-sha384"];
    let rsa = ["-newkey", "rsa:2048", "-sha512"];
    let pss = ["-sigopt", "rsa_padding_mode:pss", "-sha384"];
    for (name, pair) in [
        ("P-384", scene.issue(&Leaf { kind: &curve, ..Leaf::default() })),
        ("SHA-512", scene.issue(&Leaf { kind: &rsa, ..Leaf::default() })),
        ("RSA-PSS", scene.authority.self_signed("pss", &pss)),
    ] {
        let cluster = start(server(&pair));
        cluster.psql("SET password_encryption = md5; CREATE ROLE old LOGIN PASSWORD 'secret'");
        let mut urls = Vec::new();
        for binding in ["disable", "prefer", "require"] {
            for mode in ["disable", "prefer", "require"] {
                let parameters = [("sslmode", mode), ("channel_binding", binding)];
                let url = url(&cluster, "localhost", &parameters);
                urls.push(url.replace("//app:", "//old:"));
                urls.push(url);
            }
        }
        let [refused, plain, encrypted] = scene.agree(name, &urls).await;
        assert!(refused > 0 && plain > 0 && encrypted > 0);
        let url =
            url(&cluster, "localhost", &[("sslmode", "require"), ("channel_binding", "require")]);
        assert_eq!(outcome(&connect(&url, &scene.home).await), Outcome::Encrypted, "{name}");
    }
}

#[tokio::test]
async fn a_unix_socket_never_has_tls() {
    let scene = Scene::new();
    let cluster = start(server(&scene.issue(&Leaf::default())));
    let folder = text(cluster.folder());
    let urls: Vec<String> = MODES
        .iter()
        .map(|mode| {
            let port = cluster.port();
            format!("postgresql://app@:{port}/postgres?host={folder}&sslmode={mode}")
        })
        .collect();
    assert_eq!(scene.agree("a Unix socket", &urls).await, [0, 6, 0]);
}

#[tokio::test]
async fn the_version_the_cipher_and_the_certificates_end_are_told() {
    let scene = Scene::new();
    let cluster = start(server(&scene.issue(&Leaf::default())));
    for (parameters, version) in [
        (&[("sslmode", "require")][..], "TLSv1.3"),
        (&[("sslmode", "require"), ("ssl_max_protocol_version", "TLSv1.2")], "TLSv1.2"),
    ] {
        let server = connect(&url(&cluster, "localhost", parameters), &scene.home).await.unwrap();
        let tls = server.tls.expect("it is encrypted");
        assert_eq!(tls.version, version);
        assert!(tls.cipher.starts_with("TLS_"), "{tls:?}");
        let left = tls.not_after.unwrap().duration_since(SystemTime::now()).unwrap();
        assert!((left.as_secs_f64() / 86400.0 - 10.0).abs() < 0.1, "{left:?}");
    }
}

#[tokio::test]
async fn a_probe_publishes_the_certificates_end() {
    let scene = Scene::new();
    let cluster = start(server(&scene.issue(&Leaf::default())));
    let url = url(&cluster, "localhost", &[("sslmode", "require")]);
    let connect = pool(&url, at_home(&scene.home)).connector().settings().clone();
    assert_eq!(connect.sslmode(), "require");
    let settings = probe::TargetSettings {
        labels: Vec::new(),
        connect,
        limits: pools::limits(1, 0),
        views: view::ViewSettings::off(),
        ..probe::fixture::settings("orders")
    };
    let target = probe::Target::new(
        settings,
        Budget::daemon(),
        TaskTracker::new(),
        CancellationToken::new(),
    );
    let snapshot = probe::once(&target, probe::FreshConnect::Try).await;
    let filter = Filter::default();
    let mut page = Page::new(Format::Text, &filter);
    page.live(probe::SNAPSHOT_READINGS, [("", &snapshot)]);
    let page = page.finish();
    assert!(page.contains("\ndb_pool_tls_info{version=\"TLSv1.3\",cipher=\"TLS_"), "{page}");
    assert!(page.contains("\ndb_pool_tls_certificate_expiry_timestamp_seconds "), "{page}");
}

#[tokio::test]
async fn both_ways_of_prefer_are_told_when_neither_works() {
    let scene = Scene::new();
    let cluster = start(server(&scene.issue(&Leaf::default())));
    let wrong = url(&cluster, "localhost", &[("sslmode", "prefer")]).replace(":secret@", ":wrong@");
    let error = connect(&wrong, &scene.home).await.unwrap_err();
    assert_eq!(error.reason, Reason::Auth);
    assert!(error.message.contains("without TLS: "), "{error}");
}

#[tokio::test]
async fn a_statement_over_tls_is_cancelled_over_tls() {
    let scene = Scene::new();
    let cluster = start(server(&scene.issue(&Leaf::default())).hba(HOSTSSL_ONLY));
    let pool = pool(&url(&cluster, "localhost", &[("sslmode", "require")]), at_home(&scene.home));
    let mut checkout = pool.check_out().await.unwrap();
    let slow = checkout.simple("SELECT pg_sleep(60)", Duration::from_millis(300)).await;
    assert!(matches!(slow, Err(QueryError::Timeout { .. })));
    drop(checkout);
    tokio::task::spawn_blocking(move || {
        wait_for("the statement to end", Duration::from_secs(10), || {
            let sql = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'";
            (cluster.psql(sql) == "0").then_some(())
        });
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn the_systems_certificates_do_not_vouch_for_a_private_one() {
    let scene = Scene::new();
    let cluster = start(server(&scene.issue(&Leaf::default())));
    let url = url(&cluster, "localhost", &[("sslrootcert", "system")]);
    let error = connect(&url, &scene.home).await.unwrap_err();
    assert_eq!(error.reason, Reason::Tls, "{error}");
}

#[tokio::test]
async fn direct_negotiation_works_with_those_who_know_it() {
    let scene = Scene::new();
    let good = scene.issue(&Leaf::default());
    let parameters = [("sslmode", "require"), ("sslnegotiation", "direct")];
    let old = start(server(&good).version(15));
    assert!(connect(&url(&old, "localhost", &parameters), &scene.home).await.is_err());
    let new = start(server(&good).version(17));
    let server = connect(&url(&new, "localhost", &parameters), &scene.home).await.unwrap();
    assert_eq!(outcome(&Ok(server)), Outcome::Encrypted);
}

#[test]
fn where_a_server_is_reads_as_an_address() {
    let (tcp, unix) = (Peer::Tcp("[::1]:5432".parse().unwrap()), Peer::Unix("/run/x".into()));
    assert_eq!((tcp.to_string(), unix.to_string()), ("[::1]:5432".to_owned(), "/run/x".to_owned()));
}
