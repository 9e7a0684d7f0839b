//! The chart, installed by Helm's own library into a fake Kubernetes API. The created objects are validated with
//! Kubernetes' schemas and the Prometheus operator's types.

use serde_json::{Value, json};

use crate::{passed, read, root, run, run_with_input, text, tool, tools};

/// The oldest Kubernetes version that the chart allows, and the newest one with schemas.
const KUBERNETES: [&str; 2] = ["1.25", "1.37"];

fn install(values: &Value) -> std::process::Output {
    install_chart(&root("deploy/helm/db-pool-exporter"), values)
}

fn install_chart(chart: &std::path::Path, values: &Value) -> std::process::Output {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("values.json");
    std::fs::write(&file, values.to_string()).expect("the values are written");
    let mut python = tool("python");
    run(python.arg(root("tests/deploy/helm_install.py")).arg(chart).arg(&file))
}

/// The objects that Helm created, each validated with its schema, and the notes.
fn objects(values: &Value) -> (Vec<Value>, String) {
    let printed: Value = serde_json::from_str(&passed(&install(values))).expect("JSON");
    let list = printed["objects"].to_string();
    validate(&list);
    let objects = printed["objects"].as_array().expect("a list").clone();
    (objects, printed["notes"].as_str().expect("notes").to_owned())
}

/// Fails if Kubernetes or the operator would refuse an object or ignore one of its fields.
pub(crate) fn validate(list: &str) {
    let mut python = tool("python");
    let python = python.arg(root("tests/deploy/validate.py")).args(KUBERNETES);
    passed(&run_with_input(python, list));
    let folder = tools().join("node");
    std::fs::copy(root("tests/deploy/validate.mjs"), folder.join("validate.mjs")).expect("a copy");
    let mut node = std::process::Command::new("node");
    passed(&run_with_input(node.arg("validate.mjs").current_dir(&folder), list));
}

fn one<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    let found: Vec<&Value> = objects.iter().filter(|object| object["kind"] == kind).collect();
    assert_eq!(found.len(), 1, "{kind}");
    found[0]
}

fn kinds(objects: &[Value]) -> Vec<&str> {
    let mut kinds: Vec<&str> = objects.iter().filter_map(|each| each["kind"].as_str()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

fn everything() -> Value {
    json!({
        "replicas": 2,
        "image": {"digest": format!("sha256:{}", "0".repeat(64)), "pullSecrets": [{"name": "registry"}]},
        "database": {"url": "postgresql+asyncpg://app@db:5432/orders", "existingSecret": {"name": "orders", "passwordKey": "pw"}},
        "env": {"DB_POOL_SIZE": 20, "DB_POOL_PRE_PING": true, "DB_POOL_TIMEOUT": 30.5},
        "envFrom": [{"configMapRef": {"name": "orders"}}],
        "extraArgs": ["--log.level=debug"],
        "config": {"defaults": {"interval": "10s"}, "targets": {"orders": {"url": "postgresql://app@db/orders", "password_file": "/run/secrets/orders/password"}}},
        "secretMounts": [{"name": "orders", "secretName": "orders-monitor"}],
        "web": {"configSecret": "web", "scheme": "HTTPS", "scrapeOptions": {"tlsConfig": {"insecureSkipVerify": true}}},
        "podDisruptionBudget": {"enabled": true},
        "networkPolicy": {
            "enabled": true,
            "ingressFrom": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
            "egressTo": [{"ports": [{"port": 5432, "protocol": "TCP"}], "to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}],
        },
        "serviceMonitor": {"enabled": true, "labels": {"release": "prometheus"}, "relabelings": [{"action": "labeldrop", "regex": "pod"}]},
        "podMonitor": {"enabled": true},
        "probe": {"enabled": true, "authModule": "app", "targets": ["db:5432"]},
        "prometheusRule": {"enabled": true},
        "dashboards": {"enabled": true},
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"operator": "Exists"}],
        "topologySpreadConstraints": [{
            "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": {"app.kubernetes.io/name": "db-pool-exporter"}},
        }],
    })
}

#[test]
fn helm_finds_no_fault_in_the_chart() {
    let output = run(tool("python")
        .arg(root("tests/deploy/helm_install.py"))
        .args(["--lint".as_ref(), root("deploy/helm/db-pool-exporter").as_os_str()]));
    let printed: Value = serde_json::from_str(&passed(&output)).expect("JSON");
    assert_eq!(printed["Errors"], Value::Null, "{printed}");
    // Severity 1 is advice (a missing icon); 2 is a warning.
    let grave = printed["Messages"].as_array().into_iter().flatten();
    assert!(grave.clone().all(|message| message["Severity"].as_i64() < Some(2)), "{printed}");
}

#[test]
fn the_least_that_can_be_said_makes_a_deployment() {
    let (objects, notes) = objects(&json!({"database": {"url": "postgresql://app@db/orders"}}));
    assert_eq!(kinds(&objects), ["Deployment", "Secret", "Service", "ServiceAccount"]);
    assert!(notes.contains("port-forward svc/demo-db-pool-exporter"), "{notes}");
    let pod = &one(&objects, "Deployment")["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    // The pod security standard "restricted".
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], false);
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    assert_eq!(container["securityContext"]["capabilities"], json!({"drop": ["ALL"]}));
    assert_eq!(pod["automountServiceAccountToken"], false);
    assert_eq!(container["livenessProbe"]["httpGet"]["path"], "/-/healthy");
    assert_eq!(container["readinessProbe"]["httpGet"]["path"], "/-/ready");
    // A secret is mounted as a file, never put into a variable.
    assert!(!container.to_string().contains("app@db"), "{container}");
    assert!(container.to_string().contains("/run/secrets/db_pool_exporter/url"));
}

