#!/usr/bin/env bash
# Builds the Debian package: installs what that needs, copies the sources, runs dpkg-buildpackage and
# lintian, and leaves the .deb in build/deb (or DIRECTORY).
#
#   packaging/build-deb.sh [--no-lintian] [--version VERSION] [DIRECTORY]
#
# VERSION is that of meson.build unless given.
set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=tests/lib/install.sh
. "$top/tests/lib/install.sh"

out=$top/build/deb version= lintian=yes
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help) sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 0 ;;
    --no-lintian) lintian=no ;;
    --version) version=${2:?--version needs one}; shift ;;
    -*) echo "build-deb.sh: unknown word \"$1\"; --help lists all" >&2; exit 2 ;;
    *) out=$(realpath -m "$1") ;;
    esac
    shift
done
[ -n "$version" ] || version=$(sed -n "s/^ *version: '\([^']*\)'.*/\1/p" "$top/meson.build" | head -n 1)

install_packages "${BUILD_PACKAGES[@]}" debhelper dpkg-dev lintian

mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tree=$work/sluice-$version
mkdir "$tree"
cp -R "$top"/{src,include,conf,tests,packaging,meson.build,meson_options.txt,README.md,LICENSE} "$tree"
cp -R "$top/packaging/debian" "$tree/debian"
sed -i "1,/version:/s/version: '[^']*'/version: '$version'/" "$tree/meson.build"
when=$(git -C "$top" log -1 --format=%cD 2>/dev/null || date -R)
cat >"$tree/debian/changelog" <<LOG
sluice ($version) bookworm; urgency=medium

  * Built from the sources as they are.

 -- Sluice maintainers <maintainers@sluice.invalid>  $when
LOG
mkdir "$tree/debian/source"
echo '3.0 (native)' >"$tree/debian/source/format"

(cd "$tree" && dpkg-buildpackage -us -uc -b) >"$out/build.log" 2>&1 || {
    tail -n 60 "$out/build.log" >&2
    echo "build-deb.sh: the build failed; all of it is in $out/build.log" >&2
    exit 1
}
cp "$work"/*.deb "$work"/*.changes "$work"/*.buildinfo "$out"
if [ $lintian = yes ]; then
    lintian --fail-on error,warning --pedantic --suppress-tags bad-distribution-in-changes-file \
        "$out/sluice_${version}_$(dpkg --print-architecture).changes"
fi
ls "$out"/sluice_"$version"_*.deb
