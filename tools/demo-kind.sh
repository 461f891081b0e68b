#!/usr/bin/env bash
# ./demo: the story of the README on Kubernetes, see there. A kind cluster that it had to make goes in the end.
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/demo-steps.sh

keys=2000 limit_s=180 namespace=slotkeeper-demo operator_namespace=slotkeeper-demo-operator
definition=redisclusters.slotkeeper.dev defined="" installed=()
k() { kubectl --namespace $namespace "$@"; }
cli() { k exec --stdin demo-0-0 -- /node-server cli -c "$@"; }

clusters=$(e2e/kind/up --clusters)
if [ -z "$clusters" ] && ! e2e/kind/up --is-prepared; then
  echo "No engine here can pull kindest/node: Kubernetes is built from packages first, 15 to 45 minutes on two cores, once."
fi
step "a kind cluster: one control plane, three workers in three zones"
kubeconfig=$(e2e/kind/up | tee >(cat >&2) | tail -n 1) ||
  fail "containers cannot run here; ./demo --local tells the story with processes"
export KUBECONFIG=$kubeconfig PATH=$(tools/setup-helm.sh):$PATH
done_in "Ready"
finish() {
  local status=$?
  k delete rediscluster demo --ignore-not-found --wait=false > /dev/null 2>&1 || true
  kubectl delete namespace $namespace --ignore-not-found > /dev/null 2>&1 || true
  if [ ${#installed[@]} != 0 ]; then
    helm uninstall "${installed[@]}" --namespace $operator_namespace > /dev/null 2>&1 || true
    kubectl delete namespace $operator_namespace --ignore-not-found > /dev/null 2>&1 || true
  fi
  # The chart keeps the definition.
  [ -z "$defined" ] || kubectl delete crd $definition > /dev/null 2>&1 || true
  [ -n "$clusters" ] || e2e/kind/down > /dev/null 2>&1 || true
  exit $status
}
trap finish EXIT

step "binaries and images"
tools/build-static.sh > /dev/null
e2e/kind/load > /dev/null 2> >(grep -v "podman" >&2)
done_in "built and loaded"

step "helm install"
if ! kubectl get crd $definition > /dev/null 2>&1; then
  defined=yes installed+=(redis-operator-crds)
  helm install redis-operator-crds charts/redis-operator-crds --namespace $operator_namespace --create-namespace > /dev/null
fi
if [ -n "$(kubectl get deployments --all-namespaces --selector=app.kubernetes.io/name=redis-operator --output=name)" ]; then
  echo "     an operator is here already; it is used"
else
  installed+=(redis-operator)
  helm install redis-operator charts/redis-operator --namespace $operator_namespace --create-namespace --wait > /dev/null
fi
done_in "the operator runs"

# What the operator says of the generation that was declared last.
says() { k get rediscluster demo --output="jsonpath=$1"; }
ranges() { says '{range .status.shards[*]}{.slots}{"\n"}{end}' | sort | tr '\n' ' '; }
is_ready() { # RANGES…: exactly these, and everything is as declared
  [ "$(says '{.metadata.generation} {.status.conditions[?(@.type=="Ready")].observedGeneration} {.status.conditions[?(@.type=="Ready")].status}')" = \
    "$(says '{.metadata.generation} {.metadata.generation} True')" ] && [ "$(ranges)" = "$(printf '%s\n' "$@" | sort | tr '\n' ' ')" ]
}
until_true() { # WHAT COMMAND…
  local what=$1 end=$((SECONDS + limit_s)); shift
  until "$@" 2> /dev/null; do
    [ $SECONDS -lt $end ] || { k describe rediscluster demo >&2; fail "$what not within $limit_s s"; }
    sleep 0.2
  done
}
show() { k get rediscluster demo; says '{range .status.shards[*]}     {.master}  {.slots}{"\n"}{end}'; }

step "kubectl apply: 3 masters with a replica each"
kubectl create namespace $namespace > /dev/null
k apply --filename=examples/three-masters.yaml
until_true "three masters" is_ready 0-5460 5461-10922 10923-16383
done_in "Ready"; show

step "write $keys keys"
write_keys cli
done_in "written"; check_keys cli

step "kubectl scale rediscluster demo --replicas=4"
k scale rediscluster demo --replicas=4
until_true "four masters" is_ready 1365-5460 6827-10922 12288-16383 0-1364,5461-6826,10923-12287
done_in "4096 slots each"; show; check_keys cli

step "a master dies: kubectl delete pod demo-1-0 --force"
k delete pod demo-1-0 --force --grace-period=0 --wait=false 2> /dev/null
another() { local now; now=$(says '{.status.shards[1].master}'); [ -n "$now" ] && [ "$now" != demo-1-0 ]; }
until_true "a new master of 6827-10922" another
done_in "its replica has taken over"
until_true "all as declared" is_ready 1365-5460 6827-10922 12288-16383 0-1364,5461-6826,10923-12287
done_in "the pod is back, as a replica"; show; check_keys cli

step "kubectl scale rediscluster demo --replicas=3"
k scale rediscluster demo --replicas=3
until_true "three masters again" is_ready 0-5460 5461-10922 10923-16383
done_in "back"; show; check_keys cli

step "kubectl delete rediscluster demo"
k delete rediscluster demo > /dev/null
k wait pod --all --for=delete --timeout=60s > /dev/null 2>&1 || true
[ -z "$(k get pods --output=name)" ] || fail "pods are left"
done_in "nothing is left of it"
