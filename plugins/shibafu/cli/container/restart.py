"""`shibafu restart`."""

from argparse import ArgumentParser, Namespace

from shibafu.cli.container.common import add_containers, open_containers
from shibafu.cli.container.start import start_all
from shibafu.cli.container.stop import add_time
from shibafu.cli.subcommand import Context, Subcommand


def _add_arguments(parser: ArgumentParser) -> None:
    add_containers(parser)
    add_time(parser)


def _run(context: Context, arguments: Namespace) -> int:
    containers = open_containers(context, arguments)
    records = [containers.find(name) for name in arguments.containers]
    for record in records:
        containers.stop(record, arguments.time)
    return start_all(context, containers, records)


SUBCOMMAND = Subcommand(
    "restart",
    "stop and start containers",
    "Stop containers as `shibafu stop` does, and start them again as `shibafu start` does: on the networks\n"
    "of `shibafu run`, without those that `shibafu network connect` has added.",
    ("shibafu restart web1", "shibafu restart --time 0 web1    # without waiting"),
    _run,
    _add_arguments,
)
