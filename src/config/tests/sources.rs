//! The options of the endpoints at which applications serve the status of their pools.

use super::*;

#[test]
fn sources_are_read_from_variables_and_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "s3cr3t").unwrap();
    let url = ("DATABASE_URL", "postgresql://app@h/orders");
    let urls = ("DB_MONITOR_STATUS_URLS", "http://a:1/x, unix:///run/a.sock");
    let config = good(&[url, urls, ("DB_MONITOR_STATUS_DIR", "/run/pools")], "");
    let [source] = config.targets[0].sources.as_slice() else { panic!() };
    let labels = [&source.key.database, &source.key.user, &source.key.application];
    assert_eq!(
        (labels, &source.name, &source.pool),
        (["orders", "app", "app"].map(str::to_owned).each_ref(), &None, &None)
    );
    let shown: Vec<String> = source.endpoints.iter().map(crate::source::Endpoint::show).collect();
    assert_eq!(shown, ["http://a:1/x", "unix:///run/a.sock"]);
    assert_eq!(source.directory.as_deref(), Some("/run/pools".as_ref()));
    assert_eq!(config.targets[0].views.applications[0].instances, Some(2));
    let path = secret.display();
    let text = format!(
        "
targets:
  x:
    url: postgresql://app@h/orders
    applications:
      web:
        match: {{ application_name: 'web-*' }}
        status_urls: ['https://a/x']
        status_timeout: 250ms
        status_processes: 2
        status_username: u
        status_password_file: {path}
      jobs: {{ status_dir: /run/pools, status_bearer_token_file: {path} }}
      none: {{ pool_size: 1 }}
"
    );
    let config = good(&[], &text);
    let [jobs, web] = config.targets[0].sources.as_slice() else { panic!() };
    assert_eq!((web.timeout, web.processes), (Duration::from_millis(250), 2));
    assert_eq!((web.key.user.as_str(), web.key.application.as_str()), ("", "web"));
    assert_eq!(jobs.pool.as_deref(), Some("jobs"));
    assert_eq!(jobs.login, Some(crate::source::Login::Bearer(secret.clone())));
    assert!(!render(&config.entries).contains("s3cr3t"));
}

#[test]
fn sources_that_cannot_be_meant_are_refused() {
    let check = |keys: &str, expected: &str| {
        let text = format!(
            "targets: {{ x: {{ url: 'postgresql://u@h/d', applications: {{ web: {{ {keys} }} }} }} }}"
        );
        let place = "targets.x.applications.web.";
        assert_eq!(bad(&[], &text), [format!("{place}{expected}")]);
    };
    let url = "status_urls: ['http://a/x']";
    check(
        "status_urls: ['ftp://a']",
        "status_urls: must be a list, not empty; each of it must be an http:// or https:// URL, or unix:// with the path of a socket",
    );
    check(
        "status_urls: ['http://a/x?z', 'http://a/x?y']",
        "status_urls: names an address twice; each must belong to another process",
    );
    check(&format!("{url}, status_username: u"), "status_username: needs status_password_file");
    check(
        &format!("{url}, status_username: u, status_password_file: /dev/null"),
        "status_password_file: names a file that is not a regular file",
    );
}
