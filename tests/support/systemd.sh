#!/bin/bash
# A systemd of a test's own, which manages nothing but what the test has it manage: an instance as users have one, in
# namespaces for mounts, processes and control groups.
#
#   systemd.sh DIRECTORY     its runtime directory, with its units in `units`
#
# It ends, with all that it has started, when standard input does.
set -euo pipefail
mount -t proc proc /proc
mount -t cgroup2 cgroup2 /sys/fs/cgroup
# It wants to have been booted by itself. The namespaces of the test's containers stay.
mkdir "$1/netns"
mount --rbind /run/netns "$1/netns"
mount -t tmpfs tmpfs /run
mkdir -p /run/netns /run/systemd/system
mount --move "$1/netns" /run/netns
export XDG_RUNTIME_DIR=$1 SYSTEMD_UNIT_PATH=$1/units:
/lib/systemd/systemd --user --log-target=console </dev/null >"$1/log" 2>&1 &
until systemctl --user is-system-running >/dev/null 2>&1; do
    kill -0 $! || exit
    sleep 0.05
done
echo ready
while read -r _; do :; done
