# shellcheck shell=bash
# Sourced by the scripts that build and test: installs the Debian packages that are missing, and
# nothing else. install_packages NAME…

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo -n "$@" || {
            echo "this step needs root: run as root, or as a user who may use sudo without a password: $*" >&2
            return 1
        }
    fi
}

install_packages() {
    local missing=() name
    for name in "$@"; do
        dpkg-query -W -f='${db:Status-Status}\n' "$name" 2>/dev/null | grep -qx installed ||
            missing+=("$name")
    done
    [ ${#missing[@]} -eq 0 ] && return 0
    echo "installing: ${missing[*]}"
    local log
    log=$(mktemp)
    # Services that packages bring along are not to be started on this machine by us.
    local policy=/usr/sbin/policy-rc.d made_policy=no
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
        made_policy=yes
    fi
    local done=no try
    for try in 1 2 3; do
        if as_root apt-get update -qq >"$log" 2>&1 &&
            as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
                --no-install-recommends -o DPkg::Lock::Timeout=300 "${missing[@]}" >>"$log" 2>&1; then
            done=yes
            break
        fi
        sleep $((try * 2))
    done
    [ $made_policy = yes ] && as_root rm -f "$policy"
    if [ $done = no ]; then
        cat "$log" >&2
        echo "cannot install: ${missing[*]}" >&2
        rm -f "$log"
        return 1
    fi
    rm -f "$log"
}

BUILD_PACKAGES=(gcc libc6-dev pkg-config meson ninja-build libevent-dev libconfuse-dev libbsd-dev
    libxxhash-dev libcap-ng-dev libpcre2-dev libssl-dev libjansson-dev)
