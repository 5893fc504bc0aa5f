#!/usr/bin/env bash
# Installs what is missing, builds a release, and holds many client connections through Sluice.
#
#   tests/bench/million.sh [--connections N] [--json FILE] [--build DIR] [OPTIONS OF million.py…]
#
# A million unless told. Clients and backends are one small program on a TUN device of a network
# namespace, so that the machine has nothing to carry but Sluice and its sockets. With --build DIR
# that build is measured as it is. Nothing is left running or changed outside the build folder and
# the installed Debian packages.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
PATH=$PATH:/usr/sbin:/sbin
# shellcheck source=tests/lib/install.sh
. "$top/tests/lib/install.sh"

packages=(python3 iproute2)
words=("$@")
build=
for word in "$@"; do
    case $word in
    --build | --build=*) build=given ;;
    -h | --help)
        sed -n '2,9s/^# \{0,1\}//p' "$0"
        exec python3 "$here/million.py" --help
        ;;
    esac
done
[ -n "$build" ] || packages+=("${BUILD_PACKAGES[@]}" check)
install_packages "${packages[@]}" >&2

if [ -z "$build" ]; then
    build=$top/build/release
    if [ -e "$build/build.ninja" ]; then
        meson configure "$build" -Dbuildtype=release -Dtests=true >&2
    else
        meson setup "$build" "$top" -Dbuildtype=release -Dtests=true >&2
    fi
    ninja -C "$build" src/sluiced tests/bench/bench_million_peer >&2
    words=(--build "$build" "${words[@]}")
fi
exec python3 "$here/million.py" "${words[@]}"
