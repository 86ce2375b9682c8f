"""shibafu-firewall: lets a network's packets through the host's firewall, and keeps networks apart.

The chains CNI-FORWARD, CNI-ADMIN and CNI-ISOLATION-STAGE-1 and -2 are the reference's, and shared with it. A
network's own is one chain, with rules for the network and not for each container. It is made with the first
of these and removed with the last.
"""
