"""The subcommands of `shibafu image`."""

from shibafu.command.image import import_, ls, rm

GROUP = (
    "image",
    "images: import, list, remove",
    (import_.SUBCOMMAND, ls.SUBCOMMAND, rm.SUBCOMMAND),
)
