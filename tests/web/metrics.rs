use std::io::Read as _;

use crate::support::{settings, start};

const PROMETHEUS: &str =
    "Accept: application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

#[tokio::test]
async fn text_by_default_and_openmetrics_where_preferred() {
    let server = start(settings());
    let text = server.get("/metrics").await;
    assert_eq!(text.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert_eq!(text.header("cache-control"), Some("no-store"));
    assert_eq!(text.header("vary"), Some("Accept, Accept-Encoding"));
    assert!(text.body.contains("# TYPE made_up_total counter\n"));
    let open = server.ask("GET", "/metrics", &[PROMETHEUS]).await;
    let expected = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(open.header("content-type"), Some(expected));
    assert!(open.body.ends_with("# EOF\n"));
}

#[tokio::test]
async fn gzip_unpacks_to_what_identity_gives() {
    let server = start(settings());
    let plain = server.get("/metrics?name[]=made_up_total").await;
    let packed =
        server.ask("GET", "/metrics?name[]=made_up_total", &["Accept-Encoding: gzip"]).await;
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    assert!(packed.bytes.len() < plain.bytes.len() / 2);
    let mut text = String::new();
    flate2::read::GzDecoder::new(packed.bytes.as_slice()).read_to_string(&mut text).unwrap();
    assert_eq!(text, plain.body);
}

#[tokio::test]
async fn names_filter_families_also_percent_encoded() {
    let server = start(settings());
    for target in ["/metrics?name[]=gauged", "/metrics?x=1&name%5B%5D=gau%67ed"] {
        let answer = server.get(target).await;
        let heads = answer.body.lines().filter(|line| line.starts_with("# TYPE")).count();
        assert_eq!(heads, 1, "{target}");
        assert!(answer.body.contains("\ngauged 100\n"), "{target}");
    }
    assert_eq!(server.get("/metrics?name[]=nowhere").await.body, "");
    for query in ["name[]=%zz", "name[]=%ff", "x=%"] {
        assert_eq!(server.get(&format!("/metrics?{query}")).await.status, 400, "{query}");
    }
}

#[tokio::test]
async fn head_is_get_without_its_body() {
    let server = start(settings());
    let get = server.get("/metrics?name[]=gauged").await;
    let head = server.ask("HEAD", "/metrics?name[]=gauged", &[]).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), Some(get.body.len().to_string().as_str()));
}

#[tokio::test]
async fn a_scraper_that_accepts_nothing_of_ours_gets_text() {
    let server = start(settings());
    for line in ["Accept: application/json", "Accept-Encoding: identity;q=0"] {
        let page = server.ask("GET", "/metrics", &[line]).await;
        assert_eq!(page.status, 200, "{line}");
        assert_eq!(page.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
        assert_eq!(page.header("content-encoding"), None);
    }
}

#[tokio::test]
async fn the_own_requests_are_counted() {
    let server = start(settings());
    server.get("/nowhere").await;
    server.get("/metrics").await;
    let page = server.get("/metrics").await;
    for line in [
        "db_pool_exporter_http_requests_total{code=\"404\",handler=\"other\"} 1\n",
        "db_pool_exporter_http_requests_total{code=\"200\",handler=\"/metrics\"} 1\n",
        "db_pool_exporter_http_request_duration_seconds_count{handler=\"/metrics\"} 1\n",
    ] {
        assert!(page.body.contains(line), "{line} in\n{}", page.body);
    }
}
