"""shibafu-portmap: publishes a container's ports at the host's addresses.

What is published is remembered for all networks of the host together, so that no two containers get one port.
"""
