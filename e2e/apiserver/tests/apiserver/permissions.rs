//! What the chart grants the operator, and what it does not.

use crate::PLANE;
use anyhow::{Result, bail, ensure};
use e2e::helm::Helm;
use e2e::{Kubectl, wait};
use std::time::Duration;

/// How long an API server may take to learn of a role.
const GRANT_LIMIT: Duration = Duration::from_secs(30);

/// Installs the chart; the operator's service account, speaking for itself.
fn operator(release: &str, values: &[&str]) -> Result<Kubectl> {
    let kubectl = PLANE.fresh_namespace()?;
    let mut args = vec!["install", release, "charts/redis-operator"];
    args.extend(values);
    Helm::of(&kubectl)?.ok(&args)?;
    let token = kubectl.ok(&["create", "token", release])?;
    let name = format!("{}-{release}", kubectl.namespace());
    let user = PLANE.user(&name, token.trim())?.in_namespace(kubectl.namespace());
    wait_granted(&user)?;
    Ok(user)
}

/// An API server learns of roles a moment later than they are made: of those for all namespaces, and of those for one.
pub(crate) fn wait_granted(user: &Kubectl) -> Result<()> {
    wait_may(user, "default", "watch", "nodes")?;
    wait_may(user, user.namespace(), "create", "leases.coordination.k8s.io")
}

pub(crate) fn wait_may(user: &Kubectl, namespace: &str, verb: &str, resource: &str) -> Result<()> {
    wait::until(&format!("allowed: {verb} {resource} in {namespace}"), GRANT_LIMIT, || {
        may(user, namespace, verb, resource).is_ok_and(|may| may)
    })
}

/// What kubectl answers: yes or no; anything else is no answer.
fn may(user: &Kubectl, namespace: &str, verb: &str, resource: &str) -> Result<bool> {
    // kubectl takes what follows a slash for a name.
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let subresource = format!("--subresource={subresource}");
    let output = user.in_namespace(namespace).run(&["auth", "can-i", verb, resource, &subresource])?;
    match output.stdout.trim() {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => bail!("can-i {verb} {resource}: {output:?}"),
    }
}

#[test]
fn an_operator_for_all_namespaces_may_do_its_work_and_no_more() {
    let operator = operator("op", &[]).unwrap();
    for (namespace, verb, resource) in [
        ("default", "create", "statefulsets.apps"),
        ("default", "patch", "redisclusters.slotkeeper.dev/status"),
        ("default", "delete", "persistentvolumeclaims"),
        ("kube-node-lease", "watch", "leases.coordination.k8s.io"),
        ("default", "watch", "nodes"),
        (operator.namespace(), "create", "leases.coordination.k8s.io"),
    ] {
        wait_may(&operator, namespace, verb, resource).unwrap();
    }
    for (namespace, verb, resource) in [
        ("default", "get", "secrets"),
        ("default", "create", "pods"),
        ("default", "create", "pods/exec"),
        ("default", "patch", "redisclusters.slotkeeper.dev"),
        ("default", "delete", "redisclusters.slotkeeper.dev"),
        ("default", "create", "persistentvolumeclaims"),
        ("default", "get", "leases.coordination.k8s.io"),
        ("kube-node-lease", "update", "leases.coordination.k8s.io"),
        ("default", "delete", "nodes"),
        ("default", "create", "clusterroles.rbac.authorization.k8s.io"),
    ] {
        assert!(
            !may(&operator, namespace, verb, resource).unwrap(),
            "must be refused: {verb} {resource} in {namespace}"
        );
    }
}

#[test]
fn an_operator_for_one_namespace_has_nothing_to_say_elsewhere() {
    let shop = PLANE.fresh_namespace().unwrap();
    let operator = operator("op", &["--set", &format!("watchNamespace={}", shop.namespace())]).unwrap();
    wait_may(&operator, shop.namespace(), "create", "statefulsets.apps").unwrap();
    wait_may(&operator, operator.namespace(), "create", "leases.coordination.k8s.io").unwrap();
    wait_may(&operator, "default", "list", "nodes").unwrap();
    assert!(!may(&operator, "default", "create", "statefulsets.apps").unwrap());
    assert!(!may(&operator, "default", "list", "redisclusters.slotkeeper.dev").unwrap());
    assert!(!may(&operator, operator.namespace(), "list", "pods").unwrap());
}

#[test]
fn who_may_edit_a_namespace_may_scale_its_clusters() {
    let operator = operator("op", &[]).unwrap();
    let rules = operator_roles(&operator, "edit").unwrap();
    for verb in ["create", "delete", "patch"] {
        assert!(rules.contains(verb), "{rules}");
    }
    assert!(rules.contains("redisclusters/scale"), "{rules}");
    assert!(!operator_roles(&operator, "view").unwrap().contains("create"));
}

/// What the chart adds to the role `edit` or `view`. (No controller aggregates it here.)
fn operator_roles(operator: &Kubectl, role: &str) -> Result<String> {
    let name = format!("{}-op-{role}", operator.namespace());
    let found = PLANE.admin()?.get("clusterrole", &name)?;
    let label = format!("rbac.authorization.k8s.io/aggregate-to-{role}");
    ensure!(found["metadata"]["labels"][&label] == "true", "{name} lacks the label {label}");
    Ok(found["rules"].to_string())
}
