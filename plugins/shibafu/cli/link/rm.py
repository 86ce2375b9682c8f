"""`shibafu link rm`."""

from argparse import ArgumentParser, Namespace

from shibafu.cli.subcommand import Context, Subcommand


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("link", metavar="LINK", help="a link of this namespace")


def _run(context: Context, arguments: Namespace) -> int:
    from shibafu.networks import links

    context.out.commands(links.remove(arguments.link))
    return 0


SUBCOMMAND = Subcommand(
    "rm",
    "remove a link",
    "Remove a link; of a veth pair the other end goes with it. That it is gone already is not an error.",
    ("shibafu link rm veth-web", "shibafu link rm br0                   # its ports stay, unconnected"),
    _run,
    _add_arguments,
)
