"""`shibafu run` and its like: containers of runc, attached to networks by shibafu-hook."""
