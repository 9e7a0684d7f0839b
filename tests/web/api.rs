use db_pool_exporter::pool;
use db_pool_exporter::probe::{TargetSettings, fixture};
use db_pool_exporter::web::ServerSettings;
use serde_json::Value;

use crate::support::{Server, settings, start};

/// A server of the API with a target that does not exist.
fn server(settings: ServerSettings) -> Server {
    let server = start(settings);
    let connect = pool::fixture::connect("postgresql://app@127.0.0.1:1/orders?sslmode=disable");
    server.targets.apply(vec![TargetSettings { connect, ..fixture::settings("orders") }]);
    server
}

const STRANGER: &str = "X-Forwarded-For: 192.0.2.1";

async fn json(server: &Server, method: &str, path: &str, headers: &[&str]) -> (u16, Value) {
    let answer = server.ask(method, path, headers).await;
    assert_eq!(answer.header("content-type"), Some("application/json"), "{path}");
    (answer.status, serde_json::from_str(&answer.body).unwrap())
}

#[tokio::test]
async fn the_endpoints_answer_json_for_the_target_that_is_asked_for() {
    let server = server(settings());
    for path in ["/api/v1/database/pool/status", "/api/v1/database/pool/health"] {
        let (_, answer) = json(&server, "GET", path, &[]).await;
        assert_eq!(answer["target"], "orders", "{path}");
        let (_, answer) = json(&server, "GET", &format!("{path}?target=%6Frders"), &[]).await;
        assert_eq!(answer["target"], "orders", "{path}");
        let (status, answer) = json(&server, "GET", &format!("{path}?target=x"), &[]).await;
        assert_eq!((status, answer["detail"].as_str()), (404, Some("Unknown target")), "{path}");
    }
    assert_eq!(json(&server, "GET", "/api/v1/targets", &[]).await.0, 200);
    assert_eq!(json(&server, "GET", "/api/v1/sd", &[]).await.0, 200);
    assert_eq!(json(&server, "GET", "/api/v1/openapi.json", &[]).await.1["openapi"], "3.1.0");
}

#[tokio::test]
async fn in_production_a_stranger_sees_the_bare_status_only() {
    let server = server(ServerSettings { production: true, ..settings() });
    let (status, bare) = json(&server, "GET", "/api/v1/health", &[STRANGER]).await;
    assert_eq!((status, bare.to_string().as_str()), (503, "{\"status\":\"unhealthy\"}"));
    let (status, whole) = json(&server, "GET", "/api/v1/health", &[]).await;
    assert_eq!((status, &whole["targets"]["orders"]["status"]), (503, &bare["status"]));
    for path in ["database/pool/status", "database/pool/health", "targets", "sd", "openapi.json"] {
        let (status, answer) = json(&server, "GET", &format!("/api/v1/{path}"), &[STRANGER]).await;
        assert_eq!((status, answer.get("detail").is_some()), (403, true), "{path}");
    }
}

#[tokio::test]
async fn a_reset_is_for_who_may_change_something() {
    let server = server(settings());
    let path = "/api/v1/database/pool/reset-metrics";
    let (status, answer) = json(&server, "POST", path, &[]).await;
    assert_eq!(
        (status, answer["message"].as_str()),
        (200, Some("Pool metrics reset successfully"))
    );
    for header in [STRANGER, "Origin: http://evil.example", "Sec-Fetch-Site: cross-site"] {
        assert_eq!(json(&server, "POST", path, &[header]).await.0, 403, "{header}");
    }
    assert_eq!(json(&server, "GET", path, &[]).await.0, 405);
}
