//! The daemon as users configure it: every form of a URL, libpq's variables and files, with and without TLS, through
//! PgBouncer, and with passwords that change while it runs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::authority::Leaf;
use crate::support::postgres::Cluster;
use crate::support::process::{Builder, Program};
use crate::support::scene::{CLIENT_CERTIFICATE, Scene, server, start, text, with_client_ca};
use crate::support::web::{Answer, get, scrape_until};
use crate::support::{bouncer, free_port, wait_for, workplace};

const UP: &str = "db_pool_up{target=\"default\"}";

/// A daemon that probes twice a second, with these variables.
fn daemon(variables: &[(&str, &str)]) -> Builder {
    let builder = Program::daemon().env("DB_MONITOR_INTERVAL", "0.5").env("USER", "nobody");
    variables.iter().fold(builder, |builder, (name, value)| builder.env(name, value))
}

/// The number of failed connects with this phase and reason.
fn errors(found: &Answer, phase: &str, reason: &str) -> f64 {
    let labels = format!("target=\"default\",phase=\"{phase}\",reason=\"{reason}\"");
    found.sample(&format!("db_pool_connect_errors_total{{{labels}}}")).unwrap_or_default()
}

/// The scrape in which `db_pool_up` has this value.
fn scrape(variables: &[(&str, &str)], up: f64) -> Answer {
    let mut daemon = daemon(variables).start();
    let address = daemon.address();
    scrape_until(address, UP, up)
}

#[test]
fn every_form_of_a_url_reaches_its_database() {
    let cluster = Cluster::start();
    cluster.role("app", "p@ss w:rd/%");
    let (port, unused) = (cluster.port(), free_port());
    let socket = text(cluster.folder());
    for url in [
        format!("postgresql://app:p%40ss%20w%3Ard%2F%25@127.0.0.1:{port}/postgres"),
        format!("postgres://app:p%40ss%20w%3Ard%2F%25@localhost:{port}/postgres"),
        format!("host=127.0.0.1 port={port} user=app password='p@ss w:rd/%' dbname=postgres"),
        format!("postgresql+asyncpg://app:p%40ss w:rd/%25@127.0.0.1:{port}/postgres?ssl=prefer"),
        format!(
            "postgresql+asyncpg://app:p%40ss w:rd/%25@/postgres?host=127.0.0.1:{unused}&host=127.0.0.1:{port}&prepared_statement_cache_size=0"
        ),
        format!(
            "postgresql://app:p%40ss%20w%3Ard%2F%25@127.0.0.1:{unused},127.0.0.1:{port}/postgres"
        ),
        format!("postgresql+psycopg://app@:{port}/postgres?host={socket}"),
        format!("postgresql://app@{}:{port}/postgres", socket.replace('/', "%2F")),
    ] {
        scrape(&[("DATABASE_URL", &url)], 1.0);
    }
}

#[test]
fn libpqs_variables_and_files_fill_what_the_url_leaves_open() {
    let cluster = Cluster::start();
    cluster.role("app", "first");
    let port = cluster.port().to_string();
    let home = workplace::folder("home");
    let passwords = private(&home, ".pgpass", &format!("127.0.0.1:{port}:*:app:first\n"));
    let place =
        [("DATABASE_URL", "postgresql://"), ("PGHOST", "127.0.0.1"), ("PGPORT", port.as_str())];
    let login = [("PGUSER", "app"), ("PGDATABASE", "postgres"), ("PGAPPNAME", "ours")];
    let ways = [("PGPASSWORD", "first"), ("PGPASSFILE", text(&passwords)), ("HOME", text(&home))];
    for way in ways {
        let mut daemon = daemon(&[&place[..], &login, &[way]].concat()).start();
        scrape_until(daemon.address(), UP, 1.0);
        let sql = "SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name = 'ours'";
        assert_eq!(cluster.psql(sql), "t");
    }
    // The URL wins; missing parts are filled in libpq's order.
    let url = format!("postgresql://app@127.0.0.1:{port}/postgres?application_name=theirs");
    let stronger = [("DATABASE_URL", url.as_str()), ways[0], ("PGPASSFILE", "/nowhere")];
    let weaker = [("PGHOST", "192.0.2.1"), ("PGUSER", "x"), ("PGDATABASE", "x"), ("PGPORT", "1")];
    scrape(&[&stronger[..], &weaker].concat(), 1.0);
    // An empty variable counts as unset.
    let empty = [("DATABASE_URL", ""), ("PGHOST", "192.0.2.1"), ("DB_CONNECT_TIMEOUT", "0.3")];
    assert!(scrape(&empty, 0.0).body.contains("db_pool_up"));
    // PGOPTIONS makes the session read-only; PGTARGETSESSIONATTRS says which kind of session is wanted.
    let read_only = ("PGOPTIONS", "-c default_transaction_read_only=on");
    for (wanted, up) in [("read-only", 1.0), ("read-write", 0.0)] {
        let session = [("DATABASE_URL", url.as_str()), ways[0], read_only];
        let found = scrape(&[&session[..], &[("PGTARGETSESSIONATTRS", wanted)]].concat(), up);
        assert_eq!(errors(&found, "startup", "wrong_session") > 0.0, up < 1.0, "{wanted}");
    }
    let mut config = Program::at(env!("CARGO_BIN_EXE_db_pool_exporter"))
        .arg("config")
        .env("DATABASE_URL", &url)
        .env("PGCONNECT_TIMEOUT", "7")
        .start();
    assert!(config.end().success());
    let printed = config.output();
    let line = printed.lines().find(|line| line.trim().starts_with("connect_timeout:"));
    assert!(line.is_some_and(|line| line.contains("7s")), "{printed}");
}

