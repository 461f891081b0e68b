# Sourced by the scripts of this folder: versions, places and the few functions they share.
# KUBERNETES chooses the version (1.37.2 by default, 1.34.4 the oldest supported), CLUSTER the name of the kind cluster.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repository=$(cd "$here/../.." && pwd)

kubernetes=${KUBERNETES:-1.37.2}
kubernetes_minor=$(cut -d. -f2 <<<"$kubernetes")
etcd_version=3.6.5 coredns_version=1.14.7 local_path_version=0.0.30 kind_version=0.33.0

# Everything that takes minutes to build lives outside the tree, so that a clean clone finds it again.
cache=${SLOTKEEPER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/slotkeeper}/kind
programs=$cache/programs
# Clusters of different versions may run side by side; the default one has the short names that people look for.
default_cluster=slotkeeper
[ "$kubernetes" = 1.37.2 ] || default_cluster=slotkeeper-${kubernetes//./-}
cluster=${CLUSTER:-$default_cluster}
kubeconfig=$cache/kubeconfig
[ "$cluster" = slotkeeper ] || kubeconfig=$cache/$cluster.kubeconfig
mkdir -p "$programs"

say() { printf '%s  %s\n' "$(date +%T)" "$*"; }

# Two callers must not build the same thing at once: the second waits and then finds it built.
locked() { # NAME COMMAND…
  local name=$1; shift
  (
    if ! flock --nonblock 9; then say "waiting for another run that holds $cache/$name.lock" >&2; flock 9; fi
    "$@" 9>&-  # what it leaves running (a container) must not keep the lock
  ) 9> "$cache/$name.lock"
}

# podman on a machine whose limits cannot be raised (a sandbox, CI): see containers.conf.
use_podman() {
  export KIND_EXPERIMENTAL_PROVIDER=podman CONTAINERS_CONF=${CONTAINERS_CONF:-$here/containers.conf}
}

packaged_image=localhost/kindest/node:v$kubernetes
packaged_image_exists() { (use_podman; command -v podman > /dev/null && podman image exists "$packaged_image"); }

# The engine that runs the nodes: docker or podman with a pulled kindest/node, else "packages" (podman with the image
# that build-node-image makes). NODE_IMAGE_FROM=pull|packages chooses; otherwise what is at hand comes first.
node_image_from() {
  local engine
  case ${NODE_IMAGE_FROM:-} in
    packages) echo packages; return ;;
    pull) ;;
    "") if packaged_image_exists; then echo packages; return; fi ;;
    *) echo "NODE_IMAGE_FROM is '$NODE_IMAGE_FROM': say pull or packages" >&2; return 2 ;;
  esac
  for engine in docker podman; do
    if command -v $engine > /dev/null && timeout 10 $engine info > /dev/null 2>&1 && can_pull $engine; then
      echo $engine; return
    fi
  done
  if [ "${NODE_IMAGE_FROM:-}" = pull ]; then echo "no engine here can pull kindest/node:v$kubernetes" >&2; return 1; fi
  echo packages
}

can_pull() { # ENGINE
  "$1" image inspect "kindest/node:v$kubernetes" > /dev/null 2>&1 ||
    timeout 600 "$1" pull --quiet "docker.io/kindest/node:v$kubernetes" > /dev/null 2>&1
}

# kind, helm and kubectl, first in the PATH.
use_tools() {
  local tools
  tools=$("$repository/tools/setup-helm.sh")
  mkdir -p "$cache/bin"
  ln -sf "$("$here/build-programs" kind)" "$cache/bin/kind"
  export PATH=$cache/bin:$tools:$PATH KUBECONFIG=$kubeconfig
}

# What runs the nodes of the cluster that exists, as `up` noted it; fails when there is none.
existing_engine() { cat "$cache/$cluster.engine" 2> /dev/null; }

# Points kind at an engine as node_image_from names it.
use_engine() { # ENGINE
  case $1 in
    docker) export KIND_EXPERIMENTAL_PROVIDER=docker engine=docker ;;
    podman) export KIND_EXPERIMENTAL_PROVIDER=podman engine=podman ;;
    packages) use_podman; export engine=podman ;;
  esac
}

node_containers() { "$engine" ps --all --quiet --filter "label=io.x-k8s.kind.cluster=$cluster"; }
