use db_pool_exporter::web::ServerSettings;

use crate::support::{Folder, run, settings, start};

/// This server cannot reload and answers 503, which shows that the request was accepted.
async fn reload(server: &crate::support::Server, headers: &[&str]) -> u16 {
    server.ask("POST", "/-/reload", headers).await.status
}

fn without_reload(settings: ServerSettings) -> crate::support::Server {
    let mut server = start(settings);
    server.reload.close();
    server
}

#[tokio::test]
async fn changes_are_for_direct_clients_of_this_host() {
    let server = without_reload(settings());
    for headers in [
        &[][..],
        &["Host: 127.0.0.1:9956"],
        &["Host: localhost:9956", "Origin: http://localhost:9956", "Sec-Fetch-Site: same-origin"],
        &["Sec-Fetch-Site: none"],
    ] {
        assert_eq!(reload(&server, headers).await, 503, "{headers:?}");
    }
    for headers in [
        &["X-Forwarded-For: 127.0.0.1"][..],
        &["Forwarded: for=127.0.0.1"],
        &["Via: 1.1 proxy"],
        &["X-Real-IP: 127.0.0.1"],
        &["Host: rebound.example"],
        &["Host: rebound.example", "Origin: http://rebound.example"],
        &["Origin: http://evil.example"],
        &["Origin: null"],
        &["Sec-Fetch-Site: cross-site"],
    ] {
        assert_eq!(reload(&server, headers).await, 403, "{headers:?}");
    }
}

#[tokio::test]
async fn a_proxy_without_configuration_is_no_direct_client() {
    let server = without_reload(settings());
    // As nginx asks without configuration: in HTTP/1.0, and with the address that it connects to.
    let nginx = "POST /-/reload HTTP/1.0\r\nHost: 127.0.0.1:9956\r\nConnection: close\r\n\r\n";
    assert_eq!(server.send(nginx).await.status, 403);
    for header in ["X-Forwarded-Proto: http", "X-Request-Id: 1", "X-Envoy-Internal: true"] {
        assert_eq!(reload(&server, &[header]).await, 403, "{header}");
    }
}

#[tokio::test]
async fn without_local_trust_only_a_login_lets_in() {
    let server = without_reload(ServerSettings { local_trust: false, ..settings() });
    assert_eq!(reload(&server, &[]).await, 403);
    let production = ServerSettings { local_trust: false, production: true, ..settings() };
    let server = start(production);
    assert_eq!(server.get("/").await.status, 403);
    assert_eq!(server.get("/metrics").await.status, 200);
}

#[tokio::test]
async fn lifecycle_lets_everyone_change_but_other_sites() {
    let server = without_reload(ServerSettings { lifecycle: true, ..settings() });
    assert_eq!(reload(&server, &["X-Forwarded-For: 10.0.0.1"]).await, 503);
    assert_eq!(reload(&server, &["Origin: http://evil.example"]).await, 403);
    assert_eq!(reload(&server, &["Host: exporter.example"]).await, 503);
    let rebound = ["Host: rebound.example", "Origin: http://rebound.example"];
    assert_eq!(reload(&server, &rebound).await, 403);
    assert_eq!(
        reload(&server, &["Host: rebound.example", "Sec-Fetch-Site: same-origin"]).await,
        403
    );
}

#[tokio::test]
async fn a_password_lets_change_through_a_proxy() {
    let folder = Folder::new();
    let user = run("htpasswd", &["-nbB", "-C", "4", "u", "p"], &folder.path("")).await;
    let (name, hash) = user.trim().split_once(':').unwrap();
    let file = folder.write("web.yml", &format!("basic_auth_users: {{ {name}: {hash} }}\n"));
    let server = without_reload(ServerSettings { web_config_file: Some(file), ..settings() });
    assert_eq!(reload(&server, &[]).await, 401);
    let password = "Authorization: Basic dTpw";
    assert_eq!(reload(&server, &[password, "X-Forwarded-For: 10.0.0.1"]).await, 503);
    assert_eq!(reload(&server, &[password, "Origin: http://evil.example"]).await, 403);
}

#[tokio::test]
async fn in_production_strangers_see_three_paths() {
    let server = start(ServerSettings { production: true, ..settings() });
    let stranger = ["X-Forwarded-For: 10.0.0.1"];
    for (target, here, away) in [
        ("/metrics", 200, 200),
        ("/-/healthy", 200, 200),
        ("/-/ready", 200, 200),
        ("/", 200, 403),
        ("/nowhere", 404, 403),
    ] {
        assert_eq!(server.get(target).await.status, here, "{target}");
        assert_eq!(server.ask("GET", target, &stranger).await.status, away, "{target}");
    }
}
