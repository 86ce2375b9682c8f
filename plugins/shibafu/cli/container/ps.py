"""`shibafu ps`."""

import time
from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING, Any

from shibafu.cli.container.common import add_data_dir, open_containers
from shibafu.cli.subcommand import Context, Subcommand
from shibafu.networks.text import format_port

if TYPE_CHECKING:
    from shibafu.container.container_record import ContainerRecord, Status

_HEAD = ("NAME", "IMAGE", "STATUS", "NETWORKS", "ADDRESSES", "PORTS", "COMMAND")
_UNITS = ((86400, "d"), (3600, "h"), (60, "min"))


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("containers", metavar="CONTAINER", nargs="*", help="containers; by default all")
    parser.add_argument("-a", "--all", action="store_true", help="include those that are not running")
    parser.add_argument("-q", "--quiet", action="store_true", help="names only")
    add_data_dir(parser)


def _run(context: Context, arguments: Namespace) -> int:
    containers = open_containers(context, arguments)
    records = [containers.find(name) for name in arguments.containers] or containers.find_all()
    views = [_view(context, record) for record in records]
    if not (arguments.all or arguments.containers):
        views = [view for view in views if view["state"] == "running"]
    if arguments.quiet:
        names = [view["name"] for view in views]
        context.out.data(names)
        context.out.text("\n".join(names))
        return 0
    context.out.data(views)
    context.out.table(_HEAD, [_calc_row(view) for view in views])
    return 0


def _view(context: Context, record: "ContainerRecord") -> dict[str, Any]:
    """Return a container for programs."""
    from shibafu.container.container_record import Status
    from shibafu.container.errors import ContainerError
    from shibafu.container.specification import Specification
    from shibafu.runtime.cache import cache_list

    status = record.calc_status()
    try:
        spec = record.load()
    except ContainerError:
        # It can be removed, and must not hide the others.
        spec = Specification(record.name, "", "", [])
        status = Status("damaged")
    addresses: list[str] = []
    ports: list[str] = []
    attachments = cache_list(container_id=record.name, directory=context.cache_dir)
    # eth0, eth1, ... eth10
    attachments.sort(key=lambda attachment: (len(attachment.ifname), attachment.ifname))
    for attachment in attachments:
        result: dict[str, Any] = attachment.result or {}
        addresses += [str(ip.get("address")) for ip in result.get("ips", [])]
        ports += map(format_port, result.get("portMappings", []))
    return {
        "name": record.name,
        "image": spec.image,
        "state": status.state,
        "exitCode": status.exit_code,
        "since": status.since,
        "status": describe_status(status, time.time()),
        "pid": status.pid,
        # Those of now, by `network connect`, too; its next start attaches it to those of `run` alone.
        "networks": list(dict.fromkeys(attachment.network for attachment in attachments)) or spec.networks,
        "addresses": addresses,
        # As they were asked for, unless some were chosen.
        "ports": ports or spec.ports,
        "command": spec.argv,
    }


def _calc_row(view: dict[str, Any]) -> tuple[str, ...]:
    command = " ".join(view["command"])
    return (
        view["name"],
        view["image"],
        view["status"],
        ", ".join(view["networks"]),
        ", ".join(view["addresses"]),
        ", ".join(view["ports"]),
        command if len(command) <= 32 else command[:31] + "…",
    )


def describe_status(status: "Status", now: float) -> str:
    """Return how a container is, in words: `up 3 min`, `exited (0) 5 s ago`."""
    age = format_age(max(0, now - status.since))
    if status.state == "running":
        return f"up {age}"
    if status.state == "exited":
        return f"exited ({status.exit_code}) {age} ago"
    return status.state


def format_age(seconds: float) -> str:
    """Return a time span, roughly."""
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{int(seconds / size)} {unit}"
    return f"{int(seconds)} s"


SUBCOMMAND = Subcommand(
    "ps",
    "list containers",
    "List the containers created by `shibafu run`: those that are running, or all.",
    ("shibafu ps", "shibafu ps --all", "shibafu ps --all --quiet | xargs shibafu rm"),
    _run,
    _add_arguments,
)
