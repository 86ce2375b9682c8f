"""`shibafu network export`."""

from argparse import ArgumentParser, Namespace

from shibafu.command.errors import CommandError
from shibafu.command.subcommand import Context, Subcommand


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("networks", metavar="NETWORK", nargs="*", help="which networks; by default all")


def _run(context: Context, arguments: Namespace) -> int:
    from shibafu.command.declaration import calc_declaration, format_declaration
    from shibafu.command.networks import load_networks
    from shibafu.command.specification import parse_conflist

    networks = load_networks(context.conf_dir, arguments.networks)
    parsed = {network.name: parse_conflist(network.name, network.config.plugins) for network in networks}
    foreign = [name for name, spec in parsed.items() if spec is None]
    if foreign and arguments.networks:
        raise CommandError(
            f"network {foreign[0]} has plugins or keys that a declaration cannot express",
            f"copy its file: {next(n.config.path for n in networks if n.name == foreign[0])}",
        )
    specs = [spec for spec in parsed.values() if spec is not None]
    context.out.data(calc_declaration(specs))
    for name in foreign:
        context.out.text(f"# {name} is left out: it has plugins or keys that cannot be declared here")
    context.out.text(format_declaration(specs))
    return 0


SUBCOMMAND = Subcommand(
    "export",
    "declare networks in a file",
    "Print networks as `shibafu network apply` reads them.",
    ("shibafu network export > networks.yaml", "shibafu network export blue green"),
    _run,
    _add_arguments,
)
