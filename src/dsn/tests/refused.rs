//! Texts that are refused, with every message.

use super::refusals;

fn check(text: &str, expected: &[&str]) {
    assert_eq!(refusals(text), expected, "{text}");
}

#[test]
fn a_scheme_must_be_postgresqls() {
    let expected = "scheme at byte 1: must begin with `postgresql://`, `postgres://` or `postgresql+DRIVER://`";
    for text in [
        "mysql://u:p@h/db",
        "POSTGRESQL://h",
        "jdbc:postgresql://h/db",
        "://h",
        "postgresql+://h",
        "postgresql+a+b://h",
    ] {
        check(text, &[expected]);
    }
}

#[test]
fn an_at_sign_or_slash_in_a_password_must_be_encoded() {
    let at = "an `@` in the password must be written `%40`";
    check("postgresql://u:p@ss@h/db", &[&format!("host at byte 20: {at}")]);
    check("postgresql+asyncpg://u:p@ss@h/db", &[&format!("host at byte 28: {at}")]);
    check("postgresql://u:p@@h/db", &[&format!("host at byte 18: {at}")]);
    check("postgresql://u:p@s:s@h/db", &[&format!("port at byte 21: {at}")]);
    check("postgresql:///?host=a@b", &[&format!("parameter `host` at byte 21: {at}")]);
    let slash = "an `@` must be written `%40`, and a `/` in the password `%2F`";
    check("postgresql://u:1/x@h/db", &[&format!("database at byte 19: {slash}")]);
    let port = "must be a number from 1 to 65535; a `/`, `?` or `:` in the password must be written `%2F`, `%3F` or `%3A`";
    check(
        "postgresql://u:p/x@h/db",
        &[&format!("port at byte 16: {port}"), &format!("database at byte 19: {slash}")],
    );
}

#[test]
fn parameters_must_not_pass_for_a_database() {
    check(
        "postgresql://h/db&password=x",
        &[
            "database at byte 18: parameters begin with `?`; an `&` in the name must be written `%26`",
        ],
    );
}

#[test]
fn nothing_may_surround_a_url() {
    let at = |byte: usize| {
        let rule = "white space or a line break before or after the URL must be removed";
        format!("database URL at byte {byte}: {rule}")
    };
    check("postgresql://u@h/d\n", &[&at(19)]);
    check("postgresql://u@h/d\r\n", &[&at(19)]);
    check("postgresql://u@h/d\t ", &[&at(19)]);
    check("postgresql+asyncpg://u@h/d ", &[&at(27)]);
    check("postgresql://u@h?application_name=x\u{a0}", &[&at(36)]);
    check(" postgresql://u@h/d", &[&at(1)]);
    check("\npostgres+psycopg://u@h/d", &[&at(1)]);
}

#[test]
fn sqlalchemy_decodes_no_host_and_splits_no_list() {
    check(
        "postgresql+asyncpg://u@%2Frun%2Fpostgresql/d",
        &[
            "host at byte 24: is not decoded by SQLAlchemy; give a socket's directory as `?host=/run/postgresql`",
        ],
    );
    check(
        "postgresql+asyncpg://u@a:1,b:2/d",
        &[
            "port at byte 27: SQLAlchemy takes several hosts with ports as `?host=a:5432&host=b:5432`",
        ],
    );
    check(
        "postgresql+asyncpg://u:a%00b@h",
        &["password at byte 25: a NUL byte (`%00`) is not allowed"],
    );
}

#[test]
fn percent_encoding_must_be_right() {
    let escape = "a `%` must be followed by two hexadecimal digits; write a literal `%` as `%25`";
    check("postgresql://h/d%zz", &[&format!("database at byte 17: {escape}")]);
    check("postgresql://u:10%@h", &[&format!("password at byte 18: {escape}")]);
    check("postgresql://[fe80::1%eth0]/", &[&format!("host at byte 22: {escape}")]);
    check("postgresql://h?user=%4", &[&format!("parameter `user` at byte 21: {escape}")]);
    check("postgresql://h?us%er=x", &[&format!("a parameter at byte 18: {escape}")]);
    check("postgresql://h/%00", &["database at byte 16: a NUL byte (`%00`) is not allowed"]);
    check("postgresql://h/\0", &["database URL at byte 16: a NUL byte (`%00`) is not allowed"]);
    check("postgresql://u:%ff@h", &["password at byte 16: the bytes are not UTF-8 after decoding"]);
    check("postgresql://a b/", &["host at byte 15: a space must be written `%20`"]);
}

