#!/usr/bin/env bash
# ./demo --local, the story of the README with processes: declares a Redis Cluster, writes, scales to 4 masters, kills a master, scales
# back to 3, and checks every step. Needs Debian 12 with Rust (root only to install packages). Ends by itself and
# leaves nothing behind.
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/demo-steps.sh

keys=2000 port_base=${PORT_BASE:-7000} limit_s=90
tools/setup.sh --demo
tools/build-static.sh >/dev/null
bin=$(realpath -m "$(tools/build-static.sh --where)")
work=$(mktemp -d)
operator_pid=""
finish() {
  local status=$?
  if [ -n "$operator_pid" ] && kill "$operator_pid" 2>/dev/null; then wait "$operator_pid" || true; fi
  rm -rf "$work"
  exit $status
}
trap finish EXIT

cli() { redis-cli -h 127.0.0.1 "$@"; }

# Waits for a condition, with a bound.
until_true() { # WHAT COMMAND…
  local what=$1 end=$((SECONDS + limit_s)); shift
  until "$@"; do
    [ $SECONDS -lt $end ] || fail "$what not within $limit_s s"
    kill -0 "$operator_pid" 2>/dev/null || fail "the operator has ended"
    sleep 0.05
  done
}

# "PORT RANGES" of every master with slots, by the lowest slot, as the node at port $1 sees it.
owners() {
  cli -p "$1" cluster nodes 2>/dev/null | awk '$3 ~ /master/ && $3 !~ /fail/ && NF > 8 {
    split($2, a, /[:@]/); r = ""; for (i = 9; i <= NF; i++) if ($i !~ /^\[/) r = r (r == "" ? "" : ",") $i; print a[2], r }' | sort -t' ' -k2,2n
}
ranges() { owners "$1" | cut -d' ' -f2 | sort | tr '\n' ' '; }
has_ranges() { # PORT RANGES…: exactly these, and everybody serves
  local port=$1; shift
  [ "$(ranges "$port")" = "$(printf '%s\n' "$@" | sort | tr '\n' ' ')" ] && [ "$(cli -p "$port" cluster info | grep -c cluster_state:ok)" = 1 ]
}
known() { [ "$(cli -p "$1" cluster info 2>/dev/null | tr -d '\r' | grep cluster_known_nodes: | cut -d: -f2)" = "$2" ]; }
show() { owners "$1" | while read -r port slots; do printf '     127.0.0.1:%s  %s\n' "$port" "$slots"; done; }
set_masters() { sed -i "s/masters: .*/masters: $1/" "$work/demo.yaml"; }

cp examples/three-masters.yaml "$work/demo.yaml"
one=$((port_base + 1))

step "kubectl apply, so to speak: 3 masters with a replica each"
"$bin/operator" local "$work/demo.yaml" --dir "$work/demo" --port-base "$port_base" &
operator_pid=$!
until_true "three masters" has_ranges $one 0-5460 5461-10922 10923-16383
done_in "slots served"; show $one

step "write $keys keys"
write_keys cli -c -p $one
done_in "written"; check_keys cli -c -p $one

step "masters: 4"
set_masters 4
until_true "four masters" has_ranges $one 1365-5460 6827-10922 12288-16383 0-1364,5461-6826,10923-12287
done_in "4096 slots each"; show $one; check_keys cli -c -p $one

step "kill -9 a master"
victim=$((port_base + 2))
until_true "eight nodes" known $one 8
kill -9 "$(cat "$work/demo/redis02/log/redis.pid")"
replaced() { local now; now=$(owners $one | awk '$2 ~ /^6827-10922/ {print $1}'); [ -n "$now" ] && [ "$now" != $victim ] && cli -p "$now" cluster info | grep -q cluster_state:ok; }
until_true "a new master of 6827-10922" replaced
done_in "a replica has taken over"; show $one; check_keys cli -c -p $one

step "masters: 3"
set_masters 3
until_true "three masters again" has_ranges $one 0-5460 5461-10922 10923-16383
until_true "six nodes" known $one 6
done_in "back"; show $one; check_keys cli -c -p $one

step "Ctrl-C"
kill -INT $operator_pid; wait $operator_pid || true; operator_pid=""
! pgrep -f "$work/demo" >/dev/null || fail "processes are left"
done_in "stopped, nothing left"
