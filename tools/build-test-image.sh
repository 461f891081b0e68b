#!/usr/bin/env bash
# The image of the checked writer, which the tests on Kubernetes run in a pod: built like the two that users get, and no
# part of what they build. The last line is the archive's path. TAG is its tag [default: the workspace's version].
set -euo pipefail
cd "$(dirname "$0")/.."
built=$(tools/build-static.sh --where)
out=$(realpath -m "${CARGO_TARGET_DIR:-target}")/images
tag=${TAG:-$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)}
name=checked-writer

tools/build-static.sh --no-default-features e2e:$name >&2
mkdir -p "$out/binaries"
objcopy --strip-debug "$built/$name" "$out/binaries/$name"
chmod 755 "$out/binaries/$name"
digest=$(tools/oci_archive.py containerfile "$out/$name.tar" e2e/Containerfile $name "$out/binaries" "docker.io/slotkeeper/$name:$tag")
echo "slotkeeper/$name:$tag $digest $(du -h "$out/$name.tar" | cut -f1)" >&2
echo "$out/$name.tar"
