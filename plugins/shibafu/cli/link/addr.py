"""`shibafu link addr`."""

from argparse import ArgumentParser, ArgumentTypeError, Namespace

from shibafu.cli.subcommand import Context, Subcommand


def _parse_address(text: str) -> object:
    from shibafu.networks.links import parse_interface

    try:
        return parse_interface(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("link", metavar="LINK", help="a link in this namespace, or in --netns")
    parser.add_argument(
        "addresses", metavar="ADDR", nargs="+", type=_parse_address, help="such as 10.1.0.2/24"
    )
    parser.add_argument("--netns", metavar="NETNS|PID", help="the link's namespace")


def _run(context: Context, arguments: Namespace) -> int:
    from shibafu.networks import links
    from shibafu.networks.named_netns import inside, require_netns

    if not arguments.netns:
        context.out.commands(links.add_addresses(arguments.link, arguments.addresses))
        return 0
    netns = require_netns(arguments.netns)
    with inside(netns):
        done = links.add_addresses(arguments.link, arguments.addresses)
    context.out.commands([f"nsenter --net={netns} {line}" for line in done])
    return 0


SUBCOMMAND = Subcommand(
    "addr",
    "give a link addresses",
    "Give a link addresses and set it up. The prefix says which neighbours can be reached through it\n"
    "without a gateway.",
    (
        "shibafu link addr br0 10.1.0.1/24 fd00:1::1/64",
        "shibafu link addr eth0 10.1.0.2/24 --netns web",
    ),
    _run,
    _add_arguments,
)
