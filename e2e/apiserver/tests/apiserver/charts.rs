//! The charts against a real API server: installed, upgraded, uninstalled, and their pods under restricted security.

use crate::{PLANE, cluster, wait_served};
use anyhow::Result;
use e2e::Kubectl;
use e2e::helm::Helm;
use e2e::tools::repository;
use e2e_apiserver::ControlPlane;
use serde_json::json;
use std::path::Path;

/// A namespace that admits restricted pods only.
fn restricted_namespace() -> Result<Kubectl> {
    let kubectl = PLANE.fresh_namespace()?;
    let labels = ["enforce", "warn"].map(|mode| format!("pod-security.kubernetes.io/{mode}=restricted"));
    kubectl.ok(&["label", "namespace", kubectl.namespace(), &labels[0], &labels[1]])?;
    Ok(kubectl)
}

#[test]
fn the_operator_installs_upgrades_and_leaves_nothing_behind() {
    let kubectl = restricted_namespace().unwrap();
    let helm = Helm::of(&kubectl).unwrap();
    helm.ok(&["install", "op", "charts/redis-operator"]).unwrap();
    helm.ok(&[
        "upgrade",
        "op",
        "charts/redis-operator",
        "--set",
        "replicas=2",
        "--set",
        "watchNamespace=default",
    ])
    .unwrap();
    assert_eq!(kubectl.get("deployment", "op").unwrap()["spec"]["replicas"], 2);
    kubectl.get("poddisruptionbudget", "op").unwrap();
    helm.ok(&["uninstall", "op"]).unwrap();
    let kinds = "deployments,serviceaccounts,roles,rolebindings,clusterroles,clusterrolebindings,poddisruptionbudgets";
    let selector = "--selector=app.kubernetes.io/name=redis-operator,app.kubernetes.io/instance=op";
    let left = kubectl.ok(&["get", kinds, selector, "--all-namespaces", "--output=name"]).unwrap();
    let ours = |line: &&str| line.contains(kubectl.namespace());
    assert_eq!(left.lines().filter(ours).collect::<Vec<_>>(), Vec::<&str>::new());
}

#[test]
fn the_operators_pod_is_admitted_where_pods_are_restricted() {
    let kubectl = restricted_namespace().unwrap();
    let helm = Helm::of(&kubectl).unwrap();
    helm.ok(&["install", "op", "charts/redis-operator", "--set", "replicas=2"]).unwrap();
    let template = kubectl.get("deployment", "op").unwrap()["spec"]["template"].clone();
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": template["metadata"], "spec": template["spec"]});
    pod["metadata"]["name"] = json!("op");
    let args = ["create", "--dry-run=server", "--filename=-"];
    let admitted = kubectl.run_with(&args, &pod.to_string()).unwrap();
    assert!(admitted.ok && admitted.stderr.is_empty(), "{admitted:?}");
    // The namespace does refuse: the same pod as root.
    pod["spec"]["securityContext"]["runAsNonRoot"] = json!(false);
    let said = kubectl.refused(&args, &pod.to_string()).unwrap();
    assert!(said.contains("violates PodSecurity"), "{said}");
    helm.ok(&["uninstall", "op"]).unwrap();
}

#[test]
fn a_cluster_from_values_is_upgraded_and_uninstalled() {
    let kubectl = PLANE.fresh_namespace().unwrap();
    let helm = Helm::of(&kubectl).unwrap();
    helm.ok(&["install", "shop", "charts/redis-cluster", "--set", "spec.config.maxmemory=1000000000"])
        .unwrap();
    let spec = kubectl.get("rdc", "shop").unwrap()["spec"].clone();
    assert_eq!((&spec["masters"], &spec["config"]["maxmemory"]), (&json!(3), &json!(1_000_000_000)));
    helm.ok(&["upgrade", "shop", "charts/redis-cluster", "--reuse-values", "--set", "spec.masters=5"])
        .unwrap();
    assert_eq!(kubectl.get("rdc", "shop").unwrap()["spec"]["masters"], 5);
    helm.ok(&["uninstall", "shop"]).unwrap();
    kubectl.refused(&["get", "rdc", "shop"], "").unwrap();
}

/// A control plane of its own: the definition is everybody's.
#[test]
fn the_definitions_are_upgraded_by_helm_and_outlive_their_release() {
    let plane = ControlPlane::start().unwrap();
    let kubectl = plane.admin().unwrap();
    let helm = Helm::of(&kubectl).unwrap();
    // An older release: the same chart, in which a field is explained otherwise.
    let older = plane.dir().join("older");
    copy_chart(&older, |text| text.replace("Plan and report, change nothing.", "As it was.")).unwrap();
    let older = older.to_string_lossy().into_owned();
    helm.ok(&["install", "crds", &older]).unwrap();
    let established =
        ["wait", "--for=condition=Established", "crd/redisclusters.slotkeeper.dev", "--timeout=60s"];
    kubectl.ok(&established).unwrap();
    wait_served(&kubectl);
    kubectl.ok_with(&["create", "--filename=-"], &cluster("demo", "{}")).unwrap();
    let paused = || {
        let definition = kubectl.get("crd", "redisclusters.slotkeeper.dev").unwrap();
        let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        schema["properties"]["spec"]["properties"]["paused"]["description"].as_str().unwrap().to_owned()
    };
    assert_eq!(paused(), "As it was.");
    helm.ok(&["upgrade", "crds", "charts/redis-operator-crds"]).unwrap();
    assert_eq!(paused(), "Plan and report, change nothing.");
    helm.ok(&["uninstall", "crds"]).unwrap();
    kubectl.get("rdc", "demo").unwrap();
    // Installed again, the release takes its definition back.
    helm.ok(&["install", "crds", "charts/redis-operator-crds"]).unwrap();
    kubectl.get("rdc", "demo").unwrap();
}

fn copy_chart(to: &Path, edit: impl Fn(&str) -> String) -> Result<()> {
    let from = repository().join("charts/redis-operator-crds");
    std::fs::create_dir_all(to.join("templates"))?;
    for name in ["Chart.yaml", "values.yaml", "values.schema.json", "templates/redisclusters.yaml"] {
        let text = std::fs::read_to_string(from.join(name))?;
        std::fs::write(to.join(name), edit(&text))?;
    }
    Ok(())
}
