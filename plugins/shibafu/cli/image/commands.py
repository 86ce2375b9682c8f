"""The subcommands of `shibafu image`."""

from shibafu.cli.image import import_, ls, rm

GROUP = (
    "image",
    "images: import, list, remove",
    (import_.SUBCOMMAND, ls.SUBCOMMAND, rm.SUBCOMMAND),
)
