#!/usr/bin/env bash
# Installs what is missing, builds with sanitizers, runs every test, and closes with one line
# "N passed, N failed, N skipped".
#
#   tests/run.sh [--quick] [PYTEST ARGUMENTS…]
#
# --quick is for the time between two changes: one build, and of the tests of whole programs those
# files that take seconds. Leaves nothing behind but build/ and Debian packages.
set -u
top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top" || exit 1
# shellcheck source=tests/lib/install.sh
. tests/lib/install.sh

quick=0
words=()
for word in "$@"; do
    case $word in
    --quick) quick=1 ;;
    -h | --help) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) words+=("$word") ;;
    esac
done

passed=0 failed=0 skipped=0
count() { passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + $3)); }
finish() {
    echo "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
    exit
}
# One step that either works or not: step "what" command…
step() {
    local what=$1 log
    shift
    log=$(mktemp)
    echo "== $what"
    if "$@" >"$log" 2>&1; then
        count 1 0 0
        rm -f "$log"
        return 0
    fi
    tail -n 60 "$log"
    rm -f "$log"
    echo "FAILED: $what"
    count 0 1 0
    return 1
}

# postfix: never in the place of another mail server.
# shellcheck disable=SC2046
install_packages "${BUILD_PACKAGES[@]}" clang check strace python3 python3-pytest \
    python3-pytest-xdist python3-matplotlib procps socat curl openssl nginx-light apache2-utils wrk \
    redis-server redis-tools python3-redis python3-pymemcache postgresql postgresql-contrib \
    mariadb-server memcached openssh-server libnss-wrapper iperf3 haproxy dnsmasq-base iproute2 \
    nftables util-linux rsyslog logrotate mandoc systemd systemd-container debootstrap prometheus \
    chromium \
    $([ -e /usr/sbin/sendmail ] || echo postfix) || {
    count 0 1 0
    finish
}

configure() {
    local dir=$1
    shift
    if [ -e "$dir/build.ninja" ]; then
        meson configure "$dir" "$@" >/dev/null
    else
        meson setup "$dir" "$@"
    fi
}
build() {
    local dir=$1
    shift
    configure "$dir" "$@" && ninja -C "$dir"
}

sanitize=(-Db_sanitize=address,undefined -Db_lundef=false -Dbuildtype=debugoptimized)
step "build with gcc and sanitizers" build build/test "${sanitize[@]}" || finish
if [ $quick -eq 0 ]; then
    step "build with clang, warnings as errors" env CC=clang bash -c '
        [ -e build/clang/build.ninja ] || meson setup build/clang
        ninja -C build/clang' || true
    # With its unit tests: only an optimised build is told of results that nobody looks at.
    step "build a release with gcc, hardened" build build/release -Dbuildtype=release || true
fi

export ASAN_OPTIONS=detect_leaks=1:abort_on_error=0:exitcode=99
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
export CK_DEFAULT_TIMEOUT=120
export SLUICE_BUILD=$top/build/test SLUICE_RELEASE=$top/build/release
# Of the others each takes more than ten seconds, or needs the release.
slow=(packaging integration/test_build netns/test_{million,names,namespace,transparent}
    integration/test_{backends_file,buffer_memory,choose_backups,choose_queue,control_drain}
    integration/test_{control_edits,control_socket,control_storm,control_whole,fault_close,fault_hang}
    integration/test_{health_faults,health_kinds,health_presets,real_databases,real_transfer}
    integration/test_{reuse_crosstalk,reuse_real,reuse_room,reuse_show,send_proxy,status,tools}
    integration/test_{upgrade,urgent})
if [ $quick -eq 1 ]; then
    export SLUICE_QUICK=1
    for name in "${slow[@]}"; do
        [ -d "tests/$name" ] || name+=.py
        [ -e "tests/$name" ] || { echo "tests/run.sh: there is no tests/$name"; count 0 1 0; }
        words+=("--ignore=tests/$name")
    done
fi

# Unit tests: each program prints Check's own line, "100%: Checks: 12, Failures: 0, Errors: 0".
echo "== unit tests"
for program in build/test/tests/test_*; do
    [ -f "$program" ] && [ -x "$program" ] || continue
    log=$(mktemp)
    timeout 300 "$program" >"$log" 2>&1
    status=$?
    sums=$(sed -n 's/.*Checks: \([0-9]*\), Failures: \([0-9]*\), Errors: \([0-9]*\).*/\1 \2 \3/p' "$log" |
        awk '{c += $1; f += $2 + $3} END {print c + 0, f + 0}')
    read -r checks bad <<<"$sums"
    [ "$status" -ne 0 ] && [ "$bad" -eq 0 ] && bad=1 checks=$((checks + 1))
    count $((checks - bad)) "$bad" 0
    if [ "$bad" -ne 0 ]; then
        echo "FAILED: ${program##*/} (status $status)"
        tail -n 40 "$log"
    fi
    rm -f "$log"
done

# Fuzzers' corpora, replayed through the sanitized parsers.
echo "== fuzz corpora"
for program in build/test/tests/fuzz/replay_*; do
    [ -f "$program" ] && [ -x "$program" ] || continue
    step "replay ${program##*/}" timeout 300 "$program" || true
done

# Everything that drives the real programs; they mostly wait for each other.
processes=$(nproc)
[ "$processes" -le 4 ] || processes=4
echo "== integration tests"
results=$(mktemp --suffix=.xml)
timeout 3600 /usr/bin/python3 -m pytest -q -p no:cacheprovider --junitxml="$results" \
    -n "$processes" --dist loadfile tests "${words[@]}"
status=$?
sums=$(/usr/bin/python3 - "$results" <<'PY'
import sys, xml.etree.ElementTree as tree
try:
    suite = next(tree.parse(sys.argv[1]).iter("testsuite"))
    total, bad, skipped = (sum(int(suite.get(n)) for n in names.split())
                           for names in ("tests", "failures errors", "skipped"))
    print(total - bad - skipped, bad, skipped)
except Exception as error:
    print("no results:", error, file=sys.stderr)
    print(0, 1, 0)
PY
)
read -r good bad left <<<"$sums"
[ "$status" -ne 0 ] && [ "$bad" -eq 0 ] && bad=1
count "$good" "$bad" "$left"
rm -f "$results"
finish
