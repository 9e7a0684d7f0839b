//! Values that are refused, with every message.

use super::refusals;

fn check(text: &str, expected: &[&str]) {
    assert_eq!(refusals(text), expected, "{text}");
}

#[test]
fn values_must_be_allowed() {
    let modes = "must be one of: disable, allow, prefer, require, verify-ca, verify-full";
    for value in ["1", "false", "REQUIRE", "yes", "True"] {
        check(
            &format!("postgresql://h?ssl={value}"),
            &[&format!("parameter `ssl` at byte 20: {modes}")],
        );
    }
    check("postgresql+asyncpg://h?ssl=true", &[&format!("parameter `ssl` at byte 28: {modes}")]);
    check("ssl=true", &[&format!("parameter `ssl` at byte 5: {modes}")]);
    check("postgresql://h?sslmode=", &[&format!("parameter `sslmode` at byte 24: {modes}")]);
    check(
        "postgresql://h?connect_timeout=",
        &["parameter `connect_timeout` at byte 32: must be a whole number"],
    );
    check(
        "command_timeout=0",
        &["parameter `command_timeout` at byte 17: must be a number of seconds"],
    );
    check(
        "command_timeout=1e300",
        &["parameter `command_timeout` at byte 17: must be a number of seconds"],
    );
    check("require_auth=md5,md5", &["parameter `require_auth` at byte 14: names a method twice"]);
    check(
        "require_auth=md5,!gss",
        &["parameter `require_auth` at byte 14: either every method or no method has a `!`"],
    );
    check(
        "require_auth=gss",
        &[
            "parameter `require_auth` at byte 14: allows none of the supported methods: none, password, md5, scram-sha-256",
        ],
    );
}

#[test]
fn contradictions_are_refused() {
    check(
        "postgresql://h?sslmode=prefer&ssl=true",
        &["parameter `ssl` at byte 35: contradicts `sslmode`"],
    );
    check("sslmode=prefer ssl=require", &["parameter `ssl` at byte 20: contradicts `sslmode`"]);
    check("ssl=require sslmode=prefer", &["parameter `sslmode` at byte 21: contradicts `ssl`"]);
    check(
        "sslmode=prefer sslnegotiation=direct",
        &[
            "parameter `sslmode`: must be one of: require, verify-ca, verify-full, with `sslnegotiation=direct`",
        ],
    );
    check(
        "sslmode=require sslrootcert=system",
        &["parameter `sslmode`: must be one of: verify-full, with `sslrootcert=system`"],
    );
    check(
        "ssl_min_protocol_version=TLSv1.3 ssl_max_protocol_version=TLSv1.2",
        &["parameter `ssl_min_protocol_version`: must not be above `ssl_max_protocol_version`"],
    );
}

#[test]
fn what_cannot_be_honoured_is_refused() {
    for pair in [
        "sslcrl=x",
        "sslcrldir=x",
        "requirepeer=x",
        "gssencmode=require",
        "gssdelegation=1",
        "service=x",
        "sslcompression=1",
        "sslkeylogfile=x",
        "replication=database",
        "oauth_issuer=x",
        "scram_client_key=x",
        "min_protocol_version=3.2",
        "ssl_context=x",
    ] {
        let refusals = refusals(pair);
        let (name, _) = pair.split_once('=').expect("pairs have it");
        assert!(refusals[0].starts_with(&format!("parameter `{name}` at byte ")), "{refusals:?}");
        assert!(refusals[0].contains("cannot be honoured: "), "{refusals:?}");
    }
    let range = "parameter `ssl_max_protocol_version` at byte 26: must be one of: TLSv1.2, TLSv1.3 \
                 (older versions are not supported)";
    check("ssl_max_protocol_version=TLSv1.1", &[range]);
}
