#!/bin/bash
# The life of the Debian package on this machine, of which nothing is left: /usr, /opt, /etc and /var are
# overlays. Called by test_deb.py in a mount namespace of its own:
#
#   deb_scenario.sh DIRECTORY OLD.deb NEW.deb
#
# Prints what it finds wrong, and exits with 1.
set -euo pipefail

work=$1 old=$2 new=$3
plugin=/opt/cni/bin/shibafu-bridge

complain() {
    echo "$*"
    failed=yes
}

mount_overlays() {
    local directory
    mount -t tmpfs tmpfs "$work"
    mount -t tmpfs tmpfs /run
    for directory in usr opt etc var; do
        mkdir -p "$work/$directory/upper" "$work/$directory/work"
        mount -t overlay overlay \
            -o "lowerdir=/$directory,upperdir=$work/$directory/upper,workdir=$work/$directory/work" "/$directory"
    done
    dpkg --purge shibafu >/dev/null 2>&1 || true
    rm -rf /var/lib/cni /usr/lib/shibafu /opt/cni
}

# Everything but dpkg's own bookkeeping and what others are writing meanwhile.
list_files() {
    find /usr /opt /etc /var/lib /run -path /var/lib/dpkg -prune -o -print | LC_ALL=C sort
}

dpkg_quietly() {
    dpkg --no-triggers "$@" >"$work/log" 2>&1 || {
        cat "$work/log"
        exit 1
    }
}

ask_version() {
    CNI_COMMAND=VERSION "$1" </dev/null | grep -q '"supportedVersions"'
}

# Ask all the time, until there is a file `end`; one line for each call.
ask_all_the_time() {
    until [[ -e $work/end ]]; do
        ask_version "$plugin" && echo good || echo bad
    done >"$work/calls" 2>&1
}

expect_working() {
    local file
    for file in /opt/cni/bin/shibafu-{bridge,ipam} /usr/lib/cni/shibafu-{bridge,ipam}; do
        ask_version "$file" || complain "$1: $file does not work"
    done
    shibafu --version | grep -q '^shibafu 0' || complain "$1: the command does not work"
    for file in bash-completion/completions/shibafu zsh/vendor-completions/_shibafu \
        fish/vendor_completions.d/shibafu.fish; do
        grep -q 'completion of shibafu' "/usr/share/$file" || complain "$1: no $file"
    done
    dpkg -L shibafu | while read -r file; do [[ -e $file ]] || echo "$1: $file is missing"; done >"$work/missing"
    [[ ! -s $work/missing ]] || complain "$(cat "$work/missing")"
    dpkg --verify shibafu >"$work/differences"
    [[ ! -s $work/differences ]] || complain "$1: $(cat "$work/differences")"
}

failed=
mount_overlays
before=$(list_files)

dpkg_quietly -i "$old"
expect_working "installed"
first=$(readlink /usr/lib/shibafu/current)

ask_all_the_time &
asking=$!
dpkg_quietly -i "$new"
dpkg_quietly -i "$old"
dpkg_quietly -i "$new"
touch "$work/end"
wait "$asking"
grep -q good "$work/calls" || complain "upgraded: no call was made meanwhile"
! grep -v good "$work/calls" || complain "upgraded: calls failed meanwhile"
expect_working "upgraded"
[[ $(readlink /usr/lib/shibafu/current) != "$first" ]] || complain "upgraded: still the old version"

# What the program would have left, and another plugin's lease.
mkdir -p /run/shibafu/4026531840/web /var/lib/cni/networks/{web,.shibafu/web}
echo a-container >/var/lib/cni/networks/web/10.80.0.2
dpkg_quietly --remove shibafu
[[ ! -e $plugin && ! -L $plugin && ! -e /usr/lib/shibafu ]] || complain "removed: something is left"
[[ -e /run/shibafu && -e /var/lib/cni/networks/.shibafu/web ]] || complain "removed: too much"
dpkg_quietly --purge shibafu
[[ ! -e /run/shibafu && ! -e /var/lib/cni/networks/.shibafu ]] || complain "purged: something is left"
[[ -e /var/lib/cni/networks/web/10.80.0.2 ]] || complain "purged: the lease is gone"

dpkg_quietly -i "$new"
rm -r /var/lib/cni/networks/web
dpkg_quietly --purge shibafu
diff <(echo "$before") <(list_files) || complain "purged: not as before"

mkdir /usr/lib/shibafu && touch /usr/lib/shibafu/installed
! dpkg --no-triggers -i "$new" >"$work/log" 2>&1 || complain "installed over what install.sh has installed"
grep -q uninstall.sh "$work/log" || complain "did not say what to do about what install.sh has installed"
[[ -z $failed ]]
