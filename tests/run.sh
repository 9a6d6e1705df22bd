#!/bin/bash
# Everything that is tested, in one go; the last line sums all test binaries up.
#
# A step that isn't a test (format, lints, a build) counts as one more failure if it fails.
set -u
cd "$(dirname "$0")/.." || exit 1
cargo=${CARGO:-cargo}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
passed=0 failed=0

# step NAME COMMAND...
step() {
    local name=$1 status
    shift
    echo "== $name"
    "$@" 2>&1 | tee "$log"
    status=${PIPESTATUS[0]}
    local counted=0
    while read -r good bad; do
        passed=$((passed + good)) failed=$((failed + bad)) counted=$((counted + bad))
    done < <(sed -nE 's/^test result: [A-Za-z]+\. ([0-9]+) passed; ([0-9]+) failed;.*/\1 \2/p' "$log")
    # Whatever fails without a failed test (doesn't compile, is killed) must not pass unseen.
    if [ "$status" -ne 0 ] && [ "$counted" -eq 0 ]; then
        echo "== $name failed with status $status"
        failed=$((failed + 1))
    fi
}

step format "$cargo" fmt --all --check
step lints "$cargo" clippy --workspace --all-targets --locked -- -D warnings
step 'unit tests' "$cargo" test --workspace --exclude interlock-tests --locked --no-fail-fast
step model "$cargo" run --quiet --locked --profile model -p interlock-model
step 'integration tests' "$cargo" test -p interlock-tests --locked --no-fail-fast

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
