"""What plugins of the suite are made of, whatever they attach to.

`base` says what a resource is, and `obstacles` what keeps one from being made; `transaction` makes them, or
none; `teardown` removes all that can be removed, then reports the rest. They see the kernel through a
`view`. `records` remembers attachments and rules, each in a `record`, below a namespace's `home`; `claim`
is an attachment's. `netns` opens a namespace, `identity` says which one it is. `registry` finds the plan of
a plugin by its type in a chain.
"""
