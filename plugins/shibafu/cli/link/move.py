"""`shibafu link move`."""

from argparse import ArgumentParser, Namespace

from shibafu.cli.subcommand import Context, Subcommand


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("link", metavar="LINK", help="a link in this namespace")
    parser.add_argument("netns", metavar="NETNS|PID", help="where to move it")


def _run(context: Context, arguments: Namespace) -> int:
    from shibafu.networks import links
    from shibafu.networks.named_netns import require_netns

    context.out.commands(links.move(arguments.link, require_netns(arguments.netns)))
    return 0


SUBCOMMAND = Subcommand(
    "move",
    "move a link to another namespace",
    "Move a link to another network namespace. There it is down and has no addresses.",
    (
        "shibafu link move eth1 web            # a namespace that `ip netns list` shows",
        "shibafu link move eth1 4711           # the namespace of a process",
    ),
    _run,
    _add_arguments,
)
