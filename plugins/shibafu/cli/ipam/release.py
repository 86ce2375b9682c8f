"""`shibafu ipam release`."""

from argparse import ArgumentParser, Namespace

from shibafu.cli.subcommand import Context, Subcommand, parse_address_argument
from shibafu.networks.errors import UsageError


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("network", metavar="NETWORK", help="which network")
    parser.add_argument(
        "addresses", metavar="ADDRESS", nargs="*", type=parse_address_argument, help="which addresses"
    )
    parser.add_argument(
        "--container", metavar="ID", default="", help="release all of a container's addresses"
    )
    parser.add_argument("-f", "--force", action="store_true", help="even if the container may still use them")


def _run(context: Context, arguments: Namespace) -> int:
    from shibafu.networks.configured import load_network
    from shibafu.networks.leases import release_address, release_container

    if bool(arguments.addresses) == bool(arguments.container):
        raise UsageError("name addresses, or a container with --container, but not both")
    network = load_network(context.conf_dir, arguments.network)
    if arguments.container:
        released = release_container(network, arguments.container, arguments.force)
    else:
        found = [release_address(network, address, arguments.force) for address in arguments.addresses]
        released = [lease for lease in found if lease is not None]
    context.out.data({"network": network.name, "released": [str(lease.address) for lease in released]})
    for lease in released:
        context.out.text(f"{lease.address} is free; it belonged to {lease.container_id} {lease.ifname}")
    if not released:
        context.out.text("nothing to do: already free")
    return 0


SUBCOMMAND = Subcommand(
    "release",
    "release addresses",
    "Release addresses that are reserved or whose containers are gone. It is not an error if an address is\n"
    "already free. Plugins wait in the meantime.",
    (
        "shibafu ipam release blue 172.21.0.7",
        "shibafu ipam release blue --container web1",
        "shibafu ipam release blue 172.21.0.7 --force   # although its container may still use it",
    ),
    _run,
    _add_arguments,
)
