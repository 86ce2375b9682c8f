"""`shibafu stop`."""

from argparse import ArgumentParser, Namespace

from shibafu.cli.container.common import add_containers, open_containers
from shibafu.cli.subcommand import Context, Subcommand, parse_time

SECONDS = 10.0


def add_time(parser: ArgumentParser) -> None:
    """Add the option for the time that a container may take to end."""
    parser.add_argument(
        "-t",
        "--time",
        type=parse_time,
        default=SECONDS,
        metavar="SECONDS",
        help=f"how long it may take to end before it is killed ({SECONDS:.0f})",
    )


def _add_arguments(parser: ArgumentParser) -> None:
    add_containers(parser)
    add_time(parser)


def _run(context: Context, arguments: Namespace) -> int:
    containers = open_containers(context, arguments)
    stopped = {
        record.name: containers.stop(record, arguments.time)
        for record in [containers.find(name) for name in arguments.containers]
    }
    context.out.data({"stopped": [name for name, was_running in stopped.items() if was_running]})
    for name, was_running in stopped.items():
        context.out.text(name if was_running else f"{name} was not running")
    return 0


SUBCOMMAND = Subcommand(
    "stop",
    "end containers",
    "Stop containers by SIGTERM, and those that do not end in time by SIGKILL. They are detached from their\n"
    "networks. The files they have written stay until `shibafu rm`.",
    ("shibafu stop web1 web2", "shibafu stop --time 0 web1       # without waiting"),
    _run,
    _add_arguments,
)
