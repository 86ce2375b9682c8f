"""`shibafu network disconnect`."""

from argparse import ArgumentParser, Namespace

from shibafu.cli.subcommand import Context, Subcommand
from shibafu.networks.errors import CommandError


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("network", metavar="NETWORK", help="which network")
    parser.add_argument(
        "container", metavar="CONTAINER|NETNS", help="a container's ID, or a namespace's name or path"
    )
    parser.add_argument("--ifname", default="", help="the interface; by default all on this network")


def _run(context: Context, arguments: Namespace) -> int:
    from shibafu.networks.attachments import Caller, choose_endpoints
    from shibafu.networks.configured import load_network
    from shibafu.networks.errors import Failures
    from shibafu.networks.inspect import Inspector
    from shibafu.networks.kernel import open_kernel

    network = load_network(context.conf_dir, arguments.network)
    with open_kernel() as kernel:
        endpoints = Inspector(kernel, context.cache_dir).find_endpoints(network)
        meant = choose_endpoints(endpoints, arguments.container)
        if not meant:
            names = ", ".join(sorted({endpoint.container_id for endpoint in endpoints}))
            raise CommandError(
                f"{arguments.container} is not on network {network.name}",
                f"its containers: {names}" if names else "the network has no containers",
            )
        chosen = [endpoint for endpoint in meant if arguments.ifname in ("", endpoint.ifname)]
        if not chosen:
            ifnames = ", ".join(endpoint.ifname for endpoint in meant)
            raise CommandError(
                f"{meant[0].container_id} has no interface {arguments.ifname} on network {network.name}",
                f"its interfaces: {ifnames}",
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


SUBCOMMAND = Subcommand(
    "disconnect",
    "detach a container from a network",
    "Detach a container from a network by calling its plugins with DEL. Its namespace may already be gone.",
    ("shibafu network disconnect blue web", "shibafu network disconnect blue web --ifname eth1"),
    _run,
    _add_arguments,
)
