#!/usr/bin/env python3
"""check-rendered-charts.py DIR: what tools/check-charts.sh rendered into DIR keeps its promises."""
import os
import sys

import yaml

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
DIRECTORY = sys.argv[1]


def documents(name):
    with open(os.path.join(DIRECTORY, name + ".yaml"), encoding="utf-8") as file:
        return [document for document in yaml.safe_load_all(file) if document]


def of_kind(objects, *kinds):
    return [found for found in objects if found["kind"] in kinds]


def one(objects, kind):
    found = of_kind(objects, kind)
    assert len(found) == 1, f"{len(found)} of kind {kind}, not one"
    return found[0]


def check_restricted(pod):
    """The profile `restricted` of Pod Security Standards, and more: a read-only root."""
    context = pod["securityContext"]
    assert context["runAsNonRoot"] is True and context["runAsUser"] == 65532, context
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}, context
    for key in ("hostNetwork", "hostPID", "hostIPC", "volumes", "initContainers"):
        assert key not in pod, key
    for container in pod["containers"]:
        inner = container["securityContext"]
        assert inner == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                         "capabilities": {"drop": ["ALL"]}}, inner
        assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
        assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
        assert not any("hostPort" in port for port in container["ports"])


def check_rules(objects):
    """No wildcard, no way to secrets, pods' exec or roles, and what is granted is granted once."""
    granted = set()
    for role in of_kind(objects, "Role", "ClusterRole"):
        if "aggregate-to" in str(role["metadata"]["labels"]):
            continue
        place = role["metadata"].get("namespace", role["kind"])
        for rule in role["rules"]:
            for group in rule["apiGroups"]:
                for resource in rule["resources"]:
                    assert resource not in ("secrets", "pods/exec", "roles", "clusterroles"), resource
                    for verb in rule["verbs"]:
                        grant = (place, group, resource, verb)
                        assert "*" not in grant, grant
                        assert grant not in granted, f"granted twice: {grant}"
                        granted.add(grant)
    return granted


def check_bindings(objects):
    account = one(objects, "ServiceAccount")["metadata"]
    assert one(objects, "Deployment")["spec"]["template"]["spec"]["serviceAccountName"] == account["name"]
    roles = {(role["kind"], role["metadata"].get("namespace"), role["metadata"]["name"])
             for role in of_kind(objects, "Role", "ClusterRole") if "aggregate-to" not in str(role["metadata"]["labels"])}
    for binding in of_kind(objects, "RoleBinding", "ClusterRoleBinding"):
        namespace = binding["metadata"].get("namespace")
        roles.remove((binding["roleRef"]["kind"], namespace, binding["roleRef"]["name"]))
        assert binding["subjects"] == [{"kind": "ServiceAccount", **{k: account[k] for k in ("name", "namespace")}}]
    assert not roles, f"roles that nobody is bound to: {roles}"


def environment(deployment):
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    return {entry["name"]: entry.get("value") for entry in container["env"]}


def check_operator():
    with open(os.path.join(ROOT, "Cargo.toml"), encoding="utf-8") as file:
        version = next(line.split('"')[1] for line in file if line.startswith("version = "))
    one_operator, two, scoped, everything = map(documents, ("one", "two", "scoped", "all"))
    for objects in (one_operator, two, scoped, everything):
        check_restricted(one(objects, "Deployment")["spec"]["template"]["spec"])
        check_rules(objects)
        check_bindings(objects)
    deployment = one(one_operator, "Deployment")
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == f"slotkeeper/operator:{version}"
    assert environment(deployment)["NODE_IMAGE"] == f"slotkeeper/node-server:{version}"
    # One operator needs no budget (it would only make a drain wait); two have one, and keep apart.
    assert not of_kind(one_operator, "PodDisruptionBudget")
    assert "affinity" not in deployment["spec"]["template"]["spec"]
    budget = one(two, "PodDisruptionBudget")["spec"]
    labels = one(two, "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert budget["maxUnavailable"] == 1 and budget["selector"]["matchLabels"].items() <= labels.items()
    assert "podAntiAffinity" in one(two, "Deployment")["spec"]["template"]["spec"]["affinity"]
    # Scoped to one namespace the same is granted, only there; outside of it only what has no namespace or is its own.
    everywhere, there = check_rules(one_operator), check_rules(scoped)
    assert {grant[1:] for grant in everywhere} == {grant[1:] for grant in there}
    assert {grant for grant in there if grant[0] == "ClusterRole"} == \
        {("ClusterRole", "", "nodes", verb) for verb in ("list", "watch")}
    assert environment(one(scoped, "Deployment"))["WATCH_NAMESPACE"] == "shop"
    check_every_value(everything)


def check_every_value(objects):
    """Each value of tools/chart-values.yaml arrives."""
    pod = one(objects, "Deployment")["spec"]["template"]
    spec, container = pod["spec"], pod["spec"]["containers"][0]
    assert container["image"] == "registry.example/operator:9" and container["imagePullPolicy"] == "Always"
    assert environment(one(objects, "Deployment")) == {
        "POD_NAME": None, "POD_NAMESPACE": None, "NODE_IMAGE": "registry.example/node:8", "WATCH_NAMESPACE": "shop",
        "LOG_FORMAT": "text", "RUST_LOG": "debug"}
    assert container["resources"]["requests"]["cpu"] == 1 and container["resources"]["limits"] == {"memory": "1Gi"}
    assert spec["imagePullSecrets"] == [{"name": "pull"}] and spec["priorityClassName"] == "high"
    assert spec["nodeSelector"] == {"kubernetes.io/os": "linux"} and spec["tolerations"][0]["key"] == "dedicated"
    assert spec["affinity"] == {"nodeAffinity": {}}
    assert pod["metadata"]["annotations"] == {"c": "d"} and pod["metadata"]["labels"]["e"] == "f"
    account = one(objects, "ServiceAccount")["metadata"]
    assert account["name"] == "keeper" and account["annotations"] == {"a": "b"}
    assert not [role for role in of_kind(objects, "ClusterRole") if "aggregate-to" in str(role["metadata"]["labels"])]


def check_crds():
    with open(os.path.join(ROOT, "crds", "slotkeeper.dev_redisclusters.yaml"), encoding="utf-8") as file:
        wanted = yaml.safe_load(file)
    rendered = one(documents("crds"), "CustomResourceDefinition")
    assert rendered["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
    assert rendered == wanted, "redis-operator-crds renders something else than crds/"


def check_cluster():
    cluster = one(documents("cluster"), "RedisCluster")
    assert cluster["metadata"]["name"] == "demo" and cluster["metadata"]["namespace"] == "shop"
    assert cluster["spec"] == {"masters": 3, "replicasPerMaster": 1}, cluster["spec"]
    ranges = one(documents("ranges"), "RedisCluster")["spec"]
    assert ranges == {"masters": 2, "replicasPerMaster": 1, "config": {"maxmemory": 1000000000},
                      "slots": [{"ranges": ["0-99"]}, {"ranges": ["100-16383"]}]}, ranges


check_operator()
check_crds()
check_cluster()
print("rendered charts keep their promises")
