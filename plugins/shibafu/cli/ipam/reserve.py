"""`shibafu ipam reserve`."""

from argparse import ArgumentParser, ArgumentTypeError, Namespace

from shibafu.cli.subcommand import Context, Subcommand, parse_address_argument
from shibafu.cni.names import is_valid_identifier


def _parse_label(text: str) -> str:
    if not is_valid_identifier(text):
        raise ArgumentTypeError(f'"{text}" is not a word of letters, digits and _ . -')
    return text


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("network", metavar="NETWORK", help="which network")
    parser.add_argument(
        "addresses", metavar="ADDRESS", nargs="+", type=parse_address_argument, help="which addresses"
    )
    parser.add_argument("--label", type=_parse_label, default="reserved", help="the purpose, in one word")


def _run(context: Context, arguments: Namespace) -> int:
    from shibafu.networks.configured import load_network
    from shibafu.networks.leases import reserve_address

    network = load_network(context.conf_dir, arguments.network)
    changed = []
    for address in arguments.addresses:
        if reserve_address(network, address, arguments.label):
            changed.append(str(address))
            context.out.text(f"{address} is reserved: {arguments.label}")
        else:
            context.out.text(f"{address} was already reserved")
    context.out.data({"network": network.name, "reserved": changed})
    return 0


SUBCOMMAND = Subcommand(
    "reserve",
    "keep addresses from being given out",
    "Keep addresses from being given out until they are released. A reservation is a lease without a\n"
    "container: host-local honours it and `shibafu network gc` keeps it; another runtime's GC and a reboot\n"
    "free it.",
    ("shibafu ipam reserve blue 172.21.0.50 --label printer", "shibafu ipam release blue 172.21.0.50"),
    _run,
    _add_arguments,
)
