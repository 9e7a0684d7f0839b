//! Parameters and their effect.

use super::{meaning, parsed};

fn check(text: &str, expected: &str) {
    assert_eq!(meaning(&parsed(text)), expected, "{text}");
}

#[test]
fn tls_parameters_are_read() {
    for mode in ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] {
        check(&format!("postgresql://h?sslmode={mode}"), &format!("||h||sslmode={mode}"));
        check(&format!("postgresql://h?ssl={mode}"), &format!("||h||sslmode={mode}"));
        check(
            &format!("postgresql://h?ssl={mode}&sslmode={mode}"),
            &format!("||h||sslmode={mode}"),
        );
    }
    check("postgresql://h?ssl=verify_full", "||h||sslmode=verify-full");
    check("postgresql://h?requiressl=1", "||h||sslmode=require");
    check("postgresql://h?sslrootcert=system", "||h||sslrootcert=system");
    check("postgresql://h?sslrootcert=/ca.pem", "||h||sslrootcert=/ca.pem");
    check(
        "postgresql://h?sslcert=/c&sslkey=/k&sslpassword=x",
        "||h||sslcert=/c&sslkey=/k&sslpassword=***",
    );
    check(
        "postgresql://h?sslmode=require&sslnegotiation=direct",
        "||h||sslmode=require&sslnegotiation=direct",
    );
    check(
        "postgresql://h?sslsni=0&channel_binding=require",
        "||h||sslsni=0&channel_binding=require",
    );
    check("postgresql://h?ssl_min_protocol_version=TLSv1", "||h||ssl_min_protocol_version=TLSv1.2");
    check(
        "postgresql://h?ssl_max_protocol_version=tlsv1.3",
        "||h||ssl_max_protocol_version=TLSv1.3",
    );
    check("postgresql://h?sslcompression=0&gssencmode=prefer&requirepeer=", "||h||");
}

#[test]
fn session_parameters_are_read() {
    for kind in ["any", "read-write", "read-only", "primary", "standby", "prefer-standby"] {
        check(
            &format!("postgresql://h?target_session_attrs={kind}"),
            &format!("||h||target_session_attrs={kind}"),
        );
    }
    check("postgresql://h?connect_timeout=%203%20", "||h||connect_timeout=3");
    check("postgresql://h?connect_timeout=-1", "||h||connect_timeout=0");
    check("postgresql://h?timeout=2.5", "||h||connect_timeout=3");
    check("postgresql://h?command_timeout=2.5", "||h||command_timeout=2.5");
    check("postgresql://h?keepalives=0&keepalives_idle=9", "||h||keepalives=0&keepalives_idle=9");
    check(
        "postgresql://h?keepalives_interval=1&keepalives_count=2",
        "||h||keepalives_interval=1&keepalives_count=2",
    );
    check("postgresql://h?tcp_user_timeout=1500", "||h||tcp_user_timeout=1500");
    check("postgresql://h?require_auth=!password,!md5", "||h||require_auth=!password,!md5");
    check("postgresql://h?require_auth=scram-sha-256,none", "||h||require_auth=scram-sha-256,none");
}

#[test]
fn what_means_nothing_here_is_told_by_name() {
    let url = "postgresql+asyncpg://h/?prepared_statement_cache_size=0&statement_cache_size=0&server_settings=x\
               &krbsrvname=k&gsslib=g&gssencmode=disable&client_encoding=utf8&statement_cache_size=1";
    let expected = [
        "prepared_statement_cache_size",
        "statement_cache_size",
        "server_settings",
        "krbsrvname",
        "gsslib",
        "gssencmode",
        "client_encoding",
    ];
    assert_eq!(parsed(url).ignored, expected);
}
