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
    from shibafu.runtime.cache import cache_list

    containers = open_containers(context, arguments)
    records = [containers.find(name) for name in arguments.containers]
    former = {}
    for record in records:
        attachments = cache_list(container_id=record.name, directory=context.cache_dir)
        former[record.name] = sorted({attachment.network for attachment in attachments})
        containers.stop(record, arguments.time)
    status = start_all(context, containers, records)
    for record in records:
        lost = [network for network in former[record.name] if network not in record.load().networks]
        context.out.warn([_describe_lost(record.name, network) for network in lost])
    return status


def _describe_lost(name: str, network: str) -> str:
    again = f"`shibafu network connect {network} {name}`"
    return f"{name} is no longer on network {network}, to which it was connected while it ran: {again}"


SUBCOMMAND = Subcommand(
    "restart",
    "stop and start containers",
    "Stop containers as `shibafu stop` does, and start them again as `shibafu start` does: on the networks\n"
    "of `shibafu run`, without those that `shibafu network connect` has added. A warning names these.",
    ("shibafu restart web1", "shibafu restart --time 0 web1    # without waiting"),
    _run,
    _add_arguments,
)
