//! libpq's and SQLAlchemy's grammars: texts and their meaning, checked against libpq 18.

use super::{meaning, parsed};

fn check(text: &str, expected: &str) {
    assert_eq!(meaning(&parsed(text)), expected, "{text}");
}

#[test]
fn every_part_of_a_uri_may_be_empty() {
    check("postgresql://", "||||");
    check("postgres://", "||||");
    check("postgresql:///", "||||");
    check("postgresql:///db", "|||db|");
    check("postgresql://h", "||h||");
    check("postgresql://h?", "||h||");
    check("postgresql://h/?", "||h||");
    check("postgresql://u@/db", "u|||db|");
    check("postgresql://u:@h", "u||h||");
    check("postgresql://:p@h", "|p|h||");
    check("postgresql://:@h", "||h||");
    check("postgresql://@h", "||h||");
    check("postgresql://:5433/db", "||:5433|db|");
    check("postgresql://h:/db", "||h|db|");
    check("postgresql://?user=u", "u||||");
    check("postgresql:///?user=u&", "u||||");
    check("postgresql:///?user=&dbname=&password=", "||||user=&password=&dbname=");
}

#[test]
fn a_uri_has_its_parts() {
    check("postgresql://app:secret@db:5432/orders", "app|secret|db:5432|orders|");
    check(
        "postgresql://app:secret@db:5432/orders?sslmode=require",
        "app|secret|db:5432|orders|sslmode=require",
    );
    check("postgresql://u:p:q@h", "u|p:q|h||");
    check("postgresql://u:p?q@h/db", "u|p?q|h|db|");
    check("postgresql://h/a/b", "||h|a/b|");
    check("postgresql://h:%35432/db", "||h:5432|db|");
}

#[test]
fn percent_encoding_works_in_every_part() {
    check("postgresql://%75:%70%40%2f%3A@%68:%35/%64", "u|p@/:|h:5|d|");
    check("postgresql://h/%C3%A4%20?%75ser=%e2%82%ac", "€||h|ä |");
    check(
        "postgresql://h/db?application_name=a%26b%3Dc%25",
        "||h|db|application_name=a%26b%3Dc%25",
    );
    check("postgresql://h/d+b?user=a+b", "a+b||h|d+b|");
}

#[test]
fn spaces_around_the_parts_of_a_uri_are_dropped() {
    check("postgresql://u :p@ h :5 / db ?sslmode = require ", "u|p|h:5|db|sslmode=require");
    check("postgresql://u:%20p%20@h", "u| p |h||");
}

#[test]
fn hosts_may_be_many() {
    check("postgresql://a,b/", "||a,b||");
    check("postgresql://a:1,b:2/db", "||a:1,b:2|db|");
    check("postgresql://a:1,b/db", "||a:1,b|db|");
    check("postgresql://a%2Cb:7/db", "||a:7,b:7|db|");
    check("postgresql:///db?host=a,b&port=7", "||a:7,b:7|db|");
    check("postgresql:///db?host=a,b&port=7,8", "||a:7,b:8|db|");
    check("postgresql:///db?host=a,b", "|||db|host=a,b");
    check("postgresql:///db?host=a,,b", "|||db|host=a,,b");
    check("postgresql://,/", "||,||");
    check("postgresql://a,b/?hostaddr=10.0.0.1,", "||a,b||hostaddr=10.0.0.1,");
    check("postgresql:///?hostaddr=10.0.0.1,::1", "||||hostaddr=10.0.0.1,::1");
    check("postgresql://a,b/?load_balance_hosts=random", "||a,b||load_balance_hosts=random");
}

#[test]
fn ip_addresses_are_hosts() {
    check("postgresql://10.0.0.1:5/", "||10.0.0.1:5||");
    check("postgresql://[::1]:5/db", "||[::1]:5|db|");
    check("postgresql://u:p@[2001:db8::1]", "u|p|[2001:db8::1]||");
    check("postgresql://[::1]?user=u", "u||[::1]||");
    check("postgresql://[::1],[::2]:6/", "||[::1],[::2]:6||");
    check("postgresql://[fe80::1%25eth0]/", "||[fe80::1%25eth0]||");
    check("postgresql:///?host=fe80::1%25eth0", "||[fe80::1%25eth0]||");
    check("postgresql://[h]/", "||h||");
    check("host=::1,::2 port=5", "||[::1]:5,[::2]:5||");
}

