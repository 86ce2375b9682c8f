"""Masquerading and forwarding: what a network needs of the host's firewall, and the switches in /proc/sys.

Rules belong to a network, not to a container: a network of a thousand containers has as many as one
of a single container. `rules` says what they are; each backend, one file, puts them into the kernel.
"""
