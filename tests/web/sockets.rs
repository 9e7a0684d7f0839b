use std::os::unix::fs::FileTypeExt;

use db_pool_exporter::web::{BindError, Inherited, Listen, ServerSettings, bind};

use crate::support::{Folder, curl, settings, start};

fn unix(path: std::path::PathBuf) -> ServerSettings {
    ServerSettings { listen: vec![Listen::Unix(path)], ..ServerSettings::default() }
}

#[tokio::test]
async fn a_unix_socket_answers_replaces_a_stale_one_and_is_removed() {
    let folder = Folder::new();
    let path = folder.path("web.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let server = start(unix(path.clone()));
    let socket = path.to_str().unwrap().to_owned();
    let ask = |method: &str, target: &str| {
        curl(["--unix-socket", &socket, "-X", method, target].map(str::to_owned))
    };
    assert_eq!(ask("GET", "http://any.example/metrics").await.status, "200 1.1");
    assert!(matches!(bind(&unix(path.clone()), Inherited::empty()), Err(BindError::InUse(_))));
    let reload = ask("POST", "http://any.example/-/reload");
    server.stop.cancel();
    drop(reload);
    server.tasks.close();
    server.tasks.wait().await;
    assert!(!path.exists());
}

#[tokio::test]
async fn what_is_no_socket_stays() {
    let folder = Folder::new();
    let path = folder.write("file", "precious");
    let refused = bind(&unix(path.clone()), Inherited::empty());
    assert!(matches!(refused, Err(BindError::NotASocket(_))));
    assert!(!std::fs::metadata(path).unwrap().file_type().is_socket());
}

#[tokio::test]
async fn a_busy_port_is_told_and_port_zero_is_free() {
    let server = start(settings());
    let port = server.address.port();
    let busy = Listen::Tcp { host: Some("127.0.0.1".to_owned()), port };
    let error =
        bind(&ServerSettings { listen: vec![busy], ..settings() }, Inherited::empty()).err();
    assert_eq!(
        error.unwrap().to_string(),
        format!("127.0.0.1:{port} is in use by another program")
    );
    assert_ne!(port, 0);
}

#[tokio::test]
async fn without_a_host_both_families_answer() {
    let listen = vec![":0".parse().unwrap(), "127.0.0.1:0".parse().unwrap()];
    let server = start(ServerSettings { listen, ..ServerSettings::default() });
    let port = server.address.port();
    for host in ["127.0.0.1", "[::1]"] {
        let answer = curl([format!("http://{host}:{port}/metrics")]).await;
        assert_eq!(answer.status, "200 1.1", "{host}");
    }
    // An IPv4 client of the dual-stack socket also counts as loopback.
    let reload = curl(
        ["-X", "POST", "-H", "Origin: null"]
            .map(str::to_owned)
            .into_iter()
            .chain([format!("http://127.0.0.1:{port}/-/reload")]),
    )
    .await;
    assert!(reload.output.contains("another site"));
}

/// The program, started by systemd's own tool with a Unix socket; `limits` is a shell command.
async fn activated(limits: &str, path: &std::path::Path) -> tokio::process::Child {
    let activator = tokio::process::Command::new("sh")
        .args(["-c", &format!("{limits} exec systemd-socket-activate -l \"$@\""), "sh"])
        .arg(path)
        .args(["-E", "DB_MONITOR_ENABLED=false"])
        .arg(env!("CARGO_BIN_EXE_db_pool_exporter"))
        .arg("--web.systemd-socket")
        .kill_on_drop(true)
        .stderr(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    while !path.exists() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    activator
}

async fn scrape(path: &std::path::Path) -> String {
    let arguments = ["--unix-socket", path.to_str().unwrap(), "http://localhost/metrics"];
    curl(arguments.map(str::to_owned)).await.status
}

#[tokio::test]
async fn systemd_hands_its_socket_over() {
    let folder = Folder::new();
    let path = folder.path("systemd.sock");
    let mut daemon = activated("", &path).await;
    assert_eq!(scrape(&path).await, "200 1.1");
    daemon.kill().await.unwrap();
    assert!(path.exists(), "the file is systemd's");
}

#[tokio::test]
async fn without_descriptors_idle_connections_make_room() {
    let folder = Folder::new();
    let path = folder.path("systemd.sock");
    let mut daemon = activated("ulimit -n 40;", &path).await;
    let mut open = Vec::new();
    for _ in 0..60 {
        open.push(tokio::net::UnixStream::connect(&path).await.unwrap());
    }
    assert_eq!(scrape(&path).await, "200 1.1");
    daemon.kill().await.unwrap();
}

#[tokio::test]
async fn without_systemd_that_is_told() {
    let settings = ServerSettings { systemd_socket: true, ..ServerSettings::default() };
    assert!(matches!(bind(&settings, Inherited::empty()), Err(BindError::NoneInherited)));
}
