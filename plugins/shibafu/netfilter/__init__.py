"""Masquerading and forwarding: what a network needs of the host's firewall, and the switches in /proc/sys.

Rules belong to a network, not to a container: a network of a thousand containers has as many as one
of a single container. `network_rulesets` and `port_rulesets` say what they are; the backends `iptables` and
`nftables` make, compare and remove them.
"""
