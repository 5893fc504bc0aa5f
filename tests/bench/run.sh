#!/usr/bin/env bash
# Installs what is missing, builds a release, and measures Sluice beside HAProxy and nginx.
#
#   tests/bench/run.sh [--build DIR] [OPTIONS OF bench.py…]
#
# With --build DIR that build is measured as it is. All traffic stays on the loopback device;
# nothing is left running or changed outside the build folder and the installed Debian packages.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
PATH=$PATH:/usr/sbin:/sbin
# shellcheck source=tests/lib/install.sh
. "$top/tests/lib/install.sh"

packages=(nginx-light libnginx-mod-stream haproxy apache2-utils wrk iperf3 python3 iproute2)
words=("$@")
build=
for word in "$@"; do
    case $word in
    --build | --build=*) build=given ;;
    --perf) packages+=(linux-perf) ;;
    --strace) packages+=(strace) ;;
    -h | --help)
        sed -n '2,7s/^# \{0,1\}//p' "$0"
        exec python3 "$here/bench.py" --help
        ;;
    esac
done
[ -n "$build" ] || packages+=("${BUILD_PACKAGES[@]}" libjansson-dev)
install_packages "${packages[@]}" >&2

if [ -z "$build" ]; then
    build=$top/build/release
    if [ -e "$build/build.ninja" ]; then
        meson configure "$build" -Dbuildtype=release -Dtests=false >&2
    else
        meson setup "$build" "$top" -Dbuildtype=release -Dtests=false >&2
    fi
    ninja -C "$build" >&2
    words=(--build "$build" "${words[@]}")
fi
exec python3 "$here/bench.py" "${words[@]}"
