//! Certificates and keys, the server's and ours, as users have them: psql beside us judges the same.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use db_pool_exporter::pool::Reason;

use crate::support::authority::{Authority, Leaf};
use crate::support::client::{Outcome, connect, outcome, psql};
use crate::support::scene::{
    CLIENT_CERTIFICATE, MODES, Scene, server, start, url, with_certificate, with_client_ca,
};

#[tokio::test]
async fn certificates_as_users_really_have_them_are_judged_as_psql_does() {
    let scene = Scene::new();
    let self_signed = scene.authority.self_signed("self", &[]);
    let ca_leaf = ["basicConstraints=critical,CA:TRUE", "subjectAltName=DNS:localhost"];
    let leaf = |common_name, extensions| Leaf { common_name, extensions, ..Leaf::default() };
    let old = Leaf { days: -1, ..leaf("x", &ca_leaf) };
    // Of the same name as the authority that is trusted, but with a key of its own.
    let namesake = Authority::new("authority");
    let client_only = ["extendedKeyUsage=clientAuth", "subjectAltName=DNS:localhost"];
    let ip_only = ["subjectAltName=IP:127.0.0.1"];
    let servers = [
        ("signs itself, CA:TRUE", self_signed),
        ("an authority itself, expired", scene.authority.issue("old", &old)),
        ("version 1 of a namesake", namesake.issue("v1", &leaf("localhost", &[]))),
        ("an authority of a namesake", namesake.issue("sub", &leaf("localhost", &ca_leaf))),
        ("version 1", scene.authority.issue("v1", &leaf("localhost", &[]))),
        (
            "version 1, expired",
            scene.authority.issue("v1x", &Leaf { days: -1, ..leaf("localhost", &[]) }),
        ),
        ("version 1 of a stranger", scene.stranger.issue("v1", &leaf("localhost", &[]))),
        ("an authority itself", scene.authority.issue("authority", &leaf("x", &ca_leaf))),
        ("only for clients", scene.authority.issue("use", &leaf("localhost", &client_only))),
        (
            "common name only",
            scene.authority.issue("cn", &leaf("localhost", &["keyUsage=digitalSignature"])),
        ),
        (
            "common name with a star",
            scene.authority.issue("star", &leaf("*.localhost", &["keyUsage=digitalSignature"])),
        ),
        ("IP address", scene.authority.issue("ip", &leaf("x", &ip_only))),
    ];
    for (what, pair) in &servers {
        let cluster = start(server(pair));
        let root = scene.authority.certificate();
        let roots: [&Path; 2] = [&root, &pair.certificate];
        let mut urls = Scene::urls(&cluster, "localhost", &MODES[2..], &roots);
        urls.extend(Scene::urls(&cluster, "127.0.0.1", &["verify-full"], &roots));
        for version in ["TLSv1.2", "TLSv1.3"] {
            let parameters = [("sslmode", "require"), ("ssl_max_protocol_version", version)];
            urls.push(url(&cluster, "localhost", &parameters));
        }
        scene.agree(what, &urls).await;
    }
}

#[tokio::test]
async fn client_certificates_are_read_in_every_form() {
    let scene = Scene::new();
    let cluster = start(
        with_client_ca(server(&scene.issue(&Leaf::default())), &scene).hba(CLIENT_CERTIFICATE),
    );
    let ours = |name, kind| {
        let leaf = Leaf {
            common_name: "app",
            extensions: &["keyUsage=digitalSignature"],
            kind,
            ..Leaf::default()
        };
        scene.authority.issue(name, &leaf)
    };
    let (ec, rsa) = (ours("ec", Leaf::default().kind), ours("rsa", &["-newkey", "rsa:2048"]));
    let convert = |pair, name, command: &[&str]| scene.authority.convert(pair, name, command);
    let stranger = scene.stranger.issue("app", &Leaf { common_name: "app", ..Leaf::default() });
    let pairs = [
        convert(&ec, "sec1", &["ec"]),
        convert(&rsa, "pkcs1", &["rsa", "-traditional"]),
        convert(&ec, "der", &["pkcs8", "-topk8", "-nocrypt", "-outform", "DER"]),
        ec.clone(),
        rsa.clone(),
        stranger,
    ];
    for pair in &pairs {
        let urls = [with_certificate(&cluster, pair, "require")];
        scene.agree("a client certificate", &urls).await;
        assert_eq!(
            psql(&urls[0], &scene.home).await.0 == Outcome::Encrypted,
            pair.key != pairs[5].key
        );
    }
    let refused = connect(&with_certificate(&cluster, &pairs[5], "require"), &scene.home).await;
    assert_eq!(refused.unwrap_err().reason, Reason::Tls, "the server says so after the handshake");
    let locked = convert(&pairs[3], "locked", &["pkcs8", "-topk8", "-passout", "pass:x"]);
    let error = connect(&with_certificate(&cluster, &locked, "require"), &scene.home).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("sslkey") && error.contains("encrypted"), "{error}");
}

#[tokio::test]
async fn a_server_can_be_made_to_ask_for_a_certificate() {
    let scene = Scene::new();
    let pair = scene.issue(&Leaf::default());
    let ours = scene.authority.issue("app", &Leaf { common_name: "app", ..Leaf::default() });
    let servers = [(server(&pair), false), (with_client_ca(server(&pair), &scene), true)];
    for (builder, asks) in servers {
        let cluster = start(builder);
        let url = with_certificate(&cluster, &ours, "require");
        let required = connect(&format!("{url}&sslcertmode=require"), &scene.home).await;
        assert_eq!(required.is_ok(), asks, "{required:?}");
        let disabled = connect(&format!("{url}&sslcertmode=disable"), &scene.home).await;
        assert_eq!(outcome(&disabled), Outcome::Encrypted);
    }
}

#[tokio::test]
async fn a_key_that_others_can_read_is_refused_as_psql_refuses_it() {
    let scene = Scene::new();
    let cluster = start(server(&scene.issue(&Leaf::default())));
    let pair = scene.authority.issue("app", &Leaf { common_name: "app", ..Leaf::default() });
    for mode in [0o600, 0o400, 0o640, 0o644, 0o660, 0o604] {
        fs::set_permissions(&pair.key, fs::Permissions::from_mode(mode)).unwrap();
        let urls = [with_certificate(&cluster, &pair, "require")];
        scene.agree(&format!("a key of mode {mode:o}"), &urls).await;
    }
}

#[tokio::test]
async fn files_that_are_named_must_be_there() {
    let scene = Scene::new();
    let cluster = start(server(&scene.issue(&Leaf::default())));
    for (parameter, value) in
        [("sslrootcert", "/nowhere/root.crt"), ("sslcert", "/nowhere/app.crt")]
    {
        for mode in ["prefer", "require", "verify-full"] {
            let url = url(&cluster, "localhost", &[("sslmode", mode), (parameter, value)]);
            let error = connect(&url, &scene.home).await.unwrap_err();
            assert_eq!(error.reason, Reason::Tls, "{url}: {error}");
            assert!(error.to_string().contains(parameter), "{error}");
        }
    }
}
