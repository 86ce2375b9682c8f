"""`shibafu ipam`: the addresses that shibafu-ipam and host-local have given out."""
