"""shibafu-ipam: gives containers addresses from ranges, out of the store that host-local uses.

`config` and `ranges` say what is asked for, `allocator` says which address is next, `store` holds the
leases, `index` finds them without reading them all; one module per verb puts these together.
"""
