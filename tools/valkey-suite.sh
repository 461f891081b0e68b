#!/usr/bin/env bash
# Runs the files of Valkey's own Tcl suite about RDB, AOF, replication and PSYNC2 against the node, one after the other.
#
#   VALKEY_SRC=DIR tools/valkey-suite.sh [FILE...]     e.g. rdb aof-multi-part; none: all below
#
# VALKEY_SRC       a checkout of Valkey 9.1 (its tests/ is enough); it is no part of this project and stays unchanged
#                  but for tests/tmp
# NODE_SERVER_BIN  the node                          [default: tools/build-static.sh --where]
# VALKEY_SERVER_BIN  another server, for tests between versions [default: Valkey in ~/.cache/slotkeeper]
# SUITE_SECONDS    how long one file may take        [default: 240]
# SUITE_PORT       first of 900 ports for servers    [default: 25100]
# SUITE_LOGS       where the whole output goes       [default: a new directory in /tmp]
#
# Per file it prints passed, failed, skipped and the seconds it took; below it the name of each test that failed with the
# first line of why. «block» is a part of a file that ended in an error outside any test, so that what follows in it did
# not run. The suite itself cuts off the first ten characters of errors that are no failed comparisons. Always ends with
# 0: what passes is written down in docs/compatibility.md.
set -uo pipefail
cd "$(dirname "$0")/.."
: "${VALKEY_SRC:?the directory of a checkout of Valkey 9.1}"
node=$(realpath "${NODE_SERVER_BIN:-$(tools/build-static.sh --where)/node-server}")
other=${VALKEY_SERVER_BIN:-${SLOTKEEPER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/slotkeeper}/valkey/valkey-server}
seconds=${SUITE_SECONDS:-240}
port=${SUITE_PORT:-25100}
logs=${SUITE_LOGS:-$(mktemp -d /tmp/valkey-suite.XXXXXX)}

files=(
  rdb valkey-check-rdb corrupt-dump corrupt-dump-fuzzer skip-rdb-checksum
  convert-zipmap-hash-on-load convert-ziplist-hash-on-load convert-ziplist-zset-on-load
  aof aof-race aof-multi-part replication-aof-sync
  replication replication-2 replication-3 replication-4 replication-psync replication-buffer
  psync2 psync2-reg psync2-pingoff psync2-master-restart
  block-repl dual-channel-replication cross-version-replication failover replica-redirect shutdown
)
[ $# -eq 0 ] || files=("$@")

# The programs that the suite starts, under Valkey's names.
programs=$(mktemp -d)
trap 'rm -rf "$programs"' EXIT
ln -s "$node" "$programs/valkey-server"
ln -s "$(command -v redis-cli)" "$programs/valkey-cli"
ln -s "$(command -v redis-benchmark)" "$programs/valkey-benchmark"
for kind in rdb aof; do
  printf '#!/bin/sh\nexec "%s" check %s "$@"\n' "$node" "$kind" > "$programs/valkey-check-$kind"
  chmod 755 "$programs/valkey-check-$kind"
done

# Whatever the suite has started is in the process group that timeout makes, and ends with it.
run() {
  local extra=()
  [ ! -x "$other" ] || extra=(--other-server-path "$other")
  (cd "$VALKEY_SRC" && VALKEY_BIN_DIR=$programs timeout --kill-after=10 "$seconds" tclsh tests/test_helper.tcl \
    --single "integration/$1" --clients 1 --durable --timeout 120 --baseport "$port" --portcount 900 "${extra[@]}") \
    > "$logs/$1.log" 2>&1
}

# Reads a log: the counts, then what failed. Colours are taken out first. A test whose server did not start runs no line
# of its own and ends well all the same: it is counted as failed.
summary() {
  sed 's/\x1b\[[0-9;]*m//g' "$1" | awk -v name="$2" -v took="$3" -v limit="$seconds" '
    function end_start() {
      if (!starting) return
      starting = 0
      if (within != "") { never[within] = 1; why[failed] = within }
      why[failed] = why[failed] ": the server did not start: " reason
    }
    /^\[[a-z]+\]: / { end_start() }
    /\[exception\]/ { why[++failed] = "block: " $0; next }
    /The End/ { end_start(); ended = 1; exit }
    /^\[ok\]/ {
      test = $0; sub(/^\[ok\]: /, "", test); sub(/ \([0-9]+ ms\)$/, "", test)
      # With --durable an error in a server that the test has started ends only that server, and the test ends well.
      if (doubtful) { why[failed] = test substr(why[failed], 6) } else if (!(test in never)) passed++
    }
    /^\[[a-z]+\]: / { doubtful = 0 }
    /^\[(skip|ignore)\]/ { skipped++ }
    /^\[err\]: Can.t start / { why[++failed] = "block"; starting = 1; within = ""; reason = ""; next }
    /^\[err\]/ {
      line = substr($0, 8)
      if (line ~ / in tests\/.*\.tcl/) { sub(/ in tests\/.*\.tcl.*/, "", line); wanted = 1 } else { line = "block: " line; doubtful = 1 }
      why[++failed] = line; next
    }
    starting && /^### Starting server for test / {
      within = $0; sub(/^### Starting server for test /, "", within); sub(/ in tests\/.*/, "", within)
    }
    starting && /^Configuration issue/ { reason = $0 }
    starting && (/ # / || /^>>>/) { reason = $0; sub(/^.* # /, "", reason) }
    # A server that a test has started is taken down by an error first, and only then the test ends with this one.
    wanted && /not known in dictionary/ && why[failed - 1] ~ /^block: / {
      why[failed - 1] = why[failed] substr(why[failed - 1], 6); failed--; wanted = 0
    }
    wanted { why[failed] = why[failed] ": " $0; wanted = 0 }
    END {
      printf "%-30s passed %3d  failed %3d  skipped %3d  %4d s%s\n", name, passed, failed, skipped, took,
        ended ? "" : (took >= limit ? "  (stopped: time)" : "  (stopped: error)")
      for (n = 1; n <= failed; n++) print "    " substr(why[n], 1, 240)
    }'
}

for file in "${files[@]}"; do
  began=$SECONDS
  run "$file"
  summary "$logs/$file.log" "$file" $((SECONDS - began))
done
echo "whole output: $logs"
