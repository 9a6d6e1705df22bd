#!/bin/bash
# libFuzzer over all targets, or one: fuzz.sh DURATION [TARGET]. Each gets its share of the time.
#
# New inputs go into target/fuzz/TARGET, what panics into tests/fuzz/crashes/TARGET, where it is a test from then on.
# A table of executions comes last; the status is 1 if anything panicked.
set -u
cd "$(dirname "$0")/../.." || exit 1
case ${1:?DURATION: 90s, 10m or 2h} in
*h) seconds=$((${1%h} * 3600)) ;;
*m) seconds=$((${1%m} * 60)) ;;
*) seconds=${1%s} ;;
esac
work=${CARGO_TARGET_DIR:-target}/fuzz
targets=${2:-$(ls tests/fuzz/corpus)}
read -ra all <<<"$(echo $targets)"
share=$((seconds / ${#all[@]}))
cargo fuzz --version >/dev/null 2>&1 || { echo 'cargo install cargo-fuzz first'; exit 69; }
# Without a sanitizer it is built by the stable compiler; there is no unsafe code of ours to watch.
cargo fuzz build --fuzz-dir tests/fuzz/libfuzzer --sanitizer none any || exit 1
failed=0 total=0 table=
for target in "${all[@]}"; do
    mkdir -p "$work/$target" "tests/fuzz/crashes/$target"
    echo "== $target, $share s"
    INTERLOCK_FUZZ_TARGET=$target cargo fuzz run --fuzz-dir tests/fuzz/libfuzzer --sanitizer none any \
        "$work/$target" "tests/fuzz/corpus/$target" -- \
        -max_total_time="$share" -max_len=65536 -timeout=10 -rss_limit_mb=4096 -print_final_stats=1 \
        -artifact_prefix="tests/fuzz/crashes/$target/" >"$work/$target.log" 2>&1
    status=$?
    count=$(sed -n 's/^stat::number_of_executed_units: *//p' "$work/$target.log")
    total=$((total + ${count:-0}))
    table+=$(printf '%-14s %12s executions, %s\n' "$target" "${count:-0}" "$([ $status = 0 ] && echo ok || echo "FAILED, see $work/$target.log")")$'\n'
    [ $status = 0 ] || failed=1
    rmdir --ignore-fail-on-non-empty "tests/fuzz/crashes/$target"
done
rmdir --ignore-fail-on-non-empty tests/fuzz/crashes
printf '%s%-14s %12s executions\n' "$table" total "$total"
exit $failed
