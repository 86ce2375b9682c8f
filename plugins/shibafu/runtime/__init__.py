"""What calls plugins: networks in /etc/cni/net.d, chains of plugins, and the cache of their results.

The caller's side of the CNI specification 1.1.0, on the same files as libcni's, so that cnitool,
Podman and shibafu see each other's networks and attachments.
"""
