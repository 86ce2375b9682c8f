#!/bin/bash
# Remove what install.sh has installed; see --help.
set -euo pipefail

usage() {
    cat <<'TEXT'
Usage: packaging/uninstall.sh [--prefix DIRECTORY]

Removes what packaging/install.sh has installed, and restores the plugins that had the reference's names
before. The resident engine exits when its calls have finished. Configured networks, leases and running
containers stay as they are: detach the containers first, or have other plugins in place that can do it.

  --prefix DIRECTORY   where it is installed: /usr/lib/shibafu

The environment variable DESTDIR sets another root directory.
TEXT
}

fail() {
    echo "uninstall.sh: $*" >&2
    exit 1
}

# Remove a name that install.sh has made, if it still is what install.sh made of it.
remove_installed() {
    local path=$DESTDIR$1 original=$DESTDIR$1.before-shibafu
    case $1 in
        */man8/*)
            rm -f "$path"
            return
            ;;
        */"$service" | */"$watch_service" | */"$overlay_service")
            ! is_unit_of "$path" "$prefix" || remove_service "$1" "$DESTDIR"
            return
            ;;
    esac
    if [[ $(readlink "$path") != "$prefix"/current/* ]]; then
        # Somebody else's again, newer than what was kept.
        [[ ! -e $path ]] || rm -f "$original"
        return
    fi
    if [[ -e $original || -L $original ]]; then
        mv -T "$original" "$path"
    else
        rm "$path"
    fi
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
prefix=/usr/lib/shibafu
DESTDIR=${DESTDIR:-}
while [[ $# -gt 0 ]]; do
    case $1 in
        --prefix)
            [[ ${2:-} == /* ]] || fail "--prefix needs a directory, as an absolute path"
            prefix=$(realpath -ms "$2")
            shift
            ;;
        --help | -h)
            usage
            exit
            ;;
        *)
            usage >&2
            exit 2
            ;;
    esac
    shift
done
list=$DESTDIR$prefix/installed
[[ -f $list ]] || fail "install.sh has installed nothing in $DESTDIR$prefix"

# shellcheck source=packaging/install/versions.sh
source "$root/packaging/install/versions.sh"
# shellcheck source=packaging/install/service.sh
source "$root/packaging/install/service.sh"
exec 9>"$DESTDIR$prefix/lock"
flock 9

mapfile -t installed <"$list"
for name in "${installed[@]}"; do
    remove_installed "$name"
done
[[ -n $DESTDIR ]] || stop_engines "$prefix"
remove_versions "$DESTDIR$prefix"
rm -f "$list" "$DESTDIR$prefix/lock" "$DESTDIR$prefix/no-engine"
rmdir --ignore-fail-on-non-empty "$DESTDIR$prefix"
echo "removed shibafu from $DESTDIR$prefix; configuration and leases are untouched"
