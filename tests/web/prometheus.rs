use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use db_pool_exporter::web::ServerSettings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{Folder, curl, read_all, run, settings, start};
use crate::tls::certificates;

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Forwards requests to a server, one after the other; stores each with its answer, as text.
async fn relay(listener: TcpListener, to: SocketAddr, seen: Arc<Mutex<Vec<String>>>) {
    while let Ok((mut client, _)) = listener.accept().await {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let Ok(byte) = client.read_u8().await else { break };
            request.push(byte);
        }
        request.truncate(request.len().saturating_sub(2));
        request.extend(b"Connection: close\r\n\r\n");
        let mut server = TcpStream::connect(to).await.unwrap();
        server.write_all(&request).await.unwrap();
        let answer = read_all(&mut server).await;
        let _ = client.write_all(&answer).await;
        let both = [request, answer].concat();
        seen.lock().unwrap().push(String::from_utf8_lossy(&both).to_ascii_lowercase());
    }
}

/// Two scrape jobs: plain HTTP, and TLS with a password.
fn configuration(folder: &Folder, plain: u16, secure: u16) -> String {
    let authority = folder.path("ca.pem").display().to_string();
    format!(
        "global: {{ scrape_interval: 1s, scrape_timeout: 1s }}\n\
         scrape_configs:\n\
         - job_name: plain\n  static_configs: [ {{ targets: [ 'localhost:{plain}' ] }} ]\n\
         - job_name: secure\n  scheme: https\n  tls_config: {{ ca_file: '{authority}' }}\n\
         \x20 basic_auth: {{ username: prom, password: geheim }}\n\
         \x20 static_configs: [ {{ targets: [ 'localhost:{secure}' ] }} ]\n"
    )
}

#[tokio::test]
async fn a_real_prometheus_scrapes_gzip_plain_and_over_tls_with_a_password() {
    let folder = certificates().await;
    let user = run("htpasswd", &["-nbB", "-C", "5", "prom", "geheim"], &folder.path("")).await;
    let hash = user.trim().split_once(':').unwrap().1;
    let web = format!(
        "tls_server_config: {{ cert_file: server.pem, key_file: server.key }}\n\
         basic_auth_users: {{ prom: {hash} }}\n"
    );
    let file = folder.write("web.yml", &web);
    let plain = start(settings());
    let secure = start(ServerSettings { web_config_file: Some(file), ..settings() });
    let (listener, seen) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), Arc::default());
    let relayed = listener.local_addr().unwrap().port();
    plain.tasks.spawn(relay(listener, plain.address, Arc::clone(&seen)));
    let text = configuration(&folder, relayed, secure.address.port());
    let port = free_port();
    let _prometheus = tokio::process::Command::new("prometheus")
        .arg(format!("--config.file={}", folder.write("prometheus.yml", &text).display()))
        .arg(format!("--storage.tsdb.path={}", folder.path("tsdb").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .stderr(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let query = format!("http://127.0.0.1:{port}/api/v1/query?query=gauged");
    let mut output = String::new();
    for _ in 0..150 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        output = curl([query.clone()]).await.output;
        if output.contains("\"plain\"") && output.contains("\"secure\"") {
            // Both jobs have the value that the server exposes.
            assert_eq!(output.matches("\"100\"]").count(), 2, "{output}");
            let seen = seen.lock().unwrap();
            let first = seen.first().unwrap();
            for header in [
                "accept-encoding: gzip",
                "content-encoding: gzip",
                "content-type: application/openmetrics-text; version=1.0.0",
            ] {
                assert!(first.contains(header), "{first}");
            }
            return;
        }
    }
    let targets = curl([format!("http://127.0.0.1:{port}/api/v1/targets")]).await;
    panic!("{output}\n{}", targets.output);
}
