use std::time::Duration;

use db_pool_exporter::http::Settings;

use crate::support::{Folder, curl, run, settings, start};
use crate::tls::certificates;

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Two jobs: plain, and over TLS with a password.
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
async fn a_real_prometheus_scrapes_plain_and_over_tls_with_a_password() {
    let folder = certificates().await;
    let user = run("htpasswd", &["-nbB", "-C", "5", "prom", "geheim"], &folder.path("")).await;
    let hash = user.trim().split_once(':').unwrap().1;
    let web = format!(
        "tls_server_config: {{ cert_file: server.pem, key_file: server.key }}\n\
         basic_auth_users: {{ prom: {hash} }}\n"
    );
    let file = folder.write("web.yml", &web);
    let plain = start(settings());
    let secure = start(Settings { web_config_file: Some(file), ..settings() });
    let text = configuration(&folder, plain.address.port(), secure.address.port());
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
            return;
        }
    }
    let targets = curl([format!("http://127.0.0.1:{port}/api/v1/targets")]).await;
    panic!("{output}\n{}", targets.output);
}
