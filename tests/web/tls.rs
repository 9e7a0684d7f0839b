use std::time::Duration;

use db_pool_exporter::web::ServerSettings;
use tokio::time::sleep;

use crate::support::{Curl, Folder, Server, run, settings, start, try_start};

/// An authority, a server, a client certificate of the authority, and a self-signed client certificate.
pub(crate) async fn certificates() -> Folder {
    let folder = Folder::new();
    let here = folder.path("");
    let new = |name: &'static str| {
        ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout"]
            .into_iter()
            .chain([name, "-subj", "/CN=test", "-out"])
            .collect::<Vec<_>>()
    };
    let openssl = async |arguments: Vec<&str>| run("openssl", &arguments, &here).await;
    openssl([new("ca.key"), vec!["ca.pem", "-x509", "-days", "2"]].concat()).await;
    openssl([new("own.key"), vec!["own.pem", "-x509", "-days", "2"]].concat()).await;
    for (name, key, extensions) in [
        ("server", "server.key", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
        ("second", "second.key", "subjectAltName=DNS:localhost"),
        (
            "client",
            "client.key",
            "subjectAltName=DNS:scraper.example,IP:10.1.2.3,email:a@b.example,URI:spiffe://x/y",
        ),
    ] {
        folder.write("extensions", extensions);
        openssl([new(key), vec!["request"]].concat()).await;
        let out = format!("{name}.pem");
        let sign = "x509 -req -in request -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -out";
        openssl(sign.split(' ').chain([out.as_str()]).collect()).await;
    }
    folder
}

const SERVER: &str = "cert_file: server.pem, key_file: server.key";

fn with(folder: &Folder, tls: &str) -> ServerSettings {
    let file = folder.write("web.yml", &format!("tls_server_config: {{ {tls} }}\n"));
    ServerSettings { web_config_file: Some(file), ..settings() }
}

async fn ask(server: &Server, folder: &Folder, client: Option<&str>, more: &[&str]) -> Curl {
    let authority = folder.path("ca.pem");
    let mut arguments = vec!["--cacert".to_owned(), authority.display().to_string()];
    if let Some(client) = client {
        for (flag, end) in [("--cert", "pem"), ("--key", "key")] {
            let path = folder.path(&format!("{client}.{end}"));
            arguments.extend([flag.to_owned(), path.display().to_string()]);
        }
    }
    arguments.extend(more.iter().map(|text| (*text).to_owned()));
    if !more.iter().any(|text| text.contains("{}")) {
        arguments.push("https://{}/metrics".to_owned());
    }
    server.curl(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).await
}

#[tokio::test]
async fn https_speaks_both_versions_of_http_and_tls() {
    let folder = certificates().await;
    let server = start(with(&folder, SERVER));
    for (flags, status) in [
        (&["--http1.1"][..], "200 1.1"),
        (&["--http2"], "200 2"),
        (&["--tls-max", "1.2"], "200 2"),
        (&["--tlsv1.3"], "200 2"),
        (&["--tlsv1.2", "--tls-max", "1.2", "--ciphers", "ECDHE-ECDSA-AES128-SHA"], "000 0"),
        (&["-I", "--http2"], "200 2"),
    ] {
        assert_eq!(ask(&server, &folder, None, flags).await.status, status, "{flags:?}");
    }
    // Plain HTTP to the TLS port does no harm.
    server.curl(&["http://{}/metrics"]).await;
    assert_eq!(ask(&server, &folder, None, &[]).await.status, "200 2");
}

#[tokio::test]
async fn http2_has_the_same_limits_and_keeps_its_connection() {
    let folder = certificates().await;
    let mut settings = with(&folder, SERVER);
    settings.limits.request = Duration::from_millis(200);
    settings.limits.header = Duration::from_millis(100);
    settings.limits.idle = Duration::from_millis(2500);
    let server = start(settings);
    let large = format!("X-Large: {}", "x".repeat(17_000));
    assert_eq!(ask(&server, &folder, None, &["-H", &large]).await.status, "431 2");
    let long = format!("https://{{}}/?{}", "x".repeat(9000));
    assert_eq!(ask(&server, &folder, None, &[&long]).await.status, "414 2");
    // Two requests one second apart, each with the number of connections that it opened.
    let url = "https://{}/-/healthy";
    let twice = ["-w", "<%{num_connects}>", "--rate", "60/m", url, url];
    let output = ask(&server, &folder, None, &twice).await.output;
    assert!(output.contains("<1>") && output.contains("<0>"), "{output}");
}

#[tokio::test]
async fn versions_and_http2_are_as_told() {
    let folder = certificates().await;
    let server = start(with(&folder, &format!("{SERVER}, min_version: TLS13")));
    assert_ne!(ask(&server, &folder, None, &["--tls-max", "1.2"]).await.exit, 0);
    let text = format!(
        "tls_server_config: {{ {SERVER}, max_version: TLS12, cipher_suites: \
         [TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384], curve_preferences: [CurveP384] }}\n\
         http_server_config: {{ http2: false }}\n"
    );
    let file = folder.write("web.yml", &text);
    let server = start(ServerSettings { web_config_file: Some(file), ..settings() });
    assert_eq!(ask(&server, &folder, None, &[]).await.status, "200 1.1");
    assert_ne!(ask(&server, &folder, None, &["--curves", "X25519"]).await.exit, 0);
}

