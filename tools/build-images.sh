#!/usr/bin/env bash
# Turns the static binaries (tools/build-static.sh, run when they are not there) into image archives, without an engine
# and reproducibly. The last two lines are the archives' paths. TAG is the images' tag [default: the workspace's version].
#   kind load image-archive FILE, podman load -i FILE, docker load -i FILE
#   --where     prints only the paths
#   --binaries  makes only the stripped binaries that a Containerfile copies, and prints their directory
set -euo pipefail
cd "$(dirname "$0")/.."
built=$(tools/build-static.sh --where)
out=$(realpath -m "${CARGO_TARGET_DIR:-target}")/images
tag=${TAG:-$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)}
names="node-server operator"

# Without debug sections (line tables are six times the code); function names stay, so that a backtrace says something.
binaries() {
  local name
  for name in $names; do
    [ -x "$built/$name" ] || { tools/build-static.sh; break; }
  done
  mkdir -p "$out/binaries"
  for name in $names; do
    objcopy --strip-debug "$built/$name" "$out/binaries/$name"
    chmod 755 "$out/binaries/$name"
  done
}

images() {
  local name digest
  for name in $names; do
    digest=$(tools/oci_archive.py containerfile "$out/$name.tar" tools/Containerfile "$name" "$out/binaries" \
      "docker.io/slotkeeper/$name:$tag")
    echo "slotkeeper/$name:$tag $digest $(du -h "$out/$name.tar" | cut -f1)"
  done
}

case ${1:-} in
  --where) ;;
  --binaries) binaries; echo "$out/binaries"; exit ;;
  "") binaries; images ;;
  *) echo "usage: tools/build-images.sh [--where|--binaries]" >&2; exit 2 ;;
esac
for name in $names; do echo "$out/$name.tar"; done
