#!/usr/bin/env bash
# Runs every check, or those named: `make test`, `make test ARGS='lint unit'`.
#
# Sees first that everything is here which they need (scripts/setup.sh). A check
# that fails does not end the run. Ends with the time of each one and one line,
# N passed, N failed; one that fails before it counted any test (a build, a lint,
# the licences) counts as one failure.
set -uo pipefail

cd "$(dirname "$0")/.." || exit
all=(lint unit e2e e2e-module chart fuzz costs test-kube docs deny lint-supply-chain)
[[ $# -gt 0 ]] || set -- "${all[@]}"
passed=0 failed=0 times=()

# Runs a check and adds up the tests that cargo and pytest report.
check() {
    local log status counted began=$SECONDS word=ok
    log=$(mktemp)
    make --no-print-directory "$1" ARGS= 2>&1 | tee "$log"
    status=${PIPESTATUS[0]}
    counted=$(awk '
        /^test result: / || /^=+ .*(passed|failed|error).* in [0-9.]+s/ {
            for (i = 2; i <= NF; i++) {
                if ($i ~ /^passed/) passed += $(i - 1)
                if ($i ~ /^(failed|errors?)/) failed += $(i - 1)
            }
        }
        END { print passed + 0, failed + 0 }' "$log")
    rm -f "$log"
    passed=$((passed + ${counted% *}))
    failed=$((failed + ${counted#* }))
    if [[ $status -ne 0 ]]; then
        word=FAILED
        [[ ${counted#* } -gt 0 ]] || failed=$((failed + 1))
    fi
    times+=("$(printf '%-18s %3d min %02d s  %s' "$1" $(((SECONDS - began) / 60)) $(((SECONDS - began) % 60)) "$word")")
}

finish() {
    printf '\n'
    [[ ${#times[@]} -eq 0 ]] || printf '%s\n' "${times[@]}"
    echo "$passed passed, $failed failed"
    [[ $failed -eq 0 ]]
    exit
}

for name in "$@"; do
    [[ " ${all[*]} " == *" $name "* ]] || { echo "no check '$name'; there are: ${all[*]}" >&2; exit 2; }
done
scripts/setup.sh test || { failed=1; finish; }
export PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
for name in "$@"; do
    check "$name"
done
finish
