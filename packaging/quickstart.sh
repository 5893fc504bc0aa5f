#!/usr/bin/env bash
# Sluice in one command: installs what is missing, builds a release, starts three demo origins and
# the balancer in front of them, sends requests through it, prints the spread and the live figures,
# and keeps running until Ctrl-C.
#
#   packaging/quickstart.sh [--once]
#
# --once stops after the demonstration. Nothing is left running, and nothing is changed but the
# build folder and the installed Debian packages.
set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=tests/lib/install.sh
. "$top/tests/lib/install.sh"

once=no
case ${1-} in
'') ;;
--once) once=yes ;;
-h | --help) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 0 ;;
*) echo "quickstart.sh: unknown word \"$1\"; only --once is known" >&2; exit 2 ;;
esac

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }

say "1. What it needs"
install_packages "${BUILD_PACKAGES[@]}" curl
echo "everything is installed"

say "2. Building a release in build/release"
build=$top/build/release
if [ ! -e "$build/build.ninja" ]; then
    meson setup "$build" "$top" -Dbuildtype=release -Dtests=false >"$top/build-setup.log" 2>&1 || {
        cat "$top/build-setup.log" >&2
        exit 1
    }
    rm -f "$top/build-setup.log"
fi
ninja -C "$build" | tail -n 1

work=$(mktemp -d)
pids=()
cleanup() {
    trap - EXIT INT TERM
    local pid
    for pid in "${pids[@]}"; do kill -TERM "$pid" 2>/dev/null || true; done
    for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say "3. Three demo origins"
backends=
for name in a b c; do
    "$build/src/tools/sluice-origin" --name "$name" --listen http@127.0.0.1:0 >"$work/origin-$name" &
    pids+=($!)
    for _ in $(seq 100); do
        grep -q '^ready' "$work/origin-$name" && break
        sleep 0.05
    done
    address=$(sed -n 's/^listening http@//p' "$work/origin-$name")
    [ -n "$address" ] || { echo "origin $name did not start" >&2; exit 1; }
    echo "origin $name listens on $address"
    backends+="    backend \"$name\" { address = \"$address\" }"$'\n'
done

# 8080 unless somebody has it already.
listen=127.0.0.1:8080
if (exec 3<>/dev/tcp/127.0.0.1/8080) 2>/dev/null; then
    listen=127.0.0.1:0
    echo "port 8080 is taken, so the kernel chooses another"
fi

status=127.0.0.1:9480
if (exec 3<>/dev/tcp/127.0.0.1/9480) 2>/dev/null; then
    status=127.0.0.1:0
    echo "port 9480 is taken, so the kernel chooses another"
fi

say "4. The balancer, with this configuration"
conf=$work/sluice.conf
cat >"$conf" <<CONF
global {
    control_socket = "$work/control.sock"
    status         = "$status"
    drain_timeout  = "1s"
    log_level      = "warning"
}
service "web" {
    listen = { "$listen" }
    pool   = "web"
}
pool "web" {
    scheduler = "wlc"
    check "tcp" { interval = "1s" }
$backends}
CONF
sed "s|^|    |" "$conf"
# Its folder must be reachable for whoever the workers become.
chmod 755 "$work"
"$build/src/sluiced" -c "$conf" &
pids+=($!)
ctl() { "$build/src/sluicectl" -s "$work/control.sock" "$@"; }
for _ in $(seq 100); do
    ctl show info >/dev/null 2>&1 && break
    kill -0 "${pids[-1]}" 2>/dev/null || exit 1
    sleep 0.05
done
url=http://$(ctl --json show services | grep -o '127\.0\.0\.1:[0-9]*' | head -n 1)/
echo "service web listens on $url"
status=http://$(ctl show info | sed -n 's/^status address *//p')
echo "figures are at $status/ (a dashboard), $status/metrics and $status/healthz"

say "5. 300 requests through it, one connection each"
for _ in $(seq 300); do curl -s -o /dev/null -D - "$url"; done |
    sed -n 's/^[Xx]-[Oo]rigin: *\([a-z]*\).*/origin \1/p' | sort | uniq -c

say "6. What it says about itself"
ctl show services
echo
ctl show backends web
echo
ctl show workers
echo
curl -s "$status/metrics" | grep '^sluice_backend_connections_total'

if [ $once = yes ]; then
    say "Done."
    exit 0
fi
say "Running until Ctrl-C. In another terminal, for instance:"
cat <<TEXT
    curl $url
    curl $status/metrics
    $build/src/sluicectl -s $work/control.sock show backends
    $build/src/sluicectl -s $work/control.sock drain backend web a
    $build/src/sluicectl -s $work/control.sock help
TEXT
wait "${pids[-1]}"
