//! Values filled from libpq's variables and defaults.

use super::{meaning, parsed};
use crate::dsn::{AuthMethod, Dsn};

fn fill(dsn: &mut Dsn, environment: &[(&str, &str)]) -> Vec<String> {
    dsn.fill(environment.iter().copied()).iter().map(ToString::to_string).collect()
}

fn check(text: &str, environment: &[(&str, &str)], expected: &str) {
    let mut dsn = parsed(text);
    assert_eq!(fill(&mut dsn, environment), Vec::<String>::new(), "{text}");
    assert_eq!(meaning(&dsn), expected, "{text} with {environment:?}");
}

fn refused(text: &str, environment: &[(&str, &str)], expected: &str) {
    assert_eq!(fill(&mut parsed(text), environment), [expected], "{text} with {environment:?}");
}

fn resolved(text: &str, login: Option<&str>) -> Result<String, Vec<String>> {
    let mut dsn = parsed(text);
    let errors = dsn.resolve(login);
    if errors.is_empty() {
        Ok(meaning(&dsn))
    } else {
        Err(errors.iter().map(ToString::to_string).collect())
    }
}

#[test]
fn variables_fill_what_is_open() {
    let all = [
        ("PGHOST", "h"),
        ("PGPORT", "5433"),
        ("PGUSER", "u"),
        ("PGPASSWORD", "p"),
        ("PGDATABASE", "db"),
        ("PGSSLMODE", "verify-ca"),
        ("PGSSLROOTCERT", "/ca"),
        ("PGAPPNAME", "app"),
        ("PGCONNECT_TIMEOUT", "3"),
        ("HOME", "/root"),
    ];
    let filled = "connect_timeout=3&sslmode=verify-ca&sslrootcert=/ca";
    check("", &all, &format!("u|p|h:5433|db|application_name=app&{filled}"));
    check(
        "postgresql://v:q@i:1/e?application_name=x",
        &all,
        &format!("v|q|i:1|e|application_name=x&{filled}"),
    );
}

#[test]
fn what_was_given_is_not_filled() {
    check("user='' password=''", &[("PGUSER", "u"), ("PGPASSWORD", "p")], "||||user=&password=");
    check("connect_timeout=0", &[("PGCONNECT_TIMEOUT", "3")], "||||connect_timeout=0");
    check("ssl=require", &[("PGSSLMODE", "disable")], "||||sslmode=require");
    check("", &[("PGSSLMODE", "disable"), ("PGREQUIRESSL", "1")], "||||sslmode=disable");
    check("", &[("PGREQUIRESSL", "1")], "||||sslmode=require");
    check("", &[("PGUSER", "")], "||||");
}

#[test]
fn hosts_and_ports_may_come_from_either() {
    check("postgresql:///?host=a,b", &[("PGPORT", "7")], "||a:7,b:7||");
    check("postgresql:///?host=a,b", &[("PGPORT", "7,8")], "||a:7,b:8||");
    check("postgresql://a,b/", &[("PGPORT", "7")], "||a,b||");
    check("postgresql://:7/", &[("PGHOST", "a,b")], "||a:7,b:7||");
    check("port=7,8", &[("PGHOST", "a,b")], "||a:7,b:8||");
    check("host=a", &[("PGHOSTADDR", "10.0.0.1")], "||a||hostaddr=10.0.0.1");
    check("postgresql://a:1", &[("PGHOST", "b"), ("PGPORT", "2")], "||a:1||");
}

#[test]
fn bad_variables_are_named() {
    refused("host=a", &[("PGPORT", "x")], "variable PGPORT: must be a number from 1 to 65535");
    refused("host=a", &[("PGPORT", "1,2")], "variable PGPORT: 2 given for 1 host(s)");
    refused("port=1,2", &[("PGHOST", "a,b,c")], "port: 2 given for 3 host(s)");
    refused(
        "",
        &[("PGSERVICE", "x")],
        "variable PGSERVICE: cannot be honoured: service files are not read; write their settings into the URL",
    );
    refused(
        "sslrootcert=system",
        &[("PGSSLMODE", "require")],
        "variable PGSSLMODE: must be one of: verify-full, with `sslrootcert=system`",
    );
}

#[test]
fn defaults_are_libpqs() {
    assert_eq!(
        resolved("postgresql://", Some("me")),
        Ok("me||%2Frun%2Fpostgresql:5432,localhost:5432|me|sslmode=prefer".into())
    );
    assert_eq!(resolved("postgresql://u@h", None), Ok("u||h:5432|u|sslmode=prefer".into()));
    assert_eq!(
        resolved("postgresql://u@h/db?ssl=allow", Some("me")),
        Ok("u||h:5432|db|sslmode=allow".into())
    );
    assert_eq!(
        resolved("user=u sslrootcert=system", None),
        Ok("u||%2Frun%2Fpostgresql:5432,localhost:5432|u|sslmode=verify-full&sslrootcert=system"
            .into())
    );
    assert_eq!(
        resolved("user=u hostaddr=10.0.0.1", None),
        Ok("u||:5432|u|hostaddr=10.0.0.1&sslmode=prefer".into())
    );
}

#[test]
fn what_is_still_missing_is_named() {
    let message = "user: is missing, and the operating system has no name for the user that runs the exporter";
    assert_eq!(resolved("host=h", None), Err(vec![message.into()]));
    assert_eq!(resolved("user=u port=1,2", None), Err(vec!["port: 2 given for 1 host(s)".into()]));
    assert_eq!(
        resolved("user=u sslcertmode=require", None),
        Err(vec!["parameter `sslcertmode`: needs `sslcert`".into()])
    );
    assert!(resolved("user=u sslnegotiation=direct", None).is_err());
}

#[test]
fn require_auth_allows_what_it_names() {
    let list = |text: &str| parsed(text).require_auth.expect("the text has it");
    let only = list("require_auth=scram-sha-256");
    assert!(
        only.allows(AuthMethod::ScramSha256)
            && !only.allows(AuthMethod::Password)
            && !only.allows(AuthMethod::None)
    );
    let but = list("require_auth=!password");
    assert!(
        but.allows(AuthMethod::ScramSha256)
            && !but.allows(AuthMethod::Password)
            && but.allows(AuthMethod::None)
    );
}
