"""shibafu-loopback: sets up a container's own loopback interface.

Nothing of it is on the host, so that there is nothing to remember, to repair or to collect.
"""
