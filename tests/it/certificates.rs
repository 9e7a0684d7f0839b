//! Certificates and keys of server and client, as users have them. psql must come to the same result.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use db_pool_exporter::pool::Reason;

use crate::support::authority::{Authority, Leaf};
use crate::support::client::{Outcome, connect, outcome, psql};
use crate::support::postgres::Cluster;
use crate::support::scene::{
    CLIENT_CERTIFICATE, MODES, Scene, server, start, text, url, with_certificate, with_client_ca,
};

#[tokio::test]
async fn certificates_as_users_really_have_them_are_judged_as_psql_does() {
    let scene = Scene::new();
    let self_signed = scene.authority.self_signed("self", &[]);
    let ca_leaf = ["basicConstraints=critical,CA:TRUE", "subjectAltName=DNS:localhost"];
    let leaf = |common_name, extensions| Leaf { common_name, extensions, ..Leaf::default() };
    let old = Leaf { days: -1, ..leaf("x", &ca_leaf) };
    // An authority with the trusted authority's name, but another key.
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
async fn a_root_signs_what_psql_lets_it_sign() {
    let root = |extensions: &[&str]| Authority::with("root", extensions);
    let authority = "basicConstraints=critical,CA:TRUE";
    let roots = [
        ("somebody's server, pinned", root(&["basicConstraints=CA:FALSE"]), false),
        ("no authority by its extensions", root(&["subjectAltName=DNS:other"]), false),
        ("an authority by its use alone", root(&["keyUsage=keyCertSign"]), true),
        ("an authority by its name alone", root(&[authority, "keyUsage=cRLSign"]), false),
        ("only for clients", root(&[authority, "extendedKeyUsage=clientAuth"]), false),
        ("for other names", root(&[authority, "nameConstraints=permitted;DNS:other"]), false),
        ("for this name", root(&[authority, "nameConstraints=permitted;DNS:localhost"]), true),
    ];
    let ca_leaf = &["basicConstraints=CA:TRUE", "subjectAltName=DNS:localhost"][..];
    let v3 = &["subjectAltName=DNS:localhost", "basicConstraints=CA:FALSE"][..];
    let scene = Scene::new();
    for (what, root, signs) in &roots {
        for (form, extensions) in [("v3", v3), ("authority", ca_leaf), ("v1", &[])] {
            // With a name-constrained root psql accepts the other certificate forms too; the exporter does not.
            if what.starts_with("for ") && form != "v3" {
                continue;
            }
            let pair = root.issue("server", &Leaf { extensions, ..Leaf::default() });
            let cluster = start(server(&pair));
            let urls = verifying(&cluster, &root.certificate());
            let [refused, _, encrypted] = scene.agree(&format!("{what}, {form}"), &urls).await;
            if form == "v3" {
                assert_eq!((refused == 0, encrypted > 0), (*signs, *signs), "{what}, {form}");
            }
        }
    }
}

#[tokio::test]
async fn a_certificate_serves_as_psql_lets_it_serve() {
    let scene = Scene::new();
    let name = "subjectAltName=DNS:localhost";
    let itself = |extensions: &[&str]| {
        let signer = Authority::with("localhost", extensions);
        (signer.itself(), signer.certificate())
    };
    let issued = |extensions: &[&str]| {
        let pair = scene.authority.issue("server", &Leaf { extensions, ..Leaf::default() });
        (pair, scene.authority.certificate())
    };
    let ca = "basicConstraints=CA:TRUE";
    for (what, (pair, root)) in [
        ("signs itself", itself(&["basicConstraints=CA:FALSE", name])),
        ("signs itself, for signing", itself(&[ca, "keyUsage=keyCertSign", name])),
        ("signs itself, for clients", itself(&[ca, "extendedKeyUsage=clientAuth", name])),
        ("signs itself, for something new", itself(&[ca, "1.2.3.4=critical,DER:05:00", name])),
        ("for signing", issued(&["keyUsage=keyCertSign", name])),
        ("for signing, an authority", issued(&[ca, "keyUsage=keyCertSign", name])),
        ("for any use", issued(&["extendedKeyUsage=anyExtendedKeyUsage", name])),
        ("for any use, an authority", issued(&[ca, "extendedKeyUsage=anyExtendedKeyUsage", name])),
        ("for something new", issued(&["1.2.3.4=critical,DER:05:00", name])),
        ("for something new, an authority", issued(&[ca, "1.2.3.4=critical,DER:05:00", name])),
        ("names that cannot be read", issued(&["subjectAltName=DER:05:00"])),
        ("names, an authority", issued(&[ca, "subjectAltName=DNS:other"])),
        ("a name in capitals", issued(&["subjectAltName=DNS:LOCALHOST"])),
        ("a star alone", issued(&["subjectAltName=DNS:*"])),
        ("a mail address", issued(&["subjectAltName=email:a@localhost"])),
    ] {
        let cluster = start(server(&pair));
        scene.agree(what, &verifying(&cluster, &root)).await;
    }
}

#[tokio::test]
async fn authorities_in_between_are_followed_as_psql_follows_them() {
    let scene = Scene::new();
    let root = scene.authority.certificate();
    let below = |extensions: &[&str]| scene.authority.below("middle", extensions);
    let ca = "basicConstraints=critical,CA:TRUE";
    let middles = [
        ("an authority", below(&[ca, "keyUsage=keyCertSign"]), true),
        ("no authority", below(&["basicConstraints=CA:FALSE"]), false),
        ("not for signing", below(&[ca, "keyUsage=cRLSign"]), false),
        ("only for clients", below(&[ca, "extendedKeyUsage=clientAuth"]), false),
    ];
    for (what, middle, follows) in &middles {
        let mut pair = middle.issue("server", &Leaf::default());
        let alone = start(server(&pair));
        pair.certificate = middle.bundle("chain", &[&pair.certificate, &middle.certificate()]);
        let sent = start(server(&pair));
        let all = middle.bundle("all", &[&root, &middle.certificate()]);
        let [_, _, encrypted] = scene.agree(what, &verifying(&sent, &root)).await;
        assert_eq!(encrypted > 0, *follows, "{what}");
        scene.agree(&format!("{what}, not sent"), &verifying(&alone, &root)).await;
        scene.agree(&format!("{what}, in the file"), &verifying(&alone, &all)).await;
        let middle = middle.certificate();
        scene.agree(&format!("{what}, without the root"), &verifying(&sent, &middle)).await;
    }
}

#[tokio::test]
async fn a_revocation_list_at_home_is_refused_and_not_ignored() {
    let scene = Scene::new();
    let cluster = start(server(&scene.issue(&Leaf::default())));
    let folder = scene.home.join(".postgresql");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("root.crl"), "").unwrap();
    let root = scene.authority.certificate();
    for url in verifying(&cluster, &root) {
        let error = connect(&url, &scene.home).await.unwrap_err();
        assert_eq!(error.reason, Reason::Tls);
        assert!(error.to_string().contains("root.crl"), "{error}");
    }
    let unverified = url(&cluster, "localhost", &[("sslmode", "require")]);
    connect(&unverified, &scene.home).await.unwrap();
}

