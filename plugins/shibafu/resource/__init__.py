"""What plugins of the suite are made of, whatever they attach to.

`records` remembers attachments and the rules made for them; `undo` takes back what a failed call did;
`teardown` removes all that can be removed, then reports the rest.
"""
