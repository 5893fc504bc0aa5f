#!/usr/bin/env bash
# Installs what is missing, builds a release, and measures Sluice beside HAProxy and nginx.
#
#   tests/bench/run.sh [--build DIR] [OPTIONS OF bench.py…]
#   tests/bench/run.sh log [--build DIR] [OPTIONS OF bench.py…]
#   tests/bench/run.sh picks [--build DIR] [OPTIONS OF picks.py…]
#   tests/bench/run.sh health [--build DIR] [OPTIONS OF health.py…]
#   tests/bench/run.sh reuse [--build DIR] [OPTIONS OF reuse.py…]
#   tests/bench/run.sh growth [--build DIR] [OPTIONS OF growth.py…]
#   tests/bench/run.sh plot FILE.json DIR
#   tests/bench/run.sh reload [--build DIR] [OPTIONS OF reload.py…]
#
# log measures what a line for each session costs. picks measures what choosing a backend costs: no
# traffic, no peers. health measures how soon a server that goes is noticed, and what checks cost.
# reuse measures what kept backend connections save. growth measures what idle connections, backends
# and workers add to the cost of an operation; plot draws what its --json wrote. reload measures how
# long a new configuration takes, and whom it holds up. With --build DIR that build is measured as it
# is. All traffic stays on the loopback device, or on a TUN device of a network namespace of its own;
# nothing is left running or changed outside the build folder and the installed Debian packages.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
PATH=$PATH:/usr/sbin:/sbin
# shellcheck source=tests/lib/install.sh
. "$top/tests/lib/install.sh"

program=bench.py tests=false targets=()
packages=(nginx-light libnginx-mod-stream haproxy apache2-utils wrk iperf3 python3 iproute2)
before=()
if [ "${1-}" = log ]; then
    before=(--rows log)
    shift
elif [ "${1-}" = picks ]; then
    program=picks.py tests=true targets=(tests/bench/bench_picks)
    packages=(python3)
    shift
elif [ "${1-}" = health ]; then
    program=health.py
    packages=(python3 iproute2)
    shift
elif [ "${1-}" = reuse ]; then
    program=reuse.py
    packages=(nginx-light libnginx-mod-stream haproxy apache2-utils wrk redis-server redis-tools
        python3 iproute2)
    shift
elif [ "${1-}" = growth ]; then
    program=growth.py
    packages=(nginx-light libnginx-mod-stream haproxy apache2-utils wrk python3 iproute2)
    shift
elif [ "${1-}" = plot ]; then
    shift
    install_packages python3 python3-matplotlib >&2
    exec /usr/bin/python3 "$here/plot.py" "$@" # Debian's, which matplotlib belongs to
elif [ "${1-}" = reload ]; then
    program=reload.py
    packages=(python3 iproute2)
    shift
fi
words=("${before[@]}" "$@")
build=
for word in "$@"; do
    case $word in
    --build | --build=*) build=given ;;
    --plots | --plots=*) packages+=(python3-matplotlib) ;;
    --perf) packages+=(linux-perf) ;;
    --strace) packages+=(strace) ;;
    -h | --help)
        sed -n '2,20s/^# \{0,1\}//p' "$0"
        exec python3 "$here/$program" --help
        ;;
    esac
done
[ -n "$build" ] || packages+=("${BUILD_PACKAGES[@]}")
[ -n "$build" ] || [ $tests = false ] || packages+=(check)
install_packages "${packages[@]}" >&2

if [ -z "$build" ]; then
    build=$top/build/release
    if [ -e "$build/build.ninja" ]; then
        meson configure "$build" -Dbuildtype=release -Dtests=$tests >&2
    else
        meson setup "$build" "$top" -Dbuildtype=release -Dtests=$tests >&2
    fi
    ninja -C "$build" "${targets[@]}" >&2
    words=(--build "$build" "${words[@]}")
fi
exec python3 "$here/$program" "${words[@]}"