#[test]
fn tls_is_as_the_url_and_the_variables_say_and_is_told() {
    let scene = Scene::new();
    let builder = with_client_ca(server(&scene.issue(&Leaf::default())), &scene);
    let with = start(builder.hba(CLIENT_CERTIFICATE));
    let without = start(Cluster::builder());
    let ours = scene.authority.issue("app", &Leaf { common_name: "app", ..Leaf::default() });
    let root = scene.authority.certificate();
    let (certificate, key) = (text(&ours.certificate), text(&ours.key));
    let client = [("PGSSLCERT", certificate), ("PGSSLKEY", key)];
    let url = |cluster: &Cluster, driver: &str, parameters: &str| {
        let port = cluster.port();
        format!("postgresql{driver}://app:secret@localhost:{port}/postgres{parameters}")
    };
    let verified = [("PGSSLMODE", "verify-full"), ("PGSSLROOTCERT", text(&root))];
    let rows = [
        (url(&without, "", ""), &[][..], "prefer", false),
        (url(&with, "", ""), &[], "prefer", true),
        (url(&with, "", ""), &verified, "verify-full", true),
        (url(&with, "+asyncpg", "?ssl=require"), &[("PGSSLMODE", "disable")], "require", true),
        (url(&with, "", "?ssl=true"), &[], "require", true),
    ];
    for (url, variables, sslmode, has_tls) in rows {
        let all = [&[("DATABASE_URL", url.as_str())][..], &client, variables].concat();
        let found = scrape(&all, 1.0);
        let label = format!("sslmode=\"{sslmode}\"");
        let info = found.body.lines().find(|line| line.starts_with("db_pool_config_info{"));
        assert!(info.is_some_and(|line| line.contains(&label)), "{info:?}");
        assert_eq!(found.sum("db_pool_tls_info"), if has_tls { 1.0 } else { 0.0 }, "{url}");
        let end = found.sum("db_pool_tls_certificate_expiry_timestamp_seconds");
        assert_eq!(end > 1.6e9, has_tls, "{url}: {end}");
    }
    let refused = url(&without, "", "?sslmode=require");
    let found = scrape(&[("DATABASE_URL", &refused)], 0.0);
    assert!(errors(&found, "ssl_request", "tls") > 0.0, "{}", found.body);
}

#[test]
fn what_cannot_be_honoured_keeps_it_from_starting() {
    for (parameter, variable) in [
        ("gssencmode=require", ("PGGSSENCMODE", "require")),
        ("sslcrl=/x", ("PGSSLCRL", "/x")),
        ("requirepeer=postgres", ("PGREQUIREPEER", "postgres")),
        ("ssl_max_protocol_version=TLSv1.1", ("PGSSLMAXPROTOCOLVERSION", "TLSv1.1")),
        ("require_auth=gss", ("PGREQUIREAUTH", "gss")),
        ("service=x", ("PGSERVICE", "x")),
    ] {
        let (name, _) = parameter.split_once('=').expect("pairs");
        let url = format!("postgresql://app@127.0.0.1/x?{parameter}");
        let by_url = daemon(&[("DATABASE_URL", &url)]);
        let by_variable = daemon(&[("DATABASE_URL", "postgresql://app@127.0.0.1/x"), variable]);
        for (builder, named) in [(by_url, name), (by_variable, variable.0)] {
            let mut daemon = builder.start();
            assert_eq!(daemon.end().code(), Some(64), "{parameter}");
            assert!(daemon.log().contains(named), "{}", daemon.log());
        }
    }
    let dead_ends = [
        ("postgresql://app:p@ss@db/x", "an `@` in the password must be written `%40`"),
        ("nonsense", "postgresql://user:password@host:5432/database"),
        ("mysql://app@db/x", "must begin with `postgresql://`"),
    ];
    for (url, reason) in dead_ends {
        let mut daemon = daemon(&[("DATABASE_URL", url)]).start();
        assert_eq!(daemon.end().code(), Some(64), "{url}");
        assert!(daemon.log().contains(reason), "{}", daemon.log());
    }
}

