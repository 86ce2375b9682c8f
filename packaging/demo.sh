#!/bin/bash
# Attach three containers to a bridge through the built executables, and show what happens.
#
# All of it happens on a machine within the machine: the steps run in network, mount and process
# namespaces of their own, with an empty /run and /var/lib. So the sample of conf/ is used as it is, the
# links, firewall rules and sysctls of this machine are not even visible, and when the first process in
# there ends, for whatever reason, the kernel takes everything away, down to the last link.
set -euo pipefail

usage() {
    cat <<'TEXT'
Usage: packaging/demo.sh [--all | --overlay] [--plugins DIRECTORY] [--help]

Builds the plugins and calls them as a container runtime does: attaches three containers to a
network (ADD), sends packets over IPv4 and IPv6, checks (CHECK), detaches (DEL), and compares what is
left with what was there before. The resident engine runs the calls, as on a machine where it is
installed. Run it as root; it changes nothing on this machine, except that it installs missing Debian
packages and builds dist/shibafu.

  --all                also attach them to a chain of plugins, and show published ports, bandwidth limits
                       and the firewall with real traffic
  --overlay            instead, make three hosts, attach containers of each to one network over VXLAN, with etcd on
                       the first host, and have a host leave and come back
  --plugins DIRECTORY  use the executables in this directory, such as /opt/cni/bin, instead of building them
TEXT
}

fail() {
    echo "demo.sh: $*" >&2
    exit 1
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
plugins='' all='' steps=steps programs=()
while [[ $# -gt 0 ]]; do
    case $1 in
        --plugins)
            [[ -d ${2:-} ]] || fail "--plugins needs a directory"
            plugins=$(cd "$2" && pwd)
            shift
            ;;
        --all) all=all ;;
        --overlay)
            steps=overlay
            programs=(etcd:etcd-server iperf3:iperf3)
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
[[ $EUID -eq 0 ]] || fail "network namespaces need root: run it with sudo, or as root"

# shellcheck source=packaging/apt.sh
source "$root/packaging/apt.sh"
missing=()
for program in ip:iproute2 ping:iputils-ping iptables-restore:iptables python3:python3 unshare:util-linux "${programs[@]}"; do
    command -v "${program%:*}" >/dev/null || missing+=("${program#*:}")
done
[[ ${#missing[@]} -eq 0 ]] || ensure_packages "${missing[@]}"
if [[ -z $plugins ]]; then
    echo "building the executables; the first time takes a minute"
    "$root/packaging/build.sh"
    plugins=$root/dist/shibafu
fi

namespaces=(--net --mount --pid --fork --mount-proc --kill-child)
unshare "${namespaces[@]}" true 2>/dev/null ||
    fail "cannot make namespaces here: inside a container, start that with --privileged"

stage=$(mktemp -d /tmp/shibafu-demo.XXXXXX) # a place to mount on; nothing is ever in it outside the namespaces
trap 'rmdir "$stage"' EXIT
# In the background, so that Ctrl-C is handled here: the first process in there ends, and all others with it.
unshare "${namespaces[@]}" "$root/packaging/demo/$steps.sh" "$root" "$plugins" "$stage" "$all" </dev/null &
machine=$!
stop() {
    kill -KILL "$machine" 2>/dev/null || true
    wait "$machine" 2>/dev/null || true
    fail "stopped; nothing is left of it"
}
trap stop INT TERM HUP
wait "$machine"
