"""The parts of an attachment.

`lease` (addresses), `fabric` (the bridge and its gateway), `isolation` (the group of their links), `pair`,
`port` and `vlans` (the host's end), `interface` (the container's end), `carrier` (that packets get
through), `masquerade` (the network's rules), `spoofcheck` and `internal` (what a port may send),
`foreign_drops` (what others put in the way). `*_faults` are what only CHECK and `repair`
need, `*_removal` and `stale` what DEL and GC do.
"""
