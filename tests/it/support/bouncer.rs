//! PgBouncer in front of a cluster.

use std::fs;

use super::client;
use super::postgres::Cluster;
use super::process::Program;
use super::{free_port, installed, workplace};

/// Starts PgBouncer with transaction pooling for one role and its password, and with these additional lines in its
/// section `[pgbouncer]`. PgBouncer refuses to run as root.
pub(crate) fn start(cluster: &Cluster, role: (&str, &str), lines: &str) -> Program {
    serving(cluster, "", role, lines)
}

/// As [`start`], with these lines in its section `[databases]` beside the database `postgres`.
pub(crate) fn serving(
    cluster: &Cluster,
    databases: &str,
    role: (&str, &str),
    lines: &str,
) -> Program {
    let folder = workplace::folder("bouncer");
    let users = folder.join("users");
    fs::write(&users, format!("\"{}\" \"{}\"\n", role.0, role.1)).expect("the folder is ours");
    let configuration = format!(
        "[databases]\npostgres = host=127.0.0.1 port={}\n{databases}\n[pgbouncer]\n\
         listen_addr = 127.0.0.1\nlisten_port = {}\nunix_socket_dir =\n\
         auth_type = scram-sha-256\nauth_file = {}\n\
         pool_mode = transaction\n{lines}",
        cluster.port(),
        free_port(),
        users.display(),
    );
    let file = folder.join("bouncer.ini");
    fs::write(&file, configuration).expect("the folder is ours");
    let program = installed(&["pgbouncer"]);
    let builder = match workplace::server_user() {
        None => Program::at(program),
        Some(user) => Program::at("setpriv")
            .arg(format!("--reuid={}", user.uid))
            .arg(format!("--regid={}", user.gid))
            .arg("--clear-groups")
            .arg(program),
    };
    builder.arg(file).start()
}

/// Sends a command to the console as this role, which must be among its `admin_users`.
pub(crate) fn command(port: u16, role: (&str, &str), command: &str) {
    let answer = Program::at(client::psql_program())
        .arg(format!("host=127.0.0.1 port={port} dbname=pgbouncer user={} sslmode=disable", role.0))
        .arg("-qc")
        .arg(command)
        .env("PGPASSWORD", role.1)
        .run();
    assert_eq!(answer.code, 0, "{command}: {}", answer.log);
}
