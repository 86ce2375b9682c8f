"""`shibafu link rm`."""

from argparse import ArgumentParser, Namespace

from shibafu.cli.subcommand import Context, Subcommand


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("link", metavar="LINK", help="a link in this namespace")


def _run(context: Context, arguments: Namespace) -> int:
    from shibafu.networks import links

    context.out.commands(links.remove(arguments.link))
    return 0


SUBCOMMAND = Subcommand(
    "rm",
    "remove a link",
    "Remove a link; a veth pair goes with both of its ends. It is not an error if it is already gone.",
    ("shibafu link rm veth-web", "shibafu link rm br0                   # its ports stay, unconnected"),
    _run,
    _add_arguments,
)
