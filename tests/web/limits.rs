use std::time::Duration;

use db_pool_exporter::web::{HttpLimits, ServerSettings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout};

use crate::support::{read_all, settings, short, start};

fn quick() -> HttpLimits {
    HttpLimits {
        header: Duration::from_millis(300),
        idle: Duration::from_millis(900),
        request: Duration::from_millis(600),
        ..HttpLimits::default()
    }
}

#[tokio::test]
async fn a_slow_header_is_cut_off_and_a_silent_connection_later() {
    let server = start(short(quick()));
    let (mut silent, mut slow) = (server.connect().await, server.connect().await);
    let started = Instant::now();
    let dribble = async {
        for _ in 0..50 {
            if slow.write_all(b"G").await.is_err() {
                break;
            }
            let read = timeout(Duration::from_millis(50), slow.read(&mut [0; 1])).await;
            if matches!(read, Ok(Ok(0) | Err(_))) {
                break;
            }
        }
        started.elapsed()
    };
    let silence = async {
        read_all(&mut silent).await;
        started.elapsed()
    };
    let (slow, silent) = tokio::join!(dribble, silence);
    assert!(slow > Duration::from_millis(250) && slow < Duration::from_millis(800), "{slow:?}");
    assert!(silent > Duration::from_millis(850), "{silent:?}");
}

#[tokio::test]
async fn an_idle_connection_outlives_the_header_limit_and_is_used_again() {
    let server = start(short(quick()));
    let mut stream = server.connect().await;
    for _ in 0..2 {
        stream.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut buffer = [0; 1024];
        let n = stream.read(&mut buffer).await.unwrap();
        assert!(buffer[..n].starts_with(b"HTTP/1.1 200"));
        sleep(Duration::from_millis(500)).await;
    }
    let started = Instant::now();
    read_all(&mut stream).await;
    assert!(started.elapsed() < Duration::from_millis(900));
}

#[tokio::test]
async fn ten_megabytes_of_header_are_431() {
    let server = start(settings());
    let huge = "x".repeat(10 << 20);
    let answer = server.send(&format!("GET / HTTP/1.1\r\nHost: x\r\nX: {huge}\r\n\r\n")).await;
    assert_eq!(answer.status, 431);
    let started = Instant::now();
    assert_eq!(server.get("/metrics").await.status, 200);
    assert!(started.elapsed() < Duration::from_millis(100));
}

#[tokio::test]
async fn long_uris_and_large_bodies_are_refused() {
    let server = start(settings());
    let long = format!("/metrics?{}", "x".repeat(9000));
    assert_eq!(server.get(&long).await.status, 414);
    let answer = server.ask("POST", "/-/reload", &["Content-Length: 70000"]).await;
    assert_eq!(answer.status, 413);
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    let untold = format!(
        "POST /-/reload HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Transfer-Encoding: chunked\r\n\r\n{chunk}{chunk}0\r\n\r\n"
    );
    assert_eq!(server.send(&untold).await.status, 413);
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_503() {
    let server = start(short(quick()));
    // The reload request is never answered.
    assert_eq!(server.ask("POST", "/-/reload", &[]).await.status, 503);
    let text = "POST /-/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nx";
    let started = Instant::now();
    assert_eq!(server.send(text).await.status, 503);
    assert!(started.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn too_many_in_flight_are_503_but_health_answers() {
    let server = start(ServerSettings { max_requests: 1, ..settings() });
    let mut waiting = server.connect().await;
    waiting.write_all(b"POST /-/reload HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    sleep(Duration::from_millis(100)).await;
    let refused = server.get("/metrics").await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    assert_eq!(server.get("/-/healthy").await.status, 200);
    drop(waiting);
    sleep(Duration::from_millis(100)).await;
    assert_eq!(server.get("/metrics").await.status, 200);
}

#[tokio::test]
async fn the_oldest_idle_connection_makes_room() {
    let server = start(short(HttpLimits { connections: 20, ..HttpLimits::default() }));
    let mut open = Vec::new();
    for _ in 0..20 {
        open.push(server.connect().await);
        tokio::task::yield_now().await;
    }
    sleep(Duration::from_millis(50)).await;
    assert_eq!(server.get("/metrics").await.status, 200);
    let first = timeout(Duration::from_secs(1), read_all(&mut open[0])).await;
    assert!(first.is_ok_and(|bytes| bytes.is_empty()));
    assert!(timeout(Duration::from_millis(100), open[19].read(&mut [0; 1])).await.is_err());
}

#[tokio::test]
async fn silent_connections_do_not_slow_scrapes() {
    let server = start(settings());
    let mut open = Vec::new();
    for _ in 0..200 {
        open.push(server.connect().await);
    }
    server.get("/metrics").await;
    let started = Instant::now();
    server.get("/metrics").await;
    assert!(started.elapsed() < Duration::from_millis(50), "{:?}", started.elapsed());
}

#[tokio::test]
async fn stopping_finishes_what_is_being_answered() {
    let mut server = start(settings());
    let (_none, reload) = tokio::sync::mpsc::channel(1);
    let mut asked = std::mem::replace(&mut server.reload, reload);
    let mut idle = server.connect().await;
    let stopping = async {
        let reload = asked.recv().await.unwrap();
        server.stop.cancel();
        sleep(Duration::from_millis(200)).await;
        reload.send(Ok(())).unwrap();
        server.tasks.close();
        timeout(Duration::from_secs(1), server.tasks.wait()).await.unwrap();
    };
    let (answer, ()) = tokio::join!(server.ask("POST", "/-/reload", &[]), stopping);
    assert_eq!(answer.status, 200);
    assert!(read_all(&mut idle).await.is_empty());
}

#[tokio::test]
async fn stopping_waits_no_longer_than_the_grace_period() {
    let limits = HttpLimits { grace: Duration::from_millis(300), ..HttpLimits::default() };
    let server = start(short(limits));
    let mut stuck = server.connect().await;
    stuck.write_all(b"POST /-/reload HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    sleep(Duration::from_millis(100)).await;
    server.stop.cancel();
    server.tasks.close();
    timeout(Duration::from_millis(600), server.tasks.wait()).await.unwrap();
}

#[tokio::test]
async fn a_client_that_takes_no_answers_is_cut_off() {
    let server = start(short(quick()));
    let mut greedy = server.connect().await;
    let request = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(100);
    let asking = async { while greedy.write_all(&request).await.is_ok() {} };
    timeout(Duration::from_secs(10), asking).await.unwrap();
    assert_eq!(server.get("/metrics").await.status, 200);
}

#[tokio::test]
async fn garbage_is_no_harm() {
    let server = start(settings());
    for text in
        ["\0\0\0\0\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "\x16\x03\x01\r\n\r\n"]
    {
        let mut stream = server.connect().await;
        stream.write_all(text.as_bytes()).await.unwrap();
        let answer = read_all(&mut stream).await;
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{text:?}");
    }
    assert_eq!(server.get("/-/healthy").await.status, 200);
}
