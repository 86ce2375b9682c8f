"""`shibafu start`."""

from argparse import Namespace
from typing import TYPE_CHECKING

from shibafu.cli.container.common import add_containers, open_containers
from shibafu.cli.subcommand import Context, Subcommand

if TYPE_CHECKING:
    from shibafu.container.container_record import ContainerRecord
    from shibafu.container.containers import Containers


def _run(context: Context, arguments: Namespace) -> int:
    containers = open_containers(context, arguments)
    return start_all(context, containers, [containers.find(name) for name in arguments.containers])


def start_all(context: Context, containers: "Containers", records: list["ContainerRecord"]) -> int:
    """Start containers in the background, report each, and return the exit code."""
    from shibafu.networks.lifecycle import ensure_networks

    started = []
    for record in records:
        context.out.warn(ensure_networks(context.conf_dir, record.load().networks))
        started.append({"name": record.name, "pid": containers.start(record)})
        context.out.text(record.name)
    context.out.data(started)
    return 0


SUBCOMMAND = Subcommand(
    "start",
    "start stopped containers",
    "Start stopped containers in the background, with the files they have written and with their\n"
    "addresses, unless those have been given out since.",
    ("shibafu start web1",),
    _run,
    add_containers,
)
