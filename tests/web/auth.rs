use std::time::Duration;

use db_pool_exporter::web::ServerSettings;
use tokio::time::{Instant, sleep};

use crate::support::{Folder, Server, run, settings, start};

async fn with_user(cost: &str) -> (Folder, Server) {
    let folder = Folder::new();
    let user = run("htpasswd", &["-nbB", "-C", cost, "prom", "geheim"], &folder.path("")).await;
    let (name, hash) = user.trim().split_once(':').unwrap();
    let text = format!(
        "basic_auth_users: {{ {name}: {hash} }}\n\
         http_server_config: {{ headers: {{ X-Frame-Options: deny, Content-Security-Policy: default-src 'none' }} }}\n"
    );
    let file = folder.write("web.yml", &text);
    (folder, start(ServerSettings { web_config_file: Some(file), ..settings() }))
}

#[tokio::test]
async fn a_hash_of_htpasswd_admits_its_password_only() {
    let (_folder, server) = with_user("5").await;
    let right = server.curl(&["-u", "prom:geheim", "http://{}/metrics"]).await;
    assert_eq!(right.status, "200 1.1");
    assert!(right.output.to_ascii_lowercase().contains("x-frame-options: deny"));
    for pair in ["prom:wrong", "prom:", "other:geheim", "other:fakepassword"] {
        let wrong = server.curl(&["-u", pair, "http://{}/metrics"]).await;
        assert_eq!(wrong.status, "401 1.1", "{pair}");
        assert!(wrong.output.to_ascii_lowercase().contains("www-authenticate: basic"));
    }
    assert_eq!(server.get("/-/healthy").await.status, 401);
    assert_eq!(server.get("/nowhere").await.status, 401);
}

#[tokio::test]
async fn an_unknown_user_takes_as_long_as_a_wrong_password() {
    let (_folder, server) = with_user("6").await;
    let headers = [
        "Authorization: Basic cHJvbTp3cm9uZw==",
        "Authorization: Basic b3RoZXI6d3Jvbmc=",
        "Authorization: Basic cHJvbTpnZWhlaW0=",
    ];
    // The shortest of alternating measurements, because load on the machine only adds time. On a busy machine
    // it takes more of them until each of the three was measured undisturbed once.
    let are_equal = |[wrong, unknown, _]: [f64; 3]| (wrong / unknown - 1.0).abs() < 0.3;
    let mut shortest = [f64::INFINITY; 3];
    for round in 0..100 {
        if round >= 9 && are_equal(shortest) {
            break;
        }
        for (header, best) in headers.iter().zip(&mut shortest) {
            let started = Instant::now();
            server.ask("GET", "/", &[*header]).await;
            *best = best.min(started.elapsed().as_secs_f64());
        }
    }
    let [wrong, unknown, right] = shortest;
    assert!(are_equal(shortest), "{wrong} and {unknown}");
    assert!(right < wrong / 3.0, "remembered: {right}, {wrong}");
}

#[tokio::test]
async fn over_the_rate_is_429() {
    let folder = Folder::new();
    let file = folder.write("web.yml", "rate_limit: { interval: 1h, burst: 2 }\n");
    let server = start(ServerSettings { web_config_file: Some(file), ..settings() });
    for status in [200, 200, 429] {
        assert_eq!(server.get("/metrics").await.status, status);
    }
}

#[tokio::test]
async fn a_changed_file_is_read_again_and_a_broken_one_is_not_taken() {
    let (folder, server) = with_user("4").await;
    let password = "Authorization: Basic cHJvbTpnZWhlaW0=";
    let gauge = "db_pool_exporter_web_config_last_reload_successful";
    assert!(server.ask("GET", "/metrics", &[password]).await.body.contains(&format!("{gauge} 1")));
    for broken in ["basic_auth_users: { prom: geheim }", ""] {
        folder.write("web.yml", broken);
        sleep(Duration::from_millis(1100)).await;
        assert_eq!(server.get("/metrics").await.status, 401, "{broken:?}");
        let page = server.ask("GET", "/metrics", &[password]).await;
        assert!(page.body.contains(&format!("{gauge} 0")), "{broken:?}");
    }
    let user = run("htpasswd", &["-nbB", "-C", "4", "prom", "neu"], &folder.path("")).await;
    let hash = user.trim().split_once(':').unwrap().1;
    folder.write("web.yml", &format!("basic_auth_users: {{ prom: {hash} }}\n"));
    sleep(Duration::from_millis(1100)).await;
    assert_eq!(server.ask("GET", "/metrics", &[password]).await.status, 401);
    let page = server.ask("GET", "/metrics", &["Authorization: Basic cHJvbTpuZXU="]).await;
    assert!(page.body.contains(&format!("{gauge} 1")));
}
