"""`shibafu network export`."""

from argparse import ArgumentParser, Namespace

from shibafu.cli.subcommand import Context, Subcommand
from shibafu.networks.errors import CommandError


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("networks", metavar="NETWORK", nargs="*", help="networks; by default all")


def _run(context: Context, arguments: Namespace) -> int:
    from shibafu.networks.configured import load_networks
    from shibafu.networks.errors import Failures
    from shibafu.networks.manifest import calc_manifest, format_manifest
    from shibafu.networks.spec import parse_spec
    from shibafu.runtime.conflist import ConflistError

    failures = Failures(context.out.failure)
    broken: list[ConflistError] = []
    specs = []
    for network in load_networks(context.conf_dir, arguments.networks, broken):
        spec = parse_spec(network.name, network.config.plugins)
        if spec is not None:
            specs.append(spec)
        elif arguments.networks:
            what = f"network {network.name} has plugins or keys that a manifest cannot express"
            failures.add(CommandError(what, f"copy its file: {network.config.path}"))
        else:
            context.out.text(
                f"# {network.name} is omitted: it has plugins or keys that a manifest cannot express"
            )
    failures.add(*broken)
    context.out.data(calc_manifest(specs))
    context.out.text(format_manifest(specs))
    return failures.status


SUBCOMMAND = Subcommand(
    "export",
    "print networks as a file for `network apply`",
    "Print networks as `shibafu network apply` reads them.",
    ("shibafu network export > networks.yaml", "shibafu network export blue green"),
    _run,
    _add_arguments,
)
