"""`shibafu network disconnect`."""

import os
from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from shibafu.cli.subcommand import Context, Subcommand
from shibafu.networks.errors import CommandError

if TYPE_CHECKING:
    from shibafu.networks.inspect import Endpoint


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("network", metavar="NETWORK", help="which network")
    parser.add_argument(
        "container", metavar="CONTAINER|NETNS", help="a container's ID, or a namespace's name or path"
    )
    parser.add_argument("--ifname", default="", help="the interface; by default all on this network")


def _run(context: Context, arguments: Namespace) -> int:
    from shibafu.networks.attachments import Caller
    from shibafu.networks.configured import load_network
    from shibafu.networks.errors import Failures
    from shibafu.networks.inspect import Inspector
    from shibafu.networks.kernel import open_kernel

    network = load_network(context.conf_dir, arguments.network)
    with open_kernel() as kernel:
        endpoints = Inspector(kernel, context.cache_dir).find_endpoints(network)
        meant = _choose(endpoints, arguments.container)
        if not meant:
            names = ", ".join(sorted({endpoint.container_id for endpoint in endpoints}))
            raise CommandError(
                f"{arguments.container} is not on network {network.name}",
                f"these are: {names}" if names else "the network has no containers",
            )
        chosen = [endpoint for endpoint in meant if arguments.ifname in ("", endpoint.ifname)]
        if not chosen:
            ifnames = ", ".join(endpoint.ifname for endpoint in meant)
            raise CommandError(
                f"{meant[0].container_id} has no interface {arguments.ifname} on network {network.name}",
                f"it has: {ifnames}",
            )
        caller = Caller.of_directories(kernel, context)
        failures = Failures(context.out.failure)
        gone = []
        for endpoint in chosen:
            with failures.part(f"network {network.name}"):
                caller.detach(network, endpoint)
                gone.append({"containerID": endpoint.container_id, "ifname": endpoint.ifname})
                context.out.text(
                    f"{endpoint.container_id}: {endpoint.ifname} is detached from network {network.name}"
                )
    context.out.data({"network": network.name, "disconnected": gone})
    return failures.status


def _choose(endpoints: list["Endpoint"], text: str) -> list["Endpoint"]:
    """Return the endpoints of a container, named by its ID, its namespace or the beginning of its ID."""
    from shibafu.networks.attachments import find_named_netns, is_short_id

    netns = find_named_netns(text)
    for is_meant in (
        lambda e: e.container_id == text,
        lambda e: netns is not None and os.path.exists(e.netns) and os.path.samefile(e.netns, netns),
        # What is the name of a namespace or container does not stand for another container besides.
        lambda e: netns is None and is_short_id(text, e.container_id),
    ):
        chosen = [endpoint for endpoint in endpoints if is_meant(endpoint)]
        if len({endpoint.container_id for endpoint in chosen}) > 1:
            names = ", ".join(sorted({endpoint.container_id for endpoint in chosen}))
            raise CommandError(f"several containers begin with {text}", f"they are: {names}")
        if chosen:
            return chosen
    return []


SUBCOMMAND = Subcommand(
    "disconnect",
    "detach a container from a network",
    "Detach a container from a network by calling its plugins with DEL. Its namespace may already be gone.",
    ("shibafu network disconnect blue web", "shibafu network disconnect blue web --ifname eth1"),
    _run,
    _add_arguments,
)
