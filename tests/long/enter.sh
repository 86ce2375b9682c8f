#!/bin/sh
# Run a program in another root, as a machine of its own: unshare(1) made its mount, PID and perhaps network namespaces.
#
#   unshare --mount --pid --fork --kill-child enter.sh ROOT COMMAND...
#
# The root is pivoted into, since in a chroot no mount namespace can be made, which tests do.
set -eu
root=$1
shift
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
# Where the network namespace is the machine's own, this shows the machine's links: nobody writes there.
mount -t sysfs sysfs "$root/sys"
mount --rbind /sys/fs/cgroup "$root/sys/fs/cgroup"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
mkdir "$root/run/old"
cd "$root"
pivot_root . run/old
umount -l /run/old
rmdir /run/old
cd "${DIRECTORY:-/}"
exec "$@"