#[test]
fn everything_at_once_is_what_kubernetes_and_the_operator_take() {
    let (objects, _) = objects(&everything());
    let wanted = [
        "ConfigMap",
        "Deployment",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "PodMonitor",
        "Probe",
        "PrometheusRule",
        "Secret",
        "Service",
        "ServiceAccount",
        "ServiceMonitor",
    ];
    assert_eq!(kinds(&objects), wanted);
    let deployment = one(&objects, "Deployment");
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["args"], json!(["serve", "--log.level=debug"]));
    assert_eq!(container["livenessProbe"]["httpGet"]["scheme"], "HTTPS");
    let endpoint = &one(&objects, "ServiceMonitor")["spec"]["endpoints"][0];
    assert_eq!(endpoint["scheme"], "https");
    assert_eq!(endpoint["tlsConfig"]["insecureSkipVerify"], true);
    // The chart's Secret holds the given value; the existing Secret provides the other one.
    let sources = &deployment["spec"]["template"]["spec"]["volumes"][0]["projected"]["sources"];
    assert_eq!(sources[0]["secret"]["items"], json!([{"key": "url", "path": "url"}]));
    assert_eq!(sources[1]["secret"]["items"], json!([{"key": "pw", "path": "password"}]));
    // Numbers are not changed.
    let env = container["env"].as_array().expect("variables");
    let value =
        |name: &str| env.iter().find(|each| each["name"] == name).map(|each| &each["value"]);
    assert_eq!(value("DB_POOL_SIZE"), Some(&json!("20")));
    assert_eq!(value("DB_POOL_TIMEOUT"), Some(&json!("30.5")));
    assert_eq!(value("DB_POOL_PRE_PING"), Some(&json!("true")));
}

/// The YAML block of the chart's README that begins with this comment, as JSON.
fn example(comment: &str) -> Value {
    let readme = read(root("deploy/helm/db-pool-exporter/README.md"));
    let block = readme.split("```yaml\n").find(|block| block.starts_with(comment));
    let block = block.expect("the README has the example").split("```").next().expect("an end");
    let convert = "import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout)";
    let output = run_with_input(tool("python").args(["-c", convert]), block);
    serde_json::from_str(&passed(&output)).expect("JSON")
}

