# Sourced by scripts that need programs of the distribution: `ensure_packages` installs what is missing.
# shellcheck shell=bash

# Install those of the given Debian packages that are not installed; nothing else, and no service is started.
# Returns 1, having said why, where that is not possible.
ensure_packages() {
    local missing=() package
    for package in "$@"; do
        [[ $(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
    done
    [[ ${#missing[@]} -gt 0 ]] || return 0
    if [[ $EUID -ne 0 ]] || ! command -v apt-get >/dev/null; then
        echo "missing: ${missing[*]}; run this as root on Debian or Ubuntu, or install what is missing:" \
            "apt-get install ${missing[*]}" >&2
        return 1
    fi
    echo "installing ${missing[*]}"
    (
        set -e
        apt_log=$(mktemp)
        # invoke-rc.d(8) and deb-systemd-invoke(1p) ask this program whether they may start a service.
        policy=/usr/sbin/policy-rc.d made=
        trap 'rm -f "$apt_log" ${made:+"$made"}' EXIT
        if [[ ! -e $policy ]]; then
            made=$policy
            printf '#!/bin/sh\nexit 101\n' >"$policy"
            chmod 755 "$policy"
        fi
        export DEBIAN_FRONTEND=noninteractive
        { apt-get update && apt-get install -y --no-install-recommends "${missing[@]}"; } >"$apt_log" 2>&1 </dev/null || {
            tail -n 15 "$apt_log" >&2
            echo "apt-get cannot install ${missing[*]}" >&2
            exit 1
        }
    )
}