/// URLs that verify the server's certificate with this root.
fn verifying(cluster: &Cluster, root: &Path) -> Vec<String> {
    let modes = ["require", "verify-ca", "verify-full"];
    let of = |mode| url(cluster, "localhost", &[("sslmode", mode), ("sslrootcert", text(root))]);
    modes.map(of).into()
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

/// A certificate below a limited authority, and what it must come to with verify-ca and verify-full.
struct Limited {
    what: &'static str,
    constraints: &'static str,
    below: Below,
    common_name: &'static str,
    alternative: &'static str,
    host: &'static str,
    verify_ca: bool,
    verify_full: Expected,
}

/// Where the limited authority is.
#[derive(Clone, Copy)]
enum Below {
    /// The root itself.
    Root,
    /// An authority that the server sends.
    Sent,
    /// An authority that is in the user's file of roots.
    InFile,
}

enum Expected {
    Accepted,
    Refused,
    /// Refused by us alone: psql accepts a name that its constraints do not reach.
    Stricter,
}

impl Limited {
    const DEFAULT: Limited = Limited {
        what: "",
        constraints: "permitted;DNS:example",
        below: Below::Root,
        common_name: "db.other",
        alternative: "",
        host: "db.other",
        verify_ca: false,
        verify_full: Expected::Refused,
    };

    fn table() -> Vec<Limited> {
        let default = || Limited::DEFAULT;
        let excluded = "excluded;DNS:other";
        vec![
            Limited { what: "root, permitted", ..default() },
            Limited { what: "root, excluded", constraints: excluded, ..default() },
            Limited { what: "sent, permitted", below: Below::Sent, ..default() },
            Limited {
                what: "sent, excluded",
                below: Below::Sent,
                constraints: excluded,
                ..default()
            },
            Limited { what: "in the file, permitted", below: Below::InFile, ..default() },
            Limited {
                what: "in the file, excluded",
                below: Below::InFile,
                constraints: excluded,
                ..default()
            },
            Limited { what: "an address beside it", alternative: "IP:127.0.0.1", ..default() },
            Limited {
                what: "a mail address beside it",
                alternative: "email:a@b.example",
                ..default()
            },
            Limited {
                what: "an address as common name",
                common_name: "127.0.0.1",
                host: "127.0.0.1",
                ..default()
            },
            Limited {
                what: "an address outside of permitted ones",
                constraints: "permitted;IP:10.0.0.0/255.0.0.0",
                common_name: "127.0.0.1",
                host: "127.0.0.1",
                verify_ca: true,
                verify_full: Expected::Stricter,
                ..default()
            },
            Limited {
                what: "a star",
                common_name: "*.other",
                verify_ca: true,
                verify_full: Expected::Stricter,
                ..default()
            },
            Limited {
                what: "one label",
                common_name: "localhost",
                host: "localhost",
                verify_ca: true,
                verify_full: Expected::Stricter,
                ..default()
            },
            Limited {
                what: "a permitted name",
                common_name: "db.example",
                host: "db.example",
                verify_ca: true,
                verify_full: Expected::Accepted,
                ..default()
            },
            Limited {
                what: "a permitted name, sent",
                below: Below::Sent,
                common_name: "db.example",
                host: "db.example",
                verify_ca: true,
                verify_full: Expected::Accepted,
                ..default()
            },
            Limited {
                what: "a permitted alternative name",
                alternative: "DNS:db.example",
                host: "db.example",
                verify_ca: true,
                verify_full: Expected::Accepted,
                ..default()
            },
        ]
    }
}

#[tokio::test]
async fn name_constraints_hold_for_common_names_too() {
    const CA: &str = "basicConstraints=critical,CA:TRUE";
    let scene = Scene::new();
    for row in Limited::table() {
        let what = row.what;
        let constraints = format!("nameConstraints=critical,{}", row.constraints);
        let limits = [CA, constraints.as_str()];
        let root = match row.below {
            Below::Root => Authority::with("root", &limits),
            Below::Sent | Below::InFile => Authority::with("root", &[CA]),
        };
        let middle = root.below("middle", &limits);
        let alternative = format!("subjectAltName={}", row.alternative);
        let extensions = ["keyUsage=digitalSignature", alternative.as_str()];
        let extensions = &extensions[..if row.alternative.is_empty() { 1 } else { 2 }];
        let leaf = Leaf { common_name: row.common_name, extensions, ..Leaf::default() };
        let signer = if matches!(row.below, Below::Root) { &root } else { &middle };
        let mut pair = signer.issue("server", &leaf);
        let alone = pair.certificate.clone();
        let mut roots = root.certificate();
        match row.below {
            Below::Root => {}
            Below::Sent => {
                pair.certificate = middle.bundle("chain", &[&alone, &middle.certificate()]);
            }
            Below::InFile => roots = middle.bundle("all", &[&roots, &middle.certificate()]),
        }
        let mut openssl = std::process::Command::new("openssl");
        openssl.args(["verify", "-CAfile"]).arg(&roots);
        if !matches!(row.below, Below::Root) {
            openssl.arg("-untrusted").arg(middle.certificate());
        }
        let openssl = openssl.arg(&alone).output().expect("openssl runs");
        assert_eq!(openssl.status.success(), row.verify_ca, "{what}: {openssl:?}");

        let cluster = start(server(&pair));
        for mode in ["verify-ca", "verify-full"] {
            let parameters =
                [("sslmode", mode), ("sslrootcert", text(&roots)), ("hostaddr", "127.0.0.1")];
            let url = url(&cluster, row.host, &parameters);
            let (ours, (theirs, message)) =
                tokio::join!(connect(&url, &scene.home), psql(&url, &scene.home));
            let (we, they) = match (mode, &row.verify_full) {
                ("verify-ca", _) => (row.verify_ca, row.verify_ca),
                (_, Expected::Accepted) => (true, true),
                (_, Expected::Refused) => (false, false),
                (_, Expected::Stricter) => (false, true),
            };
            let accepted = outcome(&ours) == Outcome::Encrypted;
            assert_eq!(accepted, we, "we, {what}, {mode}: {ours:?}");
            assert_eq!(theirs == Outcome::Encrypted, they, "psql, {what}, {mode}: {message}");
        }
    }
}

#[tokio::test]
async fn keys_that_are_not_supported_are_named() {
    let scene = Scene::new();
    let p521 = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp521r1", "-sha256"];
    let pss = ["-newkey", "rsa-pss", "-pkeyopt", "rsa_keygen_bits:2048", "-sha256"];
    let p384 = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp384r1", "-sha256"];
    for (kind, works) in [(&p521, false), (&pss, false), (&p384, true)] {
        let cluster = start(server(&scene.issue(&Leaf { kind, ..Leaf::default() })));
        for version in ["TLSv1.2", "TLSv1.3"] {
            let parameters = [("sslmode", "require"), ("ssl_max_protocol_version", version)];
            let result = connect(&url(&cluster, "localhost", &parameters), &scene.home).await;
            assert_eq!(result.is_ok(), works, "{kind:?} {version}: {result:?}");
            if let Err(error) = result {
                assert_eq!(error.reason, Reason::Tls, "{error}");
                assert!(error.to_string().contains("P-521 and RSA-PSS"), "{version}: {error}");
            }
        }
    }
}