#[test]
fn the_network_policy_of_the_readme_opens_the_databases_and_nothing_else() {
    let mut values = example("# network-policy.yaml");
    values["database"] = json!({"url": "postgresql://app@db/orders"});
    let (objects, _) = objects(&values);
    let policy = &one(&objects, "NetworkPolicy")["spec"];
    assert_eq!(policy["policyTypes"], json!(["Ingress", "Egress"]));
    let ingress = policy["ingress"].as_array().expect("rules");
    assert_eq!((ingress.len(), &ingress[0]["from"]), (1, &values["networkPolicy"]["ingressFrom"]));
    let egress = policy["egress"].as_array().expect("rules");
    let ports = |rule: &Value| -> Vec<u64> {
        let ports = rule["ports"].as_array().expect("ports");
        ports.iter().filter_map(|port| port["port"].as_u64()).collect()
    };
    assert_eq!(
        egress.iter().map(ports).collect::<Vec<_>>(),
        [vec![53, 53], vec![5432], vec![5432, 6432]]
    );
    assert!(egress[1..].iter().all(|rule| rule["to"].is_array()), "{egress:?}");
}

#[test]
fn rules_and_dashboards_are_those_of_the_repository() {
    let (objects, _) = objects(&everything());
    let rules: Vec<String> = objects
        .iter()
        .filter(|object| object["kind"] == "PrometheusRule")
        .flat_map(|object| object["spec"]["groups"].as_array().expect("groups").clone())
        .flat_map(|group| group["rules"].as_array().expect("rules").clone())
        .filter_map(|rule| rule["alert"].as_str().or(rule["record"].as_str()).map(str::to_owned))
        .collect();
    let mut found = 0;
    for file in crate::files(&root("alerts"), ".yml") {
        let text = read(&file);
        let holds_rules = text.lines().any(|line| line == "groups:");
        if !holds_rules || file.parent() != Some(root("alerts").as_path()) {
            continue;
        }
        for line in text.lines() {
            let line = line.trim().trim_start_matches("- ");
            if let Some(name) = line.strip_prefix("alert: ").or(line.strip_prefix("record: ")) {
                found += 1;
                assert!(rules.iter().any(|rule| rule == name), "{name} of {}", file.display());
            }
        }
    }
    assert_eq!(found, rules.len());
    assert!(found > 0);
    for file in crate::files(&root("dashboards"), ".json") {
        let name = file.file_name().expect("a name").to_string_lossy().into_owned();
        if file.parent() != Some(root("dashboards").as_path()) {
            continue;
        }
        let shown = objects.iter().find_map(|object| object["data"][&name].as_str());
        let shown = shown.unwrap_or_else(|| panic!("{name} is in no ConfigMap"));
        assert_eq!(shown.trim_end(), read(&file).trim_end(), "{name}");
    }
}

/// Alerts link to their runbooks once the address is known; until then there is a warning.
#[test]
fn the_links_of_alerts_are_absolute_once_their_addresses_are_set() {
    let mut values = everything();
    let links = |objects: &[Value]| {
        let rules = objects.iter().filter(|object| object["kind"] == "PrometheusRule");
        let groups = rules.flat_map(|object| object["spec"]["groups"].as_array().expect("groups"));
        let mut rules = groups.flat_map(|group| group["rules"].as_array().expect("rules"));
        rules.find(|rule| rule["record"] == "db_pool:links").expect("the links")["labels"].clone()
    };
    let (rendered, notes) = objects(&values);
    assert_eq!(links(&rendered)["runbooks"], "docs/runbooks");
    assert!(
        notes.contains("WARNING") && notes.contains("prometheusRule.links.runbooks"),
        "{notes}"
    );
    let addresses =
        json!({"runbooks": "https://docs.example/runbooks", "grafana": "https://grafana.example"});
    values["prometheusRule"]["links"] = addresses.clone();
    let (rendered, notes) = objects(&values);
    assert_eq!(links(&rendered), addresses);
    assert!(!notes.contains("WARNING"), "{notes}");
}

#[test]
fn a_release_fits_into_the_secret_that_helm_keeps_it_in() {
    let printed: Value = serde_json::from_str(&passed(&install(&everything()))).expect("JSON");
    let bytes = printed["release_bytes"].as_u64().expect("a number");
    assert!(bytes < 900_000, "{bytes} bytes; Kubernetes takes 1 MiB");
}

