#!/bin/bash
# Install the plugins, or upgrade them while containers are running; see --help.
set -euo pipefail
umask 022

usage() {
    cat <<'TEXT'
Usage: packaging/install.sh [OPTION]...

Builds and installs the plugins and the command shibafu. No call fails in the meantime, neither during the first
installation nor during an upgrade: calls that have already started use the old version, later ones the new one.

  --prefix DIRECTORY   where to install: /usr/lib/shibafu
  --bindir DIRECTORY   where to link the plugins, and where runtimes look for them: /opt/cni/bin
  --sbindir DIRECTORY  where to link the other programs: /usr/sbin
  --mandir DIRECTORY   /usr/share/man
  --bashdir, --zshdir, --fishdir DIRECTORY
                       where shells look for completions: /usr/share/bash-completion/completions,
                       /usr/local/share/zsh/site-functions, /usr/share/fish/vendor_completions.d
  --unitdir DIRECTORY  where systemd finds services: /usr/lib/systemd/system
  --confdir DIRECTORY  where networks are configured: /etc/cni/net.d
  --as-reference       also link the names of the reference's plugins: bandwidth, bridge, host-local, ...; existing
                       files are kept as NAME.before-shibafu, and uninstall.sh restores them
  --no-engine          omit the service shibafu-engine, which keeps the resident engine running, or remove it;
                       by default it is installed and, where systemd runs, enabled and started. Upgrades keep
                       the choice of the previous installation, and do not start a stopped service
  --engine             install the service again
  --with-watch         also install the service shibafu-watch, which restores what somebody removes of networks, and,
                       where systemd runs, enable and start it; upgrades keep it
  --with-overlay       likewise the service shibafu-overlay, which keeps the routes to containers of other hosts; it
                       starts where /etc/shibafu/overlay.yaml exists
  --conflist NAME      configure a network: copy the sample conf/NAME.conflist, unless it exists;
                       may be repeated
  --with-runc          also install the Debian packages that `shibafu run` uses: runc, busybox-static, iputils-ping,
                       iptables, and golang-github-containers-common, which has a seccomp profile; and make
                       an image called alpine from busybox and ping, unless it exists
  --from DIRECTORY     install these executables instead of building them

The environment variable DESTDIR sets another root directory, for packagers.
To remove everything, run packaging/uninstall.sh with the same --prefix.
TEXT
}

fail() {
    echo "install.sh: $*" >&2
    exit 1
}

# ensure_link TARGET NAME: make it from one moment to the next, whatever has the name now.
ensure_link() {
    mkdir -p "${2%/*}"
    [[ $(readlink "$2") != "$1" ]] || return 0
    [[ ! -d $2 || -L $2 ]] || fail "$2 is a directory; move it away"
    ln -s "$1" "$2.new-$$"
    mv -T "$2.new-$$" "$2"
}

# install_link PROGRAM NAME: link NAME to the program, and remember that it is ours.
install_link() {
    ensure_link "$prefix/current/$1" "$DESTDIR$2"
    installed+=("$2")
}

