#!/usr/bin/env bash
# Run the fuzzing tests at length: tests/fuzz.sh COMMANDS SECONDS [pytest arguments]
#
# One round tries COMMANDS in every test marked `fuzz`. Rounds with new examples follow until SECONDS
# have passed, or until one fails; what failed is kept in .hypothesis and tried first next time.
set -euo pipefail

commands=$1
duration=$2
shift 2

export DISTCACHE_FUZZ_COMMANDS=$commands
rounds=0
SECONDS=0
while ((rounds == 0 || SECONDS < duration)); do
    python -m pytest -m fuzz --timeout 0 "$@"
    rounds=$((rounds + 1))
done
echo "$rounds rounds of $commands commands in $SECONDS s"
