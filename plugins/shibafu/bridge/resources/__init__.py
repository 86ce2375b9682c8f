"""The parts of an attachment.

`fabric` (the bridge and its gateway), `port` and `vlans` (the host's end), `interface` (the container's end),
`masquerade` (the network's rules), `spoofcheck` and `internal` (what a port may send).
"""
