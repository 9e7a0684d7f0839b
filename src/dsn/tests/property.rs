//! Properties of generated URLs: the round trip, and that no password is seen.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::super::percent::encode;
use super::parsed;
use crate::dsn::{Dsn, parse};
use crate::secret::Secret;

/// A password with a bit of everything that is not a plain word, so that nothing else can contain it.
fn password() -> impl Strategy<Value = String> {
    "[ -~äß€\u{1F511}]{0,12}".prop_map(|odd| format!("Z\"{odd}\\#Z"))
}

fn host() -> impl Strategy<Value = String> {
    let name = "[a-z][a-z0-9_.-]{0,8}";
    let fixed =
        vec!["10.0.0.1", "[::1]", "[fe80::1%25eth0]", "%2Frun%2Fpostgresql", "%40abstract", ""];
    let port = option::of(1..=65535u16);
    (prop_oneof![3 => name.boxed(), 1 => select(fixed).prop_map(str::to_owned).boxed()], port)
        .prop_map(|(host, port)| port.map_or(host.clone(), |port| format!("{host}:{port}")))
}

fn parameter() -> impl Strategy<Value = String> {
    let free = (
        select(vec!["application_name", "options", "user", "dbname", "passfile", "sslcert"]),
        "[ -~]{0,9}",
    );
    let fixed = vec![
        "sslmode=verify-full",
        "sslnegotiation=postgres",
        "sslrootcert=system",
        "sslpassword=x",
        "sslsni=0",
        "connect_timeout=0",
        "connect_timeout=7",
        "keepalives=0",
        "keepalives_idle=0",
        "tcp_user_timeout=9",
        "target_session_attrs=standby",
        "load_balance_hosts=disable",
        "require_auth=!password",
        "channel_binding=prefer",
        "ssl_min_protocol_version=",
        "command_timeout=0.1",
        "host=a,b",
        "host=",
    ];
    prop_oneof![
        free.prop_map(|(name, value)| format!("{name}={}", encode(&value, ""))),
        select(fixed).prop_map(str::to_owned),
    ]
}

/// A URL and its password.
fn url() -> impl Strategy<Value = (String, String)> {
    let scheme = select(vec!["postgresql", "postgres", "postgresql+asyncpg"]);
    let user = "[ -~]{0,8}";
    let parts = (
        scheme,
        user,
        password(),
        vec(host(), 0..4),
        option::of("[ -~]{0,8}"),
        vec(parameter(), 0..5),
    );
    parts.prop_map(|(scheme, user, password, hosts, database, parameters)| {
        let login = format!("{}:{}", encode(&user, ""), encode(&password, ""));
        let path = database.map_or(String::new(), |database| format!("/{}", encode(&database, "")));
        let query = if parameters.is_empty() {
            String::new()
        } else {
            format!("?{}", parameters.join("&"))
        };
        // SQLAlchemy decodes no host, and takes several of them as parameters.
        let is_plain = |host: &&String| !scheme.contains('+') || !host.contains('%');
        let most = if scheme.contains('+') { 1 } else { usize::MAX };
        let hosts: Vec<&str> =
            hosts.iter().filter(is_plain).take(most).map(String::as_str).collect();
        (format!("{scheme}://{login}@{}{path}{query}", hosts.join(",")), password)
    })
}

/// The same but for what `Display` does not keep.
fn kept(mut dsn: Dsn) -> Dsn {
    let stars = || Secret::new("***");
    dsn.password = dsn.password.map(|_| stars());
    dsn.tls.key_password = dsn.tls.key_password.map(|_| stars());
    dsn
}

proptest! {
    #[test]
    fn a_redacted_url_parses_back_to_the_same((url, password) in url()) {
        match parse(&url) {
            Ok(dsn) => {
                prop_assert!(dsn.password.as_ref().is_some_and(|found| found.reveal() == password), "{url}");
                let shown = dsn.to_string();
                prop_assert!(!shown.contains(&password) && !shown.contains(&encode(&password, "")), "{shown}");
                prop_assert!(kept(parsed(&shown)) == kept(dsn), "{url} is shown as {shown}");
            }
            // Only lists that do not match are refused.
            Err(errors) => prop_assert!(errors.iter().all(|error| error.to_string().contains("host")), "{errors:?}"),
        }
    }

    #[test]
    fn a_quoted_password_is_read_as_it_is(password in password()) {
        let quoted = password.replace('\\', "\\\\").replace('\'', "\\'");
        let dsn = parsed(&format!("host=h password = '{quoted}' user=u"));
        prop_assert!(dsn.password.is_some_and(|found| found.reveal() == password));
    }

    #[test]
    fn a_broken_url_never_shows_its_password((url, password) in url(), cut in 0..200usize, junk in "[ -~]{0,2}") {
        let cut = url.char_indices().map(|(i, _)| i).nth(cut).unwrap_or(0);
        let broken = format!("{}{junk}{}", &url[..cut], &url[cut..]);
        let encoded = encode(&password, "");
        let texts = match parse(&broken) {
            Ok(dsn) if dsn.password.as_ref().is_none_or(|found| !found.reveal().contains(&password)) => vec![],
            Ok(dsn) => vec![dsn.to_string()],
            Err(errors) => errors.iter().map(|error| format!("{error} {error:?}")).collect(),
        };
        for text in texts {
            prop_assert!(!text.contains(&password) && !text.contains(&encoded), "{broken}: {text}");
        }
    }

    #[test]
    fn nothing_panics(text in "\\PC{0,60}") {
        let _ = parse(&text);
        let _ = parse(&format!("postgresql://{text}"));
        let _ = parse(&format!("postgresql+asyncpg://{text}"));
    }

    #[test]
    fn resolving_leaves_no_host_open((url, _) in url()) {
        if let Ok(mut dsn) = parse(&url) {
            let _ = dsn.resolve(Some("me"));
            prop_assert!(!dsn.hosts.is_empty() && dsn.hosts.iter().all(|host| host.port.is_some()));
        }
    }
}
