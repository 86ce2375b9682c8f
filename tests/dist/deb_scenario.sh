#!/bin/bash
# The life of the Debian package on this machine, of which nothing is left: /usr, /opt, /etc and /var are
# overlays. Called by test_deb.py in a mount namespace of its own:
#
#   deb_scenario.sh DIRECTORY OLD.deb NEW.deb PLUGIN...
#
# Prints what it finds wrong, and exits with 1.
set -euo pipefail

work=$1 old=$2 new=$3 plugins=("${@:4}")
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
    rm -rf /var/lib/cni /usr/lib/shibafu /opt/cni /usr/sbin/policy-rc.d
}

# Everything but dpkg's own bookkeeping and what others are writing meanwhile, such as tests of policies.
list_files() {
    find /usr /opt /etc /var/lib /run \( -path /var/lib/dpkg -o -path /var/lib/shibafu \) -prune -o -print |
        LC_ALL=C sort
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
    for file in "${plugins[@]/#//opt/cni/bin/}" "${plugins[@]/#//usr/lib/cni/}"; do
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

# Print the number of the engine's first process.
read_engine() {
    shibafu engine status --format json | sed -n 's/^ *"pid": \([0-9]*\),$/\1/p'
}

list_processes() {
    find /proc -maxdepth 2 -path '/proc/[0-9]*/exe' -printf '%l\n' 2>/dev/null | grep '^/usr/lib/shibafu/'
}

# Have the maintainer scripts find a systemd, which notes what it is told. Links in /etc are made by the real one.
pretend_systemd() {
    mkdir -p /run/systemd/system
    cat >/usr/local/bin/systemctl <<TEXT
#!/bin/sh
echo "\$*" >>$work/told
case " \$* " in
    *" preset "* | *" disable "*) exec /usr/bin/systemctl "\$@" ;;
    *" is-enabled "*) echo enabled ;;
esac
TEXT
    chmod 755 /usr/local/bin/systemctl
}

# expect_told WHEN WHAT: systemd has been told to do this to the service.
expect_told() {
    grep -qx -- "\(.* \)\?$2 shibafu-engine.service" "$work/told" ||
        complain "$1: systemd was not told to $2 the engine: $(cat "$work/told")"
    rm "$work/told"
}

failed=
mount_overlays
before=$(list_files)

dpkg_quietly -i "$old"
expect_working "installed"
first=$(readlink /usr/lib/shibafu/current)
wanted=/etc/systemd/system/multi-user.target.wants/shibafu-engine.service
[[ -L $wanted ]] || complain "installed: the service is not enabled"
for optional in watch overlay; do
    [[ -e /usr/lib/systemd/system/shibafu-$optional.service ]] || complain "installed: the service shibafu-$optional is missing"
    [[ ! -e ${wanted/engine/$optional} ]] || complain "installed: the service shibafu-$optional is enabled"
done
[[ -z $(list_processes) ]] || complain "installed: an engine was started behind everybody's back"
shibafu engine start >/dev/null
first_engine=$(read_engine)

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
engine=$(read_engine)
[[ -n $engine && $engine != "$first_engine" ]] || complain "upgraded: no new engine"
[[ ! -e /proc/$first_engine ]] || complain "upgraded: the old engine is still running"

# What the program would have left, and another plugin's lease.
mkdir -p /run/shibafu/4026531840/web /var/lib/cni/networks/{web,.shibafu/web} /var/lib/shibafu/policy
touch /var/lib/shibafu/policy/compiled.json
echo a-container >/var/lib/cni/networks/web/10.80.0.2
dpkg_quietly --remove shibafu
[[ -z $(list_processes) ]] || complain "removed: processes are left"
[[ ! -e /run/shibafu-engine ]] || complain "removed: $(find /run/shibafu-engine)"
[[ ! -e $plugin && ! -L $plugin && ! -e /usr/lib/shibafu ]] || complain "removed: something is left"
[[ -e /run/shibafu && -e /var/lib/cni/networks/.shibafu/web ]] || complain "removed: too much"
[[ -e /var/lib/shibafu/policy/compiled.json ]] || complain "removed: the policies are gone"
dpkg_quietly --purge shibafu
[[ ! -e /run/shibafu && ! -e /var/lib/cni/networks/.shibafu ]] || complain "purged: something is left"
[[ ! -e /var/lib/shibafu/policy/compiled.json ]] || complain "purged: the policies are left"
[[ -e /var/lib/cni/networks/web/10.80.0.2 ]] || complain "purged: the lease is gone"

dpkg_quietly -i "$new"
rm -r /var/lib/cni/networks/web
dpkg_quietly --purge shibafu
diff <(echo "$before") <(list_files) || complain "purged: not as before"

pretend_systemd
dpkg_quietly -i "$old"
expect_told "installed with systemd" start
dpkg_quietly -i "$new"
expect_told "upgraded with systemd" restart
dpkg_quietly --remove shibafu
expect_told "removed with systemd" stop
dpkg_quietly --purge shibafu
[[ ! -L $wanted ]] || complain "purged: the service is still enabled"

mkdir /usr/lib/shibafu && touch /usr/lib/shibafu/installed
! dpkg --no-triggers -i "$new" >"$work/log" 2>&1 || complain "installed over what install.sh has installed"
grep -q uninstall.sh "$work/log" || complain "did not say what to do about what install.sh has installed"
[[ -z $failed ]]
