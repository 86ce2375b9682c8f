#!/bin/bash
# Build dist/shibafu_<version>_<architecture>.deb, for Debian and Ubuntu.
#
#   packaging/deb.sh [--version VERSION] [--from DIRECTORY]
#
# VERSION is the package's, where it is not the program's, such as 0.1.0+mine1; DIRECTORY has the executables, where
# they are not to be built. Needs no root. The same executables give the same package, byte for byte.
# DEBFULLNAME and DEBEMAIL say who maintains it.
set -euo pipefail
umask 022

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
sources=$root/packaging/debian
# Where the package puts the program; postinst brings it into use from there, see packaging/install/versions.sh.
prefix=/usr/lib/shibafu
# Where Debian's runtimes look for plugins, and where everybody else's do.
plugin_directories=(/usr/lib/cni /opt/cni/bin)

fail() {
    echo "deb.sh: $*" >&2
    exit 1
}

# shellcheck source=packaging/install/versions.sh
source "$root/packaging/install/versions.sh"
# shellcheck source=packaging/install/service.sh
source "$root/packaging/install/service.sh"

# The C library that the executables were linked with is that of this machine.
calc_depends() {
    local version
    version=$(getconf GNU_LIBC_VERSION) || fail "no GNU C library here"
    echo "libc6 (>= ${version#glibc }), iptables"
}

# In KiB, as dpkg counts it: every file a whole number of them, everything else one.
calc_installed_size() {
    find "$stage" -mindepth 1 -not -path "$stage/DEBIAN*" -printf '%y %s\n' |
        awk '{ total += $1 == "f" ? int(($2 + 1023) / 1024) : 1 } END { print total }'
}

write_control() {
    cat <<TEXT
Package: shibafu
Version: $version
Architecture: $architecture
Maintainer: ${DEBFULLNAME:-shibafu maintainers} <${DEBEMAIL:-root@localhost}>
Installed-Size: $(calc_installed_size)
Depends: $(calc_depends)
Recommends: nftables
Suggests: runc, golang-github-containers-common, busybox-static, iputils-ping, keepalived, containernetworking-plugins
Section: net
Priority: optional
Description: CNI plugins that give containers a network, and a command for people
 Executables that container runtimes call to connect a container to a Linux
 bridge, with addresses, routes and NAT over IPv4 and IPv6, and to take that
 away again without leaving a trace. Further ones publish ports, limit
 bandwidth, let containers through the firewall, and set sysctls.
 .
 They replace the reference plugins bandwidth, bridge, firewall, host-local,
 loopback, portmap and tuning, with the same configuration, the same results,
 and the same leases on disk.
 .
 The command shibafu lists, draws, makes, checks and repairs networks, and
 runs containers by runc.
TEXT
}

# link_program NAME LINK: where the program will be found once postinst has run.
link_program() {
    mkdir -p "$stage${2%/*}"
    ln -s "$prefix/current/$1" "$stage$2"
}

stage_files() {
    local program directory page name
    mkdir -p "$stage$prefix" "$stage/usr/share/man/man8" "$stage/usr/share/doc/shibafu"
    cp -R --preserve=mode,links "$from" "$stage$prefix/package"
    write_programs "$stage$prefix/package" "$prefix/package"
    cp "$root"/packaging/install/{versions,service}.sh "$stage$prefix/"
    local unit
    for unit in "$service" "$watch_service" "$overlay_service"; do
        install_unit "$root/packaging/install/$unit" "$stage/usr/lib/systemd/system/$unit" "$prefix"
    done
    for program in "$from"/shibafu*; do
        name=${program##*/}
        case $name in
            shibafu | shibafu-hook) link_program "$name" "/usr/sbin/$name" ;;
            shibafu-engine | shibafu-monitor) ;; # the command's own
            *)
                for directory in "${plugin_directories[@]}"; do
                    link_program "$name" "$directory/$name"
                done
                ;;
        esac
    done
    link_program completions/shibafu /usr/share/bash-completion/completions/shibafu
    link_program completions/_shibafu /usr/share/zsh/vendor-completions/_shibafu
    link_program completions/shibafu.fish /usr/share/fish/vendor_completions.d/shibafu.fish
    for page in "$root"/packaging/man/*.8; do
        gzip -9n <"$page" >"$stage/usr/share/man/man8/${page##*/}.gz"
    done
    cp -R "$root/conf" "$stage/usr/share/doc/shibafu/examples"
    gzip -9n <"$root/CHANGELOG.md" >"$stage/usr/share/doc/shibafu/changelog.gz"
    cp "$sources/copyright" "$stage/usr/share/doc/shibafu/copyright"
}

stage_control() {
    local script
    mkdir "$stage/DEBIAN"
    (cd "$stage" && find . -type f -not -path './DEBIAN/*' -printf '%P\0' | LC_ALL=C sort -z | xargs -0 md5sum) \
        >"$work/md5sums"
    mv "$work/md5sums" "$stage/DEBIAN/md5sums"
    for script in preinst postinst prerm postrm; do
        sed "s|@VERSION@|$version|g; s|@PREFIX@|$prefix|g" "$sources/$script" >"$stage/DEBIAN/$script"
        chmod 755 "$stage/DEBIAN/$script"
    done
    write_control >"$stage/DEBIAN/control"
}

version='' from=''
while [[ $# -gt 0 ]]; do
    case $1 in
        --version)
            [[ ${2:-} =~ ^[0-9][A-Za-z0-9.+~]*$ ]] || fail "--version needs a version that begins with a digit"
            version=$2
            shift
            ;;
        --from)
            [[ -x ${2:-}/shibafu-bridge ]] || fail "--from needs a directory that packaging/build.sh has made"
            from=$(cd "$2" && pwd)
            shift
            ;;
        *) fail "unknown argument $1; the usage is in the first lines of $0" ;;
    esac
    shift
done
command -v dpkg-deb >/dev/null || fail "no dpkg-deb: this is for Debian and what is made of it"
if [[ -z $from ]]; then
    "$root/packaging/build.sh"
    from=$root/dist/shibafu
fi
has_programs "$from" || fail "$from was not made by this version of packaging/build.sh; build it again"
[[ -n $version ]] || version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' "$root/plugins/shibafu/__init__.py")
architecture=$(dpkg --print-architecture)
# The build has given all executables the time of the sources.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(stat -c %Y "$from/shibafu-bridge")}
export SOURCE_DATE_EPOCH

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
stage=$work/stage
stage_files
stage_control
chmod -R u=rwX,go=rX "$stage"
find "$stage" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
mkdir -p "$root/dist"
package=$root/dist/shibafu_${version}_$architecture.deb
# Several threads would compress into other blocks.
DPKG_DEB_THREADS_MAX=1 dpkg-deb --root-owner-group -Zxz --build "$stage" "$work/package.deb" >/dev/null
mv "$work/package.deb" "$package"
echo "built $package, $(du -h --apparent-size "$package" | cut -f1)"
