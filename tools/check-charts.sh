#!/usr/bin/env bash
# The charts: they follow crds/, helm accepts them strictly, wrong values are refused by their schemas, and what they
# render keeps its promises (tools/check-rendered-charts.py). Needs no cluster.
set -euo pipefail
cd "$(dirname "$0")/.."
python3 -c 'import yaml' 2> /dev/null || {
  echo "installing the Debian package python3-yaml"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-yaml > /dev/null
}
PATH=$(tools/setup-helm.sh):$PATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tools/generate-charts.py --check

for chart in charts/*/; do helm lint --quiet --strict "$chart"; done

render() { helm template "$@"; }
refused() { # WHY CHART VALUES…: the schema must say no, and name the place
  local why=$1; shift
  if helm template test "$@" > /dev/null 2> "$work/refusal"; then echo "not refused: $why ($*)"; exit 1; fi
  grep -q "values don't meet the specifications of the schema" "$work/refusal" ||
    { echo "refused, but not by the schema: $why"; cat "$work/refusal"; exit 1; }
}

refused "three operators"             charts/redis-operator --set replicas=3
refused "a misspelt value"            charts/redis-operator --set replica=1
refused "a misspelt value below"      charts/redis-operator --set image.tags=1
refused "an unknown log format"       charts/redis-operator --set logFormat=xml
refused "nobody's service account"    charts/redis-operator --set serviceAccount.create=false
refused "a value where none is"       charts/redis-operator-crds --set keep=false
refused "no master"                   charts/redis-cluster --set spec.masters=0
refused "masters as text"             charts/redis-cluster --set-string spec.masters=three
refused "six replicas"                charts/redis-cluster --set spec.replicasPerMaster=6
refused "a misspelt field"            charts/redis-cluster --set spec.replicas=3
refused "half a range"                charts/redis-cluster --set spec.masters=1 --set-json 'spec.slots=[{"ranges":["0-"]}]'
refused "a name with a capital"       charts/redis-cluster --set name=Demo
echo "wrong values are refused"

render op charts/redis-operator --namespace slotkeeper > "$work/one.yaml"
render op charts/redis-operator --namespace slotkeeper --set replicas=2 > "$work/two.yaml"
render op charts/redis-operator --namespace slotkeeper --set watchNamespace=shop > "$work/scoped.yaml"
render op charts/redis-operator --namespace slotkeeper --values tools/chart-values.yaml > "$work/all.yaml"
render crds charts/redis-operator-crds > "$work/crds.yaml"
render demo charts/redis-cluster --namespace shop > "$work/cluster.yaml"
render demo charts/redis-cluster --namespace shop --set spec.masters=2 --set spec.config.maxmemory=1000000000 \
  --set-json 'spec.slots=[{"ranges":["0-99"]},{"ranges":["100-16383"]}]' > "$work/ranges.yaml"
tools/check-rendered-charts.py "$work"
