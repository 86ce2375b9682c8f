#!/bin/sh
# Make network namespaces with the sysctls of namespace.conf, and their loopback interfaces up.
#
#   netns_add.sh NAME...
#
# For machines with mounts of their own; other tests make support.namespaces.Namespace, in less time.
set -eu
conf=$(dirname "$0")/namespace.conf
for name; do
    ip netns add "$name"
    # shellcheck disable=SC2016  # a parameter of the inner shell
    ip netns exec "$name" sh -ec 'sysctl -eqp "$0"; ip link set lo up' "$conf"
done