#[test]
fn hosts_must_be_hosts() {
    let host = "must be a name of letters, digits, `-`, `_` and `.`, an IP address, or a path beginning with `/`";
    check("postgresql://a%20b/", &[&format!("host at byte 14: {host}")]);
    check("host= port=5", &[&format!("parameter `host` at byte 7: {host}")]);
    check("postgresql://[::1", &["host at byte 14: the closing `]` of an IPv6 address is missing"]);
    check("postgresql://[]/", &["host at byte 15: must be an IP address"]);
    check("postgresql://[200z:db8::1]/", &["host at byte 14: must be an IP address"]);
    check("postgresql://h?hostaddr=h", &["parameter `hostaddr` at byte 25: must be an IP address"]);
    check(
        "postgresql://[::1]x/",
        &["host at byte 19: after the `]` of an IPv6 address only `:`, `/`, `?` or `,` may follow"],
    );
}

#[test]
fn ports_must_be_ports_and_match_the_hosts() {
    for port in ["0", "65536", "-1", "x", "5x", "99999999999"] {
        check(
            &format!("postgresql://h:{port}/"),
            &["port at byte 16: must be a number from 1 to 65535"],
        );
    }
    check("host=a,b port=1,2,3", &["port: 3 given for 2 host(s)"]);
    check("host=a hostaddr=10.0.0.1,10.0.0.2", &["parameter `hostaddr`: 2 given for 1 host(s)"]);
    check("postgresql://a:1,b:2/?host=c", &["port: 2 given for 1 host(s)"]);
    check(
        "postgresql:///?host=a:1&port=2",
        &["port: is given twice, after the host and on its own"],
    );
}

#[test]
fn parameters_must_be_known() {
    let unknown = "is not a parameter of libpq, asyncpg, psycopg or SQLAlchemy";
    check("postgresql://h?sslmod=require", &[&format!("parameter `sslmod` at byte 23: {unknown}")]);
    check("postgresql://h?p%40ss=x", &[&format!("a parameter at byte 23: {unknown}")]);
    let long = "x".repeat(41);
    check(&format!("{long}=x"), &[&format!("a parameter at byte 43: {unknown}")]);
    let separator = "the name must be followed by `=` and a value";
    check("postgresql://h?user", &[&format!("a parameter at byte 16: {separator}")]);
    check("postgresql://h?user=a&&user=b", &[&format!("a parameter at byte 23: {separator}")]);
    check("user=a hunter2", &[&format!("a parameter at byte 8: {separator}")]);
    let form = "must be a URL such as `postgresql://user:password@host:5432/database`, or words such as `host=db user=app`, without quotes around it";
    for text in [
        "hunter2",
        " db:5432/orders",
        "app hunter2=x",
        "db:5432/x?sslmode=require",
        "'postgresql://h?ssl=true'",
    ] {
        check(text, &[&format!("database URL: {form}")]);
    }
    check(
        "postgresql://h?user=a=b",
        &["parameter `user` at byte 22: a second `=` must be written `%3D`"],
    );
    check("user='a", &["parameter `user` at byte 6: the closing `'` is missing"]);
}

#[test]
fn what_may_be_half_a_password_is_not_named() {
    for text in [
        "postgresql://u:a/b?hunter2=c@h/db",
        "postgresql://u:a/b?x&hunter2=c=d@h/db",
        "postgresql+psycopg://u:p@h/db?x=y@z&hunter2=a@b",
        "postgresql://u:a?hunter2=b",
        "password=correct hunter2=horse",
        "password=correct hunter2='horse",
    ] {
        let found = refusals(text);
        assert!(found.iter().any(|text| text.starts_with("a parameter at byte ")), "{found:?}");
        assert!(!found.iter().any(|text| text.contains("hunter2")), "{found:?}");
    }
}

#[test]
fn all_problems_come_at_once() {
    let found =
        refusals("postgresql://u:%zz@h:x/d%00?sslmode=maybe&nonsense=1&connect_timeout=soon");
    let parts: Vec<_> = found.iter().filter_map(|text| text.split(" at byte ").next()).collect();
    let expected = [
        "password",
        "port",
        "database",
        "parameter `sslmode`",
        "parameter `nonsense`",
        "parameter `connect_timeout`",
    ];
    assert_eq!(parts, expected);
}
