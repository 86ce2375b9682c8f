"""`shibafu network resume`."""

from argparse import ArgumentParser, Namespace

from shibafu.cli.subcommand import Context, Subcommand


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("networks", metavar="NETWORK", nargs="+", help="which networks")


def _run(context: Context, arguments: Namespace) -> int:
    from shibafu.cli.network.repair import RepairReport
    from shibafu.networks.configured import load_networks
    from shibafu.networks.errors import Failures
    from shibafu.networks.pausing import resume_network

    failures = Failures(context.out.failure)
    resumed = []
    networks = load_networks(context.conf_dir, arguments.networks, [])
    for network in networks:
        with failures.part(f"network {network.name}"):
            if resume_network(network.name):
                resumed.append(network.name)
                context.out.text(f"{network.name}: resumed")
            else:
                context.out.text(f"{network.name}: was not paused")
    report = RepairReport(context, failures)
    report.repair(networks)
    return report.show({"resumed": resumed})


SUBCOMMAND = Subcommand(
    "resume",
    "end the pause of networks and repair them",
    "End the pause of networks, and restore what was changed or removed meanwhile, as `shibafu network\n"
    "repair` does.",
    ("shibafu network resume blue",),
    _run,
    _add_arguments,
)