#[tokio::test]
async fn client_certificates_by_all_five_types() {
    let folder = certificates().await;
    for (auth, none, own, signed) in [
        ("NoClientCert", true, true, true),
        ("RequestClientCert", true, true, true),
        ("RequireAnyClientCert", false, true, true),
        ("VerifyClientCertIfGiven, client_ca_file: ca.pem", true, false, true),
        ("RequireAndVerifyClientCert, client_ca_file: ca.pem", false, false, true),
    ] {
        let server = start(with(&folder, &format!("{SERVER}, client_auth_type: {auth}")));
        for (client, expected) in [(None, none), (Some("own"), own), (Some("client"), signed)] {
            for version in ["1.2", "1.3"] {
                let done = ask(&server, &folder, client, &["--tls-max", version]).await;
                assert_eq!(done.exit == 0, expected, "{auth} {client:?} {version}");
            }
        }
    }
}

#[tokio::test]
async fn a_certificate_that_is_listed_or_for_any_usage_is_taken() {
    let folder = certificates().await;
    let here = folder.path("");
    for (name, usage) in [("any", "anyExtendedKeyUsage"), ("web", "serverAuth")] {
        folder.write("extensions", &format!("extendedKeyUsage={usage}"));
        let (key, out) = (format!("{name}.key"), format!("{name}.pem"));
        let request = "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=x -out request -keyout";
        let request: Vec<_> = request.split(' ').chain([key.as_str()]).collect();
        run("openssl", &request, &here).await;
        let sign = "x509 -req -in request -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -out";
        run("openssl", &sign.split(' ').chain([out.as_str()]).collect::<Vec<_>>(), &here).await;
    }
    let text = |name| std::fs::read_to_string(folder.path(name)).unwrap();
    folder.write("both.pem", &format!("{}{}", text("ca.pem"), text("own.pem")));
    for (authorities, client, expected) in [
        ("ca.pem", "own", false),
        // Self-signed with CA:TRUE, as openssl makes it.
        ("own.pem", "own", true),
        ("both.pem", "own", true),
        ("own.pem", "client", false),
        ("ca.pem", "any", true),
        ("ca.pem", "web", false),
    ] {
        let tls = format!(
            "{SERVER}, client_auth_type: RequireAndVerifyClientCert, client_ca_file: {authorities}"
        );
        let server = start(with(&folder, &tls));
        for version in ["1.2", "1.3"] {
            let done = ask(&server, &folder, Some(client), &["--tls-max", version]).await;
            assert_eq!(done.exit == 0, expected, "{authorities} {client} {version}");
        }
    }
}

#[tokio::test]
async fn handshakes_that_fail_are_counted_by_reason() {
    let folder = certificates().await;
    let auth = "client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.pem";
    let mut settings = with(&folder, &format!("{SERVER}, {auth}, min_version: TLS13"));
    settings.limits.handshake = Duration::from_millis(300);
    let server = start(settings);
    server.curl(&["http://{}/metrics"]).await;
    ask(&server, &folder, None, &[]).await;
    ask(&server, &folder, Some("own"), &[]).await;
    ask(&server, &folder, Some("client"), &["--tls-max", "1.2"]).await;
    server.curl(&["https://{}/metrics"]).await;
    drop(server.connect().await);
    let mut silent = server.connect().await;
    crate::support::read_all(&mut silent).await;
    let page = ask(&server, &folder, Some("client"), &[]).await.output;
    for reason in ["not_tls", "no_certificate", "bad_certificate", "incompatible", "alert"] {
        let line = format!("handshake_failures_total{{reason=\"{reason}\"}} 1");
        assert!(page.contains(&line), "{line} in {page}");
    }
}

#[tokio::test]
async fn a_key_that_others_may_read_is_warned_of() {
    use std::os::unix::fs::PermissionsExt;
    let folder = certificates().await;
    let file = folder.write("web.yml", &format!("tls_server_config: {{ {SERVER} }}\n"));
    for (mode, expected) in [(0o600, 0), (0o640, 0), (0o644, 1)] {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(folder.path("server.key"), mode).unwrap();
        let warnings = db_pool_exporter::web::check(&file).unwrap();
        assert_eq!(warnings.len(), expected, "{warnings:?}");
        assert!(warnings.iter().all(|warning| warning.place == "tls_server_config.key_file"));
    }
}

#[tokio::test]
async fn one_of_the_allowed_names_must_be_there() {
    let folder = certificates().await;
    for (names, expected) in [
        ("scraper.example", true),
        ("10.1.2.3", true),
        ("a@b.example", true),
        ("'spiffe://x/y'", true),
        ("other.example, scraper.example", true),
        ("scraper", false),
        ("", false),
    ] {
        let tls = format!(
            "{SERVER}, client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.pem, \
             client_allowed_sans: [{names}]"
        );
        let server = start(with(&folder, &tls));
        let done = ask(&server, &folder, Some("client"), &[]).await;
        assert_eq!(done.exit == 0, expected, "{names}");
    }
}

