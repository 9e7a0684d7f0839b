//! The plain manifests, built by kubectl's kustomize and validated like the chart. Their rules are generated from
//! `alerts/` (`make manifests`).

use serde_json::Value;

use crate::{passed, read, root, run, tool};

fn built(folder: &str) -> Vec<Value> {
    let yaml = passed(&run(tool("kubectl").arg("kustomize").arg(root(folder))));
    json_of(&yaml)
}

/// Converts YAML documents to JSON with the library that also checks Kubernetes' schemas.
fn json_of(yaml: &str) -> Vec<Value> {
    let program = "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(sys.stdin))))";
    let output = crate::run_with_input(tool("python").args(["-c", program]), yaml);
    serde_json::from_str(&passed(&output)).expect("JSON")
}

#[test]
fn the_example_is_what_kubernetes_and_the_operator_take() {
    let objects = built("deploy/kustomize/overlays/example");
    crate::helm::validate(&serde_json::to_string(&objects).expect("JSON"));
    let mut kinds: Vec<&str> = objects.iter().filter_map(|each| each["kind"].as_str()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let wanted = [
        "Deployment",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "PrometheusRule",
        "Secret",
        "Service",
        "ServiceAccount",
        "ServiceMonitor",
    ];
    assert_eq!(kinds, wanted);
    for object in &objects {
        assert_eq!(object["metadata"]["namespace"], "monitoring", "{object}");
    }
    let deployment = objects.iter().find(|each| each["kind"] == "Deployment").expect("one");
    let pod = &deployment["spec"]["template"];
    let service = objects.iter().find(|each| each["kind"] == "Service").expect("one");
    let selected = service["spec"]["selector"].as_object().expect("labels");
    for (name, value) in selected {
        assert_eq!(&pod["metadata"]["labels"][name], value, "{name}");
    }
    // The mount uses the Secret's generated name.
    let secret = objects.iter().find(|each| each["kind"] == "Secret").expect("one");
    assert_eq!(pod["spec"]["volumes"][0]["secret"]["secretName"], secret["metadata"]["name"]);
}

#[test]
fn the_container_is_that_of_the_chart() {
    let values = serde_json::json!({"database": {"existingSecret": {"name": "db-pool-exporter", "urlKey": "url"}}});
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("values.json");
    std::fs::write(&file, values.to_string()).expect("the values are written");
    let output = run(tool("python")
        .arg(root("tests/deploy/helm_install.py"))
        .arg(root("deploy/helm/db-pool-exporter"))
        .arg(&file));
    let printed: Value = serde_json::from_str(&passed(&output)).expect("JSON");
    let charts = printed["objects"].as_array().expect("a list").clone();
    let ours = built("deploy/kustomize/base");
    let spec = |objects: &[Value]| {
        let found = objects.iter().find(|each| each["kind"] == "Deployment").expect("one");
        found["spec"]["template"]["spec"].clone()
    };
    let (mut chart, mut base) = (spec(&charts), spec(&ours));
    for pod in [&mut chart, &mut base] {
        // Intended differences: names, the listen address (a chart value), and the scheme (the default).
        let pod = pod.as_object_mut().expect("a pod");
        pod.remove("serviceAccountName");
        pod.remove("volumes");
        let container = pod["containers"][0].as_object_mut().expect("a container");
        container.remove("volumeMounts");
        let env = container["env"].as_array_mut().expect("variables");
        env.retain(|each| each["name"] != "DB_POOL_EXPORTER_WEB_LISTEN_ADDRESS");
        for probe in ["livenessProbe", "readinessProbe"] {
            container[probe]["httpGet"].as_object_mut().expect("a probe").remove("scheme");
        }
    }
    assert_eq!(chart, base);
}

#[test]
fn the_rules_are_those_of_the_repository() {
    let path = root("deploy/kustomize/components/prometheus-operator/rules.yaml");
    let made = passed(&run(tool("python").arg(root("tests/deploy/rules.py")).arg(root("alerts"))));
    if std::env::var_os("UPDATE_MANIFESTS").is_some() {
        std::fs::write(&path, &made).expect("the rules are written");
    }
    assert_eq!(read(&path), made, "make manifests writes them anew");
}
