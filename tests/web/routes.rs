use std::sync::atomic::Ordering;

use db_pool_exporter::web::ServerSettings;

use crate::support::{settings, start};

#[tokio::test]
async fn the_landing_page_loads_nothing_and_links() {
    let server = start(settings());
    let page = server.get("/").await;
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(page.header("content-security-policy").unwrap().contains("default-src 'none'"));
    assert!(page.body.contains("href=\"/metrics\""));
    assert_eq!(server.ask("GET", "/", &["Accept: image/png"]).await.status, 200);
}

#[tokio::test]
async fn unknown_paths_and_methods_are_told() {
    let server = start(settings());
    for target in ["/nowhere", "/metrics/", "//metrics", "/%6detrics", "/..", "/-/reload/x"] {
        assert_eq!(server.get(target).await.status, 404, "{target}");
    }
    for (method, target, allow) in [
        ("POST", "/metrics", "GET, HEAD, OPTIONS"),
        ("DELETE", "/", "GET, HEAD, OPTIONS"),
        ("GET", "/-/reload", "POST, OPTIONS"),
        ("BREW", "/-/healthy", "GET, HEAD, OPTIONS"),
    ] {
        let answer = server.ask(method, target, &[]).await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some(allow)), "{target}");
    }
    let options = server.ask("OPTIONS", "/-/reload", &[]).await;
    assert_eq!((options.status, options.header("allow")), (204, Some("POST, OPTIONS")));
    assert_eq!(server.ask("OPTIONS", "*", &[]).await.status, 204);
}

#[tokio::test]
async fn errors_are_json_under_api_and_text_elsewhere() {
    let server = start(settings());
    let api = server.get("/api/v1/nowhere").await;
    assert_eq!(api.header("content-type"), Some("application/json"));
    assert_eq!(api.body, "{\"detail\":\"not found\"}");
    assert_eq!(server.get("/apiary").await.body, "not found\n");
}

#[tokio::test]
async fn everything_moves_under_the_prefix() {
    let server = start(ServerSettings {
        external_url: Some("https://proxy.example/pools/".parse().unwrap()),
        telemetry_path: "/m".to_owned(),
        ..settings()
    });
    for target in ["/pools/", "/pools", "/pools/m", "/pools/-/healthy"] {
        assert_eq!(server.get(target).await.status, 200, "{target}");
    }
    for target in ["/m", "/pools/metrics", "/-/healthy", "/poolsm"] {
        assert_eq!(server.get(target).await.status, 404, "{target}");
    }
    let outside = server.get("/").await;
    assert_eq!((outside.status, outside.header("location")), (302, Some("/pools/")));
    assert!(server.get("/pools/").await.body.contains("href=\"/pools/m\""));
}

#[tokio::test]
async fn readiness_follows_the_probes_and_health_does_not() {
    let server = start(settings());
    assert_eq!(server.get("/-/ready").await.status, 200);
    server.ready.store(false, Ordering::Relaxed);
    assert_eq!(server.get("/-/ready").await.status, 503);
    assert_eq!(server.get("/-/healthy").await.status, 200);
}

#[tokio::test]
async fn a_reload_tells_how_it_went() {
    let mut server = start(settings());
    let (_none, reload) = tokio::sync::mpsc::channel(1);
    let mut asked = std::mem::replace(&mut server.reload, reload);
    for (outcome, status, text) in [
        (Ok(()), 200, "configuration reloaded\n"),
        (Err("line 3: no".to_owned()), 500, "line 3: no\n"),
    ] {
        let (answer, ()) = tokio::join!(server.ask("POST", "/-/reload", &[]), async {
            asked.recv().await.unwrap().send(outcome).unwrap();
        });
        assert_eq!((answer.status, answer.body.as_str()), (status, text));
    }
    drop(asked);
    assert_eq!(server.ask("POST", "/-/reload", &[]).await.status, 503);
}

#[tokio::test]
async fn a_request_has_one_host() {
    let server = start(settings());
    for (head, status) in [
        ("GET /-/healthy HTTP/1.1", 400),
        ("GET /-/healthy HTTP/1.0", 200),
        ("GET /-/healthy HTTP/1.1\r\nHost: a\r\nHost: a", 400),
        ("GET /-/healthy HTTP/1.1\r\nHost: a b", 400),
        ("GET /-/healthy HTTP/1.1\r\nHost:", 200),
        ("GET /-/healthy HTTP/1.1\r\nHost: [::1]:80", 200),
    ] {
        let answer = server.send(&format!("{head}\r\nConnection: close\r\n\r\n")).await;
        assert_eq!(answer.status, status, "{head}");
    }
}