# Keep what has a name of the reference's plugins now, unless that is ours already.
keep_original() {
    local original=$DESTDIR$1
    [[ -e $original || -L $original ]] || return 0
    [[ $(readlink "$original") != "$prefix"/current/* ]] || return 0
    cp -a --remove-destination "$original" "$original.before-shibafu"
}

install_conflist() {
    local sample=$root/conf/$1.conflist destination=$DESTDIR$confdir/$1.conflist
    if [[ -e $destination ]]; then
        echo "$destination already exists and is left as it is"
        return
    fi
    mkdir -p "${destination%/*}"
    # Runtimes watch the directory, and must not see half a file.
    install -m 644 "$sample" "$destination.new-$$"
    mv -T "$destination.new-$$" "$destination"
}

# install_optional SERVICE IS_WANTED OPTION: install a service that somebody wants, or that was installed before.
install_optional() {
    local unit=$unitdir/$1
    if is_unit_of_another "$DESTDIR$unit" "$prefix"; then
        [[ -z $2 ]] || fail "$1 is another installation's; uninstall that, or leave out $3"
    elif [[ $2 ]] || is_unit_of "$DESTDIR$unit" "$prefix"; then
        install_unit "$root/packaging/install/$1" "$DESTDIR$unit" "$prefix"
        installed+=("$unit")
        [[ -n $DESTDIR ]] || ! has_systemd || start_optional "$1" "$2" ||
            echo "install.sh: $1 does not run, see: systemctl status $1" >&2
    fi
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
prefix=/usr/lib/shibafu bindir=/opt/cni/bin sbindir=/usr/sbin mandir=/usr/share/man confdir=/etc/cni/net.d
bashdir=/usr/share/bash-completion/completions fishdir=/usr/share/fish/vendor_completions.d
zshdir=/usr/local/share/zsh/site-functions unitdir=/usr/lib/systemd/system
as_reference='' engine='' from='' with_runc='' with_watch='' with_overlay='' conflists=()
DESTDIR=${DESTDIR:-}
while [[ $# -gt 0 ]]; do
    case $1 in
        --prefix | --bindir | --sbindir | --mandir | --confdir | --bashdir | --zshdir | --fishdir | --unitdir)
            [[ ${2:-} == /* ]] || fail "$1 needs a directory, as an absolute path"
            declare "${1#--}=$(realpath -ms "$2")"
            shift
            ;;
        --from)
            [[ -x ${2:-}/shibafu-bridge ]] || fail "--from needs a directory that packaging/build.sh has made"
            from=$(cd "$2" && pwd)
            shift
            ;;
        --conflist)
            [[ -f $root/conf/${2:-}.conflist ]] ||
                fail "--conflist needs one of: $(cd "$root/conf" && basename -s .conflist -- *.conflist | xargs)"
            conflists+=("$2")
            shift
            ;;
        --as-reference) as_reference=yes ;;
        --engine) engine=yes ;;
        --no-engine) engine=no ;;
        --with-runc) with_runc=yes ;;
        --with-watch) with_watch=yes ;;
        --with-overlay) with_overlay=yes ;;
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

if [[ $with_runc ]]; then
    # shellcheck source=packaging/apt.sh
    source "$root/packaging/apt.sh"
    ensure_packages runc busybox-static iputils-ping iptables golang-github-containers-common
fi
# shellcheck source=packaging/install/versions.sh
source "$root/packaging/install/versions.sh"
# shellcheck source=packaging/install/service.sh
source "$root/packaging/install/service.sh"
if [[ -z $from ]]; then
    "$root/packaging/build.sh"
    from=$root/dist/shibafu
fi
# The name of a version's folder is not longer than this.
fits_interpreter "$prefix/versions/0123456789-0123456789-0123456789" ||
    fail "executables cannot be in $prefix: the path has a space, or is too long"
has_programs "$from" || fail "$from was not made by this version of packaging/build.sh; build it again"
[[ ! -e $DESTDIR$prefix/package ]] || fail "the Debian package shibafu is in $prefix; upgrade or remove that"
version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' "$root/plugins/shibafu/__init__.py")

mkdir -p "$DESTDIR$prefix"
exec 9>"$DESTDIR$prefix/lock"
flock 9 # two at once wait for each other

add_version "$DESTDIR$prefix" "$from" "$version" "$prefix"
installed=()
for program in "$from"/shibafu*; do
    program=${program##*/}
    case $program in
        shibafu | shibafu-hook) install_link "$program" "$sbindir/$program" ;;
        shibafu-engine | shibafu-monitor) ;; # the command's own
        *) install_link "$program" "$bindir/$program" ;;
    esac
done
install_link completions/shibafu "$bashdir/shibafu"
install_link completions/_shibafu "$zshdir/_shibafu"
install_link completions/shibafu.fish "$fishdir/shibafu.fish"
if [[ -n $as_reference ]]; then
    while read -r program name; do
        keep_original "$bindir/$name"
        install_link "$program" "$bindir/$name"
    done <"$from/_internal/replaced"
fi
for page in "$root"/packaging/man/*.8; do
    install -D -m 644 "$page" "$DESTDIR$mandir/man8/${page##*/}"
    installed+=("$mandir/man8/${page##*/}")
done
for conflist in "${conflists[@]}"; do
    install_conflist "$conflist"
done

# If the version before had a running engine, the one in use gets one, too; calls go on.
unit=$unitdir/$service left_out=$DESTDIR$prefix/no-engine
if [[ $engine = no ]]; then
    touch "$left_out"
elif [[ $engine = yes ]]; then
    rm -f "$left_out"
fi
# Executables that are scripts would not use it.
if [[ -e $left_out || ! -e $from/_internal/launcher ]]; then
    ! is_unit_of "$DESTDIR$unit" "$prefix" || remove_service "$unit" "$DESTDIR"
elif is_unit_of_another "$DESTDIR$unit" "$prefix"; then
    echo "install.sh: $service keeps another installation's engine running; this one's is started by" \
        "$prefix/current/shibafu engine start" >&2
else
    is_first=''
    # Also where the service was that of an installation that is gone.
    is_unit_of "$DESTDIR$unit" "$prefix" || is_first=yes
    install_unit "$root/packaging/install/$service" "$DESTDIR$unit" "$prefix"
    installed+=("$unit")
    [[ -n $DESTDIR ]] || ! has_systemd || start_service "$prefix" "$is_first" ||
        echo "install.sh: the engine does not run, see: systemctl status $service; until then calls start cold" >&2
fi
[[ -n $DESTDIR ]] || replace_engines "$prefix"
install_optional "$watch_service" "$with_watch" --with-watch
install_optional "$overlay_service" "$with_overlay" --with-overlay

# What there is outside of the prefix, for uninstall.sh; also what an earlier installation had put elsewhere.
list=$DESTDIR$prefix/installed
{ cat "$list" 2>/dev/null || true; printf '%s\n' "${installed[@]}"; } | sort -u >"$list.new"
mv -T "$list.new" "$list"
echo "installed shibafu $version: $(readlink "$DESTDIR$prefix/current"), links in $DESTDIR$bindir and $DESTDIR$sbindir"
if [[ $with_runc ]] && ! "$from/shibafu" image ls --quiet | grep -qx alpine; then
    "$from/shibafu" image import alpine --builtin
fi
