"""What plugins of the suite are made of, whatever they attach to.

`base` says what a resource is; `transaction` makes them, or none. `records` remembers attachments and rules;
`claim` is an attachment's. `teardown` removes all that can be removed, then reports the rest.
"""