#[tokio::test]
async fn a_verified_certificate_authenticates() {
    let folder = certificates().await;
    let forwarded = ["-H", "X-Forwarded-For: 1.2.3.4", "https://{}/"];
    for (auth, client, status) in [
        ("VerifyClientCertIfGiven, client_ca_file: ca.pem", Some("client"), "200 2"),
        ("VerifyClientCertIfGiven, client_ca_file: ca.pem", None, "403 2"),
        ("RequestClientCert", Some("client"), "403 2"),
    ] {
        let tls = with(&folder, &format!("{SERVER}, client_auth_type: {auth}"));
        let server = start(ServerSettings { production: true, ..tls });
        assert_eq!(ask(&server, &folder, client, &forwarded).await.status, status, "{auth}");
    }
}

#[tokio::test]
pub(crate) async fn certificates_may_stand_in_the_file() {
    let folder = certificates().await;
    let block = |key: &str, name: &str| {
        let text = std::fs::read_to_string(folder.path(name)).unwrap();
        let lines: String = text.lines().map(|line| format!("    {line}\n")).collect();
        format!("  {key}: |\n{lines}")
    };
    let text = format!(
        "tls_server_config:\n{}{}{}  client_auth_type: RequireAndVerifyClientCert\n",
        block("cert", "server.pem"),
        block("key", "server.key"),
        block("client_ca", "ca.pem"),
    );
    let file = folder.write("web.yml", &text);
    let server = start(ServerSettings { web_config_file: Some(file), ..settings() });
    assert_eq!(ask(&server, &folder, Some("client"), &[]).await.status, "200 2");
}

#[tokio::test]
async fn a_new_certificate_is_taken_while_running_and_a_broken_one_is_not() {
    let folder = certificates().await;
    let server = start(with(&folder, SERVER));
    let command = format!(
        "openssl s_client -connect {} </dev/null 2>/dev/null | openssl x509 -noout -serial",
        server.address
    );
    let here = folder.path("");
    let shown = async || run("sh", &["-c", &command], &here).await;
    let first = shown().await;
    folder.write("server.pem", "broken");
    sleep(Duration::from_millis(1100)).await;
    assert_eq!(shown().await, first);
    for end in ["pem", "key"] {
        let copy = format!("second.{end}");
        std::fs::copy(folder.path(&copy), folder.path(&format!("server.{end}"))).unwrap();
    }
    sleep(Duration::from_millis(1100)).await;
    assert_ne!(shown().await, first);
    folder.write("web.yml", "");
    sleep(Duration::from_millis(1100)).await;
    assert_eq!(ask(&server, &folder, None, &[]).await.status, "200 2");
}

#[tokio::test]
async fn what_cannot_be_done_is_an_error_at_start() {
    let folder = certificates().await;
    for (tls, expected) in [
        ("cert_file: server.pem", "tls_server_config.key: key or key_file is needed"),
        ("cert_file: nowhere.pem, key_file: server.key", "cert_file: cannot be read"),
        ("cert_file: server.pem, key_file: own.key", "does not belong to the certificate"),
        ("cert_file: server.key, key_file: server.key", "holds no certificate"),
        ("cert_file: server.pem, key_file: server.pem", "holds no private key"),
        ("client_auth_type: RequireAndVerifyClientCert", "needs client_ca"),
    ] {
        let error = try_start(with(&folder, tls)).err().unwrap().to_string();
        assert!(error.contains(expected), "{tls}: {error}");
    }
    for (more, expected) in [
        ("min_version: TLS10", "min_version: TLS 1.0 and 1.1 are insecure"),
        ("max_version: TLS11", "max_version: TLS 1.0 and 1.1 are insecure"),
        ("cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA]", "CBC"),
        ("curve_preferences: [CurveP521]", "not supported"),
        ("client_ca_file: ca.pem", "needs a client_auth_type"),
        ("client_allowed_sans: [a]", "needs a client_auth_type"),
        (
            "client_allowed_sans: [a], client_auth_type: VerifyClientCertIfGiven, client_ca_file: ca.pem",
            "needs a client_auth_type",
        ),
        ("client_auth_type: VerifyClientCertIfGiven", "needs client_ca"),
    ] {
        let error = try_start(with(&folder, &format!("{SERVER}, {more}"))).err().unwrap();
        assert!(error.to_string().contains(expected), "{more}: {error}");
    }
}

#[tokio::test]
async fn a_silent_handshake_is_cut_off() {
    let folder = certificates().await;
    let mut settings = with(&folder, SERVER);
    settings.limits.handshake = Duration::from_millis(200);
    let server = start(settings);
    let mut silent = server.connect().await;
    let started = tokio::time::Instant::now();
    assert!(crate::support::read_all(&mut silent).await.is_empty());
    assert!(started.elapsed() < Duration::from_secs(1));
}
