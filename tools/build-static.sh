#!/usr/bin/env bash
# Builds both binaries as fully static glibc executables and proves that they are. --where prints only the directory.
# [--no-default-features] PACKAGE:BINARY… builds these instead.
set -euo pipefail
target=x86_64-unknown-linux-gnu
directory=${CARGO_TARGET_DIR:-target}/$target/release
if [ "${1:-}" = --where ]; then echo "$directory"; exit; fi
which=()
if [ "${1:-}" = --no-default-features ]; then which+=("$1"); shift; fi
[ $# -gt 0 ] || set -- node-server:node-server operator:operator
for binary in "$@"; do which+=(--package "${binary%:*}" --bin "${binary#*:}"); done
RUSTFLAGS="-C target-feature=+crt-static" cargo build --quiet --locked --release --target $target "${which[@]}"
for binary in "$@"; do
  binary=${binary#*:}
  if ldd "$directory/$binary" 2>&1 | grep -q '=>'; then
    echo "$binary is not static:"; ldd "$directory/$binary"; exit 1
  fi
  echo "$directory/$binary: static, $(du -h "$directory/$binary" | cut -f1)"
done