#[test]
fn a_password_that_is_rotated_in_its_file_needs_no_restart() {
    let cluster = Cluster::start();
    cluster.role("app", "first");
    let folder = workplace::folder("secrets");
    let place = format!("127.0.0.1:{}/postgres?sslmode=disable", cluster.port());
    let open = format!("postgresql://app@{place}");
    let write = |name: &str, text: &str| private(&folder, name, text);
    let rotate = |password: &str| {
        let sql = format!("ALTER ROLE app PASSWORD '{password}'");
        cluster.psql(&sql);
    };
    let url = |password: &str| format!("postgresql+asyncpg://app:{password}@{place}\n");
    let file = folder.join("exporter.yml");
    let line = format!("cat {}", folder.join("token").display());
    let command = format!("{{ command: [/bin/sh, -c, '{line}'], cache: 1h }}");
    let targets = format!(
        "f: {{ url: '{open}', password_file: password }}, c: {{ url: '{open}', password_command: {command} }}"
    );
    let content = format!("defaults: {{ interval: 500ms }}\ntargets: {{ {targets} }}");
    fs::write(&file, content).expect("it is ours");
    let renew = |password: &str| {
        write("password", &format!("{password}\n"));
        write("token", password);
        write(".pgpass", &format!("*:*:*:app:{password}\n"));
        write("url", &url(password))
    };
    let whole = renew("first");
    let password = folder.join("password");
    let mut daemons = [
        (1.0, daemon(&[("DATABASE_URL_FILE", text(&whole))]).start()),
        (1.0, daemon(&[("DATABASE_URL", &open), ("DB_PASSWORD_FILE", text(&password))]).start()),
        (1.0, daemon(&[("DATABASE_URL", &open), ("HOME", text(&folder))]).start()),
        (2.0, daemon(&[]).arg("--config.file").arg(&file).start()),
    ];
    let mut all = |what: &str, up: f64| {
        for (targets, daemon) in &mut daemons {
            let address = daemon.address();
            wait_for(what, Duration::from_secs(20), || {
                (get(address, "/metrics").sum("db_pool_up") == *targets * up).then_some(())
            });
        }
    };
    all("the first password", 1.0);
    rotate("second");
    all("the first one's end", 0.0);
    renew("second");
    all("the second password", 1.0);
}

#[test]
fn it_works_through_pgbouncer_which_pools_transactions() {
    let cluster = Cluster::start();
    cluster.role("app", "secret");
    let scene = Scene::new();
    let root = scene.authority.certificate();
    let verified = format!("?sslmode=verify-full&sslrootcert={}", text(&root));
    for (mode, parameters, tls) in [("disable", "", 0.0), ("require", verified.as_str(), 1.0)] {
        let mut bouncer = pgbouncer(&cluster, &scene, mode);
        let port = bouncer.address().port();
        let url = format!("postgresql://app:secret@localhost:{port}/postgres{parameters}");
        let mut daemon = daemon(&[("DATABASE_URL", &url)]).start();
        let address = daemon.address();
        let probes = "db_pool_probe_duration_seconds_count{target=\"default\"}";
        let found = wait_for("six probes", Duration::from_secs(20), || {
            let found = get(address, "/metrics");
            (found.sample(probes)? >= 6.0).then_some(found)
        });
        assert_eq!(found.sample(UP), Some(1.0), "{}", daemon.log());
        assert_eq!(found.sum("db_pool_probe_failures_total"), 0.0, "{}", daemon.log());
        for part in ["connect", "query", "activity", "limits", "databases"] {
            let success = format!("db_pool_probe_success{{target=\"default\",probe=\"{part}\"}}");
            assert_eq!(found.sample(&success), Some(1.0), "{part}: {}", daemon.log());
        }
        assert_eq!(found.sum("db_pool_tls_info"), tls);
    }
}

/// PgBouncer in front of a cluster, with this sslmode for its clients.
fn pgbouncer(cluster: &Cluster, scene: &Scene, mode: &str) -> Program {
    let folder = workplace::folder("certificates");
    let write = |name: &str, content: &[u8]| {
        fs::write(folder.join(name), content).expect("the folder is ours");
        folder.join(name)
    };
    let pair = scene.issue(&Leaf::default());
    let key = write("server.key", &pair.key_text());
    let certificate = write("server.crt", &pair.certificate_text());
    let lines = format!(
        "default_pool_size = 2\nclient_tls_sslmode = {mode}\nclient_tls_key_file = {}\n\
         client_tls_cert_file = {}\n",
        key.display(),
        certificate.display()
    );
    bouncer::start(cluster, ("app", "secret"), &lines)
}

/// Writes a file that only its owner may read.
fn private(folder: &Path, name: &str, content: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, content).expect("the folder is ours");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("the file is ours");
    path
}
