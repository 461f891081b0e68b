# Sourced by the demos: steps with their times.
begun=$(date +%s%N)
step() { begun=$(date +%s%N); printf '\n\033[1m== %s\033[0m\n' "$1"; }
done_in() { awk -v a="$begun" -v b="$(date +%s%N)" -v what="$1" 'BEGIN {printf "== %s in %.2f s\n", what, (b - a) / 1e9}'; }
fail() { echo "FAILED: $*" >&2; exit 1; }

# Writes and reads `keys` keys with a client that takes commands from standard input.
write_keys() { # CLIENT…
  for i in $(seq "$keys"); do echo "SET key:$i value-$i"; done | "$@" | grep -cx OK | grep -qx "$keys" || fail "not every SET was acknowledged"
}
check_keys() { # CLIENT…
  local right
  right=$(for i in $(seq "$keys"); do echo "GET key:$i"; done | "$@" | grep -v Redirected | awk '{n++; if ($0 == "value-" n) right++} END {print right + 0}')
  [ "$right" = "$keys" ] || fail "$right of $keys keys have their value"
  echo "     all $keys keys have their value"
}