#[test]
fn as_a_sidecar_it_makes_no_pods_and_gives_the_container() {
    let (objects, notes) = objects(&json!({
        "mode": "sidecar",
        "database": {"existingSecret": {"name": "orders", "urlKey": "DATABASE_URL"}},
        "podMonitor": {"enabled": true},
        "sidecar": {"podSelector": {"app.kubernetes.io/name": "orders"}},
    }));
    assert_eq!(kinds(&objects), ["PodMonitor"]);
    let monitor = &one(&objects, "PodMonitor")["spec"];
    assert_eq!(monitor["selector"]["matchLabels"], json!({"app.kubernetes.io/name": "orders"}));
    assert_eq!(monitor["podMetricsEndpoints"][0]["port"], "db-pool-metrics");
    assert!(notes.contains("containerPort: 9956") && notes.contains("secret:"), "{notes}");
}

#[test]
fn another_chart_puts_the_container_into_its_own_pod() {
    let folder = tempfile::tempdir().expect("a folder");
    let chart = folder.path();
    let write =
        |name: &str, content: &str| std::fs::write(chart.join(name), content).expect("a file");
    std::fs::create_dir_all(chart.join("templates")).expect("a folder");
    std::fs::create_dir_all(chart.join("charts")).expect("a folder");
    std::os::unix::fs::symlink(
        root("deploy/helm/db-pool-exporter"),
        chart.join("charts/db-pool-exporter"),
    )
    .expect("a link");
    write(
        "Chart.yaml",
        "{apiVersion: v2, name: orders, version: 1.0.0, dependencies: [{name: db-pool-exporter, version: 0.1.0}]}",
    );
    write(
        "values.yaml",
        "db-pool-exporter: {mode: sidecar, database: {existingSecret: {name: orders, urlKey: url}}}",
    );
    write(
        "templates/deployment.yaml",
        r#"
apiVersion: apps/v1
kind: Deployment
metadata: { name: orders }
spec:
  selector: { matchLabels: { app: orders } }
  template:
    metadata: { labels: { app: orders } }
    spec:
      {{- $exporter := index .Subcharts "db-pool-exporter" }}
      containers:
        - { name: orders, image: orders }
        - {{- include "db-pool-exporter.container" $exporter | nindent 10 }}
      volumes:
        {{- include "db-pool-exporter.volumes" $exporter | nindent 8 }}
"#,
    );
    let printed: Value =
        serde_json::from_str(&passed(&install_chart(chart, &json!({})))).expect("JSON");
    validate(&printed["objects"].to_string());
    let deployment = one(printed["objects"].as_array().expect("a list"), "Deployment").clone();
    let sidecar = &deployment["spec"]["template"]["spec"]["containers"][1];
    assert_eq!(sidecar["name"], "db-pool-exporter");
    assert_eq!(sidecar["livenessProbe"]["httpGet"]["port"], "db-pool-metrics");
}

#[test]
fn values_that_cannot_be_meant_are_refused() {
    let refused = [
        (json!({}), "nothing to watch"),
        (json!({"database": {"ulr": "postgresql://db/orders"}}), "ulr"),
        (json!({"database": {"url": "mysql://db/orders"}}), "url"),
        (
            json!({"database": {"url": "postgresql://db/o", "existingSecret": {"name": "x", "urlKey": "u"}}}),
            "url",
        ),
        (json!({"database": {"url": "postgresql://db/o"}, "mode": "daemonset"}), "mode"),
        (
            json!({"database": {"url": "postgresql://db/o"}, "serviceMonitor": {"interval": "soon"}}),
            "interval",
        ),
        (json!({"database": {"url": "postgresql://db/o"}, "config": {"target": {}}}), "target"),
        (json!({"mode": "sidecar", "podMonitor": {"enabled": true}}), "sidecar.podSelector"),
        (
            json!({"database": {"url": "postgresql://db/o"}, "probe": {"enabled": true}}),
            "probe.targets",
        ),
    ];
    for (values, word) in refused {
        let output = install(&values);
        assert!(!output.status.success(), "{values}");
        let printed = text(&output.stderr);
        assert!(printed.contains(word), "{values}: {printed}");
    }
}

#[test]
fn the_versions_are_the_crates() {
    let chart = read(root("deploy/helm/db-pool-exporter/Chart.yaml"));
    for key in ["version", "appVersion"] {
        let line = format!("{key}: {}", env!("CARGO_PKG_VERSION"));
        assert!(chart.lines().any(|found| found == line), "{line}");
    }
}
