# Sourced by ./test: runs steps, keeps their output, counts what passed.
# A step that runs cargo tests counts each test; any other step counts as one.
passed=0 failed=0 failed_steps=() skipped=()
logs=$(mktemp -d)
WHY_LINES=20 WHY_WIDTH=400 WHY_MAX=80

step() { # NAME COMMAND…
  local name=$1 log rc start=$SECONDS; shift
  log=$logs/$((passed + failed)).log
  printf '\n=== %s  (%s)\n' "$name" "$*"
  "$@" > >(tee "$log") 2>&1
  rc=$?
  local ok bad
  ok=$(grep -oE '^test result: .* ([0-9]+) passed' "$log" | grep -oE '[0-9]+ passed' | awk '{n+=$1} END {print n+0}')
  bad=$(grep -oE '^test result: .* [0-9]+ failed' "$log" | grep -oE '[0-9]+ failed' | awk '{n+=$1} END {print n+0}')
  if [ "$ok" = 0 ] && [ "$bad" = 0 ]; then
    if [ $rc = 0 ]; then ok=1; else bad=1; fi
  elif [ $rc != 0 ] && [ "$bad" = 0 ]; then
    bad=1
  fi
  passed=$((passed + ok)) failed=$((failed + bad))
  [ "$bad" = 0 ] || { failed_steps+=("$name"); why "$log" >> "$logs/why"; }
  printf '=== %s: %s in %s s (%s passed, %s failed)\n' "$name" "$([ "$bad" = 0 ] && echo ok || echo FAILED)" \
    $((SECONDS - start)) "$ok" "$bad"
}

# What a failed step's output says of the cause, without backtraces: each panic, or the last lines.
why() { # LOG
  if grep -q 'panicked at' "$1"; then
    grep -A "$WHY_LINES" 'panicked at' "$1" | grep -vE '^ *([0-9]+: |at |stack backtrace:|note: )' | cut -c "1-$WHY_WIDTH" | head -n "$WHY_MAX"
  else
    tail -n "$WHY_LINES" "$1" | cut -c "1-$WHY_WIDTH"
  fi
}

# Whether so many minutes are left of BUDGET_MIN, counted from the beginning; else what is left out is said at the end.
within_budget() { # WHAT MINUTES
  local left=$(( ${BUDGET_MIN:-100000} - SECONDS / 60 ))
  [ "$left" -lt "$2" ] || return 0
  skipped+=("$1: it may take $2 minutes, and $left of BUDGET_MIN=$BUDGET_MIN are left")
  return 1
}

finish() {
  [ ! -s "$logs/why" ] || { printf '\nwhat failed said\n'; cat "$logs/why"; }
  rm -rf "$logs"
  printf '\n%s s in all\n' "$SECONDS"
  for what in "${skipped[@]}"; do printf 'SKIPPED: %s\n' "$what"; done
  for name in "${failed_steps[@]}"; do printf 'FAILED: %s\n' "$name"; done
  printf '%s passed, %s failed\n' "$passed" "$failed"
  [ "$failed" = 0 ]
}
