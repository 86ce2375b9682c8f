"""Containers of several hosts in one network: VXLAN between the hosts, flannel's data model."""
