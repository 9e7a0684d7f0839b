//! The container files: linters, compose itself, and consistency with the rest of the repository.

use std::process::Command;

use crate::{files, passed, read, root, run, tool};

#[test]
fn hadolint_finds_no_fault_in_the_dockerfiles() {
    let output = run(tool("hadolint")
        .args(["--failure-threshold", "info"])
        .args([root("deploy/container/Dockerfile"), root("deploy/compose/app.Dockerfile")]));
    assert_eq!(passed(&output), "");
}

#[test]
fn compose_reads_its_file_and_resolves_every_path() {
    let file = root("deploy/compose/compose.yaml");
    let output =
        run(tool("docker-compose").arg("-f").arg(&file).args(["config", "--format", "json"]));
    let read: serde_json::Value = serde_json::from_str(&passed(&output)).expect("JSON");
    let services = read["services"].as_object().expect("services");
    let names: Vec<&str> = services.keys().map(String::as_str).collect();
    assert_eq!(names, ["alertmanager", "app", "exporter", "grafana", "postgres", "prometheus"]);
    for (name, service) in services {
        for volume in service["volumes"].as_array().into_iter().flatten() {
            if volume["type"] == "bind" {
                let source = volume["source"].as_str().expect("a path");
                // alerts/ and dashboards/ are at the top of the repository; all other files are beside this one.
                assert!(std::path::Path::new(source).exists(), "{name}: {source}");
            }
        }
        for port in service["ports"].as_array().into_iter().flatten() {
            assert_eq!(port["host_ip"], "127.0.0.1", "{name} listens on this machine only");
        }
    }
    let exporter = &services["exporter"];
    assert_eq!(exporter["read_only"], true);
    assert_eq!(exporter["cap_drop"][0], "ALL");
    assert_eq!(
        exporter["environment"]["DB_POOL_SIZE"],
        services["app"]["environment"]["DB_POOL_SIZE"]
    );
    for secret in read["secrets"].as_object().expect("secrets").values() {
        let path = secret["file"].as_str().expect("a path");
        assert!(std::path::Path::new(path).exists(), "{path}");
    }
}

#[test]
fn the_compose_file_follows_its_specification() {
    passed(&run(tool("check-jsonschema")
        .args(["--builtin-schema", "vendor.compose-spec"])
        .arg(root("deploy/compose/compose.yaml"))));
}

#[test]
fn the_demonstration_prometheus_and_alertmanager_are_configured_well() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = read(root("deploy/compose/prometheus.yml"))
        .replace("/etc/prometheus/alerts", &root("alerts").to_string_lossy());
    let path = folder.path().join("prometheus.yml");
    std::fs::write(&path, config).expect("the file is written");
    passed(&run(Command::new("promtool").args(["check", "config"]).arg(&path)));
    passed(&run(Command::new("amtool")
        .arg("check-config")
        .arg(root("deploy/compose/alertmanager.yml"))));
}

#[test]
fn yaml_is_in_order() {
    let rules = "{extends: relaxed, rules: {line-length: {max: 140}, truthy: disable, braces: disable, \
                 comments: disable, document-start: disable}}";
    let all = [
        files(&root("deploy/compose"), ".yml"),
        files(&root("deploy/compose"), ".yaml"),
        files(&root("deploy/kustomize"), ".yaml"),
        vec![root("deploy/helm/db-pool-exporter/values.yaml")],
    ];
    let mut all = all.concat();
    all.retain(|path| !path.ends_with("rules.yaml")); // made from alerts/
    passed(&run(tool("yamllint").args(["--strict", "-d", rules]).args(all)));
}

#[test]
fn the_image_runs_as_nobody_and_its_health_does_not_follow_the_database() {
    let file = read(root("deploy/container/Dockerfile"));
    assert!(file.contains("\nFROM scratch\n"));
    assert!(file.contains("\nUSER 65532:65532\n"));
    assert!(file.contains(r#"CMD ["/usr/bin/db_pool_exporter", "healthcheck"]"#));
    let version = format!("ARG VERSION={}\n", env!("CARGO_PKG_VERSION"));
    assert!(file.contains(&version), "{version}");
}
