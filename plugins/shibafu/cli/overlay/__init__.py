"""`shibafu overlay`: networks of several hosts."""
