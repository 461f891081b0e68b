#!/usr/bin/env bash
# The images: the same binaries give the same digests whatever the clock, the umask and the directory; each holds one
# static file; podman, when it is here, builds the same files and settings from the Containerfile.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tools/build-images.sh > "$work/first"
cat "$work/first"
binaries=$(dirname "$(tail -n 1 "$work/first")")/binaries
fail() { echo "$1" >&2; exit 1; }

for name in node-server operator; do
  archive=$(grep "/$name.tar$" "$work/first") digest=$(sed -n "s|^slotkeeper/$name:[^ ]* \(sha256:[0-9a-f]*\) .*|\1|p" "$work/first")
  reference=$(sed -n "s|^slotkeeper/\($name:[^ ]*\) .*|\1|p" "$work/first")
  # Elsewhere, by another umask, with other times on the files.
  mkdir -p "$work/elsewhere"
  (umask 077; cp "$binaries/$name" "$work/elsewhere/$name"; touch -d 2001-01-01 "$work/elsewhere/$name"
   tools/oci_archive.py containerfile "$work/$name.tar" tools/Containerfile "$name" "$work/elsewhere" \
     "docker.io/slotkeeper/$reference") > "$work/second"
  [ "$(cat "$work/second")" = "$digest" ] || fail "$name: a second build has $(cat "$work/second"), the first $digest"
  cmp "$archive" "$work/$name.tar" || fail "$name: two builds differ"
  # A change of the binary must change the digest: this check can fail.
  printf x >> "$work/elsewhere/$name"
  changed=$(tools/oci_archive.py containerfile "$work/$name.tar" tools/Containerfile "$name" "$work/elsewhere" x:y)
  [ "$changed" != "$digest" ] || fail "$name: another binary has the same digest"
  if ldd "$binaries/$name" 2>&1 | grep -q '=>'; then fail "$name is not static"; fi
  "$binaries/$name" --version > /dev/null || fail "$name --version fails"
  echo "$name: reproducible, $digest"
done

if command -v podman > /dev/null; then
  export CONTAINERS_CONF=${CONTAINERS_CONF:-$PWD/e2e/kind/containers.conf}
  for name in node-server operator; do
    podman build --quiet --file tools/Containerfile --target "$name" --tag "localhost/slotkeeper-check/$name" "$binaries" > /dev/null
    podman save --quiet --format oci-archive --output "$work/podman-$name.tar" "localhost/slotkeeper-check/$name"
    podman rmi --force "localhost/slotkeeper-check/$name" > /dev/null
    tools/compare-images.py "$(grep "/$name.tar$" "$work/first")" "$work/podman-$name.tar"
  done
fi
