#!/usr/bin/env bash
# Runs the simulation with release speed; arguments go to it (--seeds N, --mutants, --reproduce SEED).
set -euo pipefail
exec cargo run --quiet --locked --release -p e2e-simulation -- "$@"
