//! What is printed of a configuration: no value in an error, no secret in the listing.

use super::*;

#[test]
fn no_value_is_printed_for_any_variable() {
    for name in environment::names() {
        let Err(problems) = load_yaml(&[(name, MARKER)], "") else { continue };
        let text = problems.to_string();
        assert!(text.contains(name), "{name}: {text}");
        assert!(!text.contains("s3cr3t"), "{text}");
    }
    for name in ["DB_POOL_SIZE", "DB_MONITOR_APPLICATION", "DB_MONITOR_QUERY", "APP_ENV"] {
        assert_eq!(bad(&[(name, MARKER)], "").len(), 1, "{name}");
    }
}

#[test]
fn no_value_is_printed_for_any_key() {
    let example = good(&[], EXAMPLE);
    let paths = example.entries.iter().filter_map(|entry| match &entry.origin {
        Origin::File(path) => Some(path.split('.').map(str::to_owned).collect::<Vec<_>>()),
        Origin::Default | Origin::Variable(_) | Origin::Url | Origin::Flag(_) => None,
    });
    let mut refused = 0;
    for path in paths.chain([vec!["targets".into(), "orders".into(), "password_file".into()]]) {
        for marker in [MARKER.into(), vec![MARKER].into(), ValueKind::I64(-47_114_711)] {
            let mut file = Document::parse(EXAMPLE, FileFormat::Yaml).unwrap();
            put(&mut file.values, &path, Value::new(None, marker));
            let Err(problems) = load_file(&[], &file) else { continue };
            let text = problems.to_string();
            assert!(text.contains(&path.join(".")), "{path:?}: {text}");
            assert!(!text.contains("s3cr3t") && !text.contains("47114711"), "{text}");
            refused += 1;
        }
    }
    assert!(refused > 150, "{refused}");
}

fn put(table: &mut Map<String, Value>, path: &[String], value: Value) {
    let (key, rest) = path.split_first().unwrap();
    if rest.is_empty() {
        table.insert(key.clone(), value);
        return;
    }
    let below =
        table.entry(key.clone()).or_insert_with(|| Value::new(None, Map::<String, Value>::new()));
    let ValueKind::Table(table) = &mut below.kind else { panic!("no table at {key}") };
    put(table, rest, value);
}

#[test]
fn the_listing_hides_secrets_and_says_where_from() {
    let variables = [
        ("DATABASE_URL", "postgresql://u:s3cr3t@h/x?sslpassword=s3cr3t"),
        ("DB_POOL_SIZE", "5"),
        ("DB_MONITOR_INTERVAL", "5"),
    ];
    let text = "
targets:
  default: { pool: { echo: true } }
  x:
    url: postgresql://u@h/x?connect_timeout=7
    password_command: { command: [s3cr3t] }
    applications: { a: { status_urls: ['http://s3cr3t:x@h/y'] } }
  y: { url: 'postgresql://u@h/x', password: s3cr3t }
auth_modules:
  app: { type: userpass, userpass: { username: m, password: s3cr3t }, options: { options: s3cr3t }, allowed_targets: [a] }
";
    let listing = render(&good(&variables, text).entries);
    assert!(!listing.contains("s3cr3t"), "{listing}");
    for line in [
        "app_env: development  # default\n",
        "targets:\n  default:\n",
        "    pool:\n      size: 5  # environment: DB_POOL_SIZE\n",
        "      echo: true  # file: targets.default.pool.echo\n",
        "    interval: 5s  # environment: DB_MONITOR_INTERVAL\n",
        "    connect_timeout: 7s  # url\n",
        "    password: <secret>  # file: targets.y.password\n",
        "postgresql://u:***@h:5432/x",
    ] {
        assert!(listing.contains(line), "{line}\n{listing}");
    }
    assert_eq!(listing.matches("\ntargets:").count(), 1);
    let again = good(&variables, text);
    assert_eq!(listing, render(&again.entries), "the order is stable");
}
