"""Containers of runc for the command `shibafu`: images, bundles, and their lives from start to end.

Networks are none of its business: a bundle names them in annotations, and shibafu-hook attaches the
container, as it would for any other OCI runtime.
"""
