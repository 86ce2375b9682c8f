"""shibafu-bandwidth: limits how fast a container receives and sends.

What a container receives is delayed by its link's end on the host. What it sends comes in there, where
nothing can be delayed: it is redirected to a link of kind ifb, which delays it in turn. Nothing is remembered
but by the kernel: names identify the owner of a link, and its alias the network.
"""
