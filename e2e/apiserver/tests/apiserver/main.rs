//! What a real API server says, in one process so that one kube-apiserver serves all tests; a namespace each.

mod charts;
mod definition;
mod operator;
mod permissions;
mod scale;
mod status;

use e2e::{Kubectl, wait};
use e2e_apiserver::ControlPlane;
use std::sync::LazyLock;
use std::time::Duration;

/// The one control plane, with the definition installed as a user would without helm.
static PLANE: LazyLock<ControlPlane> = LazyLock::new(|| {
    let plane = ControlPlane::start().expect("etcd and kube-apiserver start");
    install_definition(&plane.admin().expect("a kubeconfig"));
    plane
});

fn install_definition(admin: &Kubectl) {
    let file = e2e::tools::repository().join("crds/slotkeeper.dev_redisclusters.yaml");
    admin.ok(&["apply", "--filename", &file.to_string_lossy()]).expect("the definition is accepted");
    admin
        .ok(&["wait", "--for=condition=Established", "crd/redisclusters.slotkeeper.dev", "--timeout=60s"])
        .expect("the definition is established");
    wait_served(admin);
}

/// An API server serves what is established a moment later.
fn wait_served(admin: &Kubectl) {
    wait::until("RedisClusters are served", Duration::from_secs(60), || admin.ok(&["get", "rdc"]).is_ok())
        .expect("the definition is served");
}

/// A manifest of one RedisCluster; `spec` is JSON or YAML in one line.
fn cluster(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: slotkeeper.dev/v1alpha1\nkind: RedisCluster\nmetadata: {{name: {name}}}\nspec: {spec}\n"
    )
}
