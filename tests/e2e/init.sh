#!/bin/bash
# The first process of a test's machine; see machine.py. Runs in namespaces of its own.
#
#   init.sh SUITE     SUITE: the directory of our executables
#
# What a test may write to lies over the real machine's, in memory, and vanishes with this process. That
# ends when its standard input does, and takes all processes of the machine along.
set -euo pipefail
suite=$1
support=$(cd "$(dirname "${BASH_SOURCE[0]}")/../support" && pwd)

mount -t proc proc /proc
mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs tmpfs /dev/shm # where Podman has locks
for directory in etc opt var; do
    mkdir -p "/run/.over/$directory" "/run/.work/$directory"
    mount -t overlay overlay \
        -o "lowerdir=/$directory,upperdir=/run/.over/$directory,workdir=/run/.work/$directory" "/$directory"
done

# Replacing in place: our executables where the reference's of the same names were.
mkdir -p /run/reference /opt/cni/bin
mount --bind /usr/lib/cni /run/reference
mount -t overlay overlay -o "lowerdir=$suite:/usr/lib/cni" /usr/lib/cni
mount --bind /usr/lib/cni /opt/cni/bin
rm -rf /etc/cni /var/lib/cni
mkdir -p /etc/cni/net.d /run/netns

# A world outside to talk to.
sysctl -eqp "$support/namespace.conf"
ip link set lo up
"$support/netns_add.sh" outside
ip link add uplink type veth peer name uplink netns outside
ip addr add 198.51.100.1/24 dev uplink
ip addr add 2001:db8::1/64 dev uplink nodad
ip -n outside addr add 198.51.100.2/24 dev uplink
ip -n outside addr add 2001:db8::2/64 dev uplink nodad
ip link set uplink up
ip -n outside link set uplink up

echo ready
# bash reaps what the runtimes' daemons leave orphaned while it waits here.
while read -r _; do :; done
