#!/usr/bin/env bash
# The pure crates may not even link what does I/O. (Their clippy.toml files forbid clocks, sleeps and files.)
set -euo pipefail
pure="node-server-protocol node-server-cluster node-server-engine node-server-rdb operator-planner operator-api"
forbidden='^(tokio|hyper|mio|socket2|kube-client|kube-runtime|async-std|reqwest) '
status=0
for crate in $pure; do
  if found=$(cargo tree --locked -q -p "$crate" -e normal --prefix none | grep -E "$forbidden" | sort -u); then
    echo "$crate is pure and must not depend on: $found"
    status=1
  fi
done
[ $status = 0 ] && echo "pure: $pure"
exit $status
