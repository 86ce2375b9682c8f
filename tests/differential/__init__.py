"""The same calls to the reference's plugins and to ours, and what may differ.

`case` is what a configuration of the table looks like; the tables, `table_*.py`, are data. `laboratory`
runs a case with one suite in namespaces of its own, `snapshot` reads the kernel's state, and
`comparison` finds what differs. `differences` explains, with a reason each, all that may.
`specs` is what the reference's own tests say of ours. `compatibility` makes docs/compatibility.md of all
this.
"""
