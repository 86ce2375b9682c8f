"""`shibafu network pause`."""

from argparse import ArgumentParser, Namespace
from dataclasses import asdict

from shibafu.cli.subcommand import Context, Subcommand, parse_duration


def add_pause_arguments(parser: ArgumentParser) -> None:
    """Add the arguments that `down` has, too."""
    parser.add_argument("networks", metavar="NETWORK", nargs="+", help="which networks")
    parser.add_argument(
        "--for",
        metavar="TIME",
        dest="seconds",
        type=parse_duration,
        help="for how long, such as 90s, 30m, 1h or 2d; by default until it is resumed",
    )


def _run(context: Context, arguments: Namespace) -> int:
    from shibafu.networks.configured import load_networks
    from shibafu.networks.errors import Failures
    from shibafu.networks.pausing import pause_network

    failures = Failures(context.out.failure)
    paused = []
    for network in load_networks(context.conf_dir, arguments.networks, []):
        with failures.part(f"network {network.name}"):
            pause = pause_network(network.name, arguments.seconds)
            paused.append({"network": network.name, "pause": asdict(pause)})
            context.out.text(f"{network.name}: {pause.describe()}")
    context.out.data({"paused": paused})
    return failures.status


SUBCOMMAND = Subcommand(
    "pause",
    "leave networks alone while they are changed on purpose",
    "Keep what is changed or removed of networks from being restored by `shibafu watch`, by\n"
    "`shibafu network repair` and by the next ADD, which attaches its container and leaves bridge and rules\n"
    "as they are. It ends after the time of --for, by `shibafu network resume`, or with a network's last\n"
    "container.",
    (
        "shibafu network pause blue --for 1h",
        "shibafu network pause blue green",
    ),
    _run,
    add_pause_arguments,
)
