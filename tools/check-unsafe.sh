#!/usr/bin/env bash
# Unsafe code is in one module alone, node-server/engine/src/keyspace/thin.rs, and the tests of the tables on it run under
# Miri. Without a nightly toolchain that has it they run under valgrind, which sees less.
set -euo pipefail
cd "$(dirname "$0")/.."
module=node-server/engine/src/keyspace/thin.rs
if found=$(git grep -nE '\bunsafe\b *(\{|fn|impl|extern|trait)|allow\(unsafe_code' -- '*.rs' ":!$module"); then
  echo "unsafe code outside of $module: $found"
  exit 1
fi
tests=keyspace::table_tests
if cargo +nightly miri --version >/dev/null 2>&1; then
  # No seeds are kept: Miri lets nothing be written.
  MIRIFLAGS="-Zmiri-strict-provenance" CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/miri" \
    cargo +nightly miri test --quiet --locked -p node-server-engine --lib "$tests"
  echo "Miri: nothing found"
elif command -v valgrind >/dev/null; then
  program=$(cargo test --locked -p node-server-engine --lib --no-run --message-format=json 2>/dev/null \
    | python3 -c 'import json, sys
for line in sys.stdin:
    item = json.loads(line)
    if item.get("executable"): print(item["executable"])' | tail -1)
  PROPTEST_CASES=16 valgrind --quiet --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite \
    "$program" --test-threads=1 "$tests"
  echo "valgrind: nothing found (Miri is not there: rustup +nightly component add miri rust-src)"
else
  echo "neither Miri (rustup +nightly component add miri rust-src) nor valgrind is there"
  exit 1
fi