#[test]
fn a_path_is_the_directory_of_a_socket() {
    check("postgresql://%2Frun%2Fpostgresql/db", "||%2Frun%2Fpostgresql|db|");
    check("postgresql://u:p@%2Frun:5433/db", "u|p|%2Frun:5433|db|");
    check("postgresql:///db?host=/run/postgresql", "||%2Frun%2Fpostgresql|db|");
    check("postgresql://h/db?host=/run/a:b", "||%2Frun%2Fa%3Ab|db|");
    check("postgresql:///db?host=@abstract", "||%40abstract|db|");
    check("postgresql://%40abstract/db", "||%40abstract|db|");
    check("host=/run/postgresql user=u", "u||%2Frun%2Fpostgresql||");
}

#[test]
fn parameters_override_the_authority() {
    check("postgresql://u:p@h:1/db?user=v&password=q&host=i&port=2&dbname=e", "v|q|i:2|e|");
    check("postgresql://h:1/db?host=i", "||i:1|db|");
    check("postgresql://h/db?database=e", "||h|e|");
    check("postgresql://h/?user=a&user=b", "b||h||");
    check("postgresql:///?port=&port=7", "||:7||");
}

#[test]
fn pairs_may_be_quoted_and_spaced() {
    check("", "||||");
    check("  \t\n", "||||");
    check("host=a port=5 user=u password=p dbname=d", "u|p|a:5|d|");
    check(" host = a  port\t=\n5 ", "||a:5||");
    check("user='a b' password='x\\'y\\\\z'", "a b|x'y\\z|||");
    check("user=a\\ b password=\\'", "a b|'|||");
    check("user='a'host=b", "a||b||");
    check("user='' password='' dbname=''", "||||user=&password=&dbname=");
    check("host=", "||||host=");
    check("user=a\\", "a||||");
    check("user=a=b", "a=b||||");
    check("host=a host=b", "||b||");
    check("host=a,b port=1,", "||a:1,b||");
    check("password=postgres://x user=u", "u|postgres://x|||");
    check("options='-c geqo=off' host=h", "||h||options=-c%20geqo%3Doff");
}

#[test]
fn sqlalchemy_names_a_driver() {
    check("postgresql+asyncpg://u:p@h:5/db?ssl=require", "u|p|h:5|db|sslmode=require");
    check("postgresql://u:p@h:5/db?ssl=true", "u|p|h:5|db|sslmode=require");
    check("postgresql://h?ssl=true&sslmode=verify-full", "||h||sslmode=verify-full");
    check("postgresql://h?sslmode=verify-ca&ssl=true", "||h||sslmode=verify-ca");
    check("postgresql+psycopg://u:p@h/db?sslmode=verify-full", "u|p|h|db|sslmode=verify-full");
    check("postgres+psycopg2://h", "||h||");
    check("postgresql+asyncpg://u:p/q?r@h/db", "u|p/q?r|h|db|");
    check("postgresql+asyncpg://u@server:p@h/db", "u@server|p|h|db|");
    check("postgresql+asyncpg://u@h:5/db", "u||h:5|db|");
    check("postgresql+asyncpg://u: p @h/db", "u| p |h|db|");
    check(
        "postgresql+psycopg://h/db?application_name=a+b&options=-c x=y",
        "||h|db|application_name=a%20b&options=-c%20x%3Dy",
    );
    check("postgresql+asyncpg://h/db?user=&&passfile=/p", "||h|db|passfile=/p");
}

#[test]
fn libpq_18_drops_spaces_at_the_end_and_blanks_around_words() {
    check("postgresql://u@h/d  ", "u||h|d|");
    check(" \n host=h user=u \n", "u||h||");
}

#[test]
fn sqlalchemy_leaves_a_percent_sign_that_encodes_nothing() {
    check("postgresql+asyncpg://u:100%@h", "u|100%|h||");
    check("postgresql+asyncpg://50%off:a%zz%2@h/d%", "50%off|a%zz%2|h|d%|");
    check("postgresql+psycopg://h?application_name=10%+%41", "||h||application_name=10%25%20A");
    check("postgresql+asyncpg://u:%ff@h", "u|\u{fffd}|h||");
}

#[test]
fn sqlalchemy_writes_several_hosts_as_parameters() {
    check("postgresql+asyncpg://u:p@/db?host=a:1&host=b:2", "u|p|a:1,b:2|db|");
    check("postgresql+psycopg2://u:p@/db?host=a,b&port=1,2", "u|p|a:1,b:2|db|");
    check("postgresql+psycopg2://u:p@/db?host=a,b&port=1", "u|p|a:1,b:1|db|");
    check("postgresql+psycopg2://u:p@/db?host=a&host=b:2", "u|p|a,b:2|db|");
    check("postgresql+asyncpg:///db?host=a:1,b:2", "||a:1,b:2|db|");
    check("postgresql+asyncpg:///db?host=[::1]:5", "||[::1]:5|db|");
    check("postgresql+asyncpg:///db?host=/run/postgresql", "||%2Frun%2Fpostgresql|db|");
}
