"""`shibafu network rm`."""

from argparse import ArgumentParser, Namespace

from shibafu.cli.subcommand import Context, Subcommand


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("networks", metavar="NETWORK", nargs="+", help="which networks")
    parser.add_argument(
        "-f", "--force", action="store_true", help="disconnect containers that are still attached"
    )


def _run(context: Context, arguments: Namespace) -> int:
    from shibafu.networks.attachments import Caller
    from shibafu.networks.configured import load_networks
    from shibafu.networks.errors import Failures
    from shibafu.networks.kernel import open_kernel
    from shibafu.networks.leases import open_pool
    from shibafu.networks.lifecycle import lock_configuration, remove_network

    failures = Failures(context.out.failure)
    removed: dict[str, list[str]] = {}
    left: dict[str, list[str]] = {}
    with lock_configuration(), open_kernel() as kernel:
        everything = load_networks(context.conf_dir, [], [])
        caller = Caller.of_directories(kernel, context)
        for network in load_networks(context.conf_dir, arguments.networks, []):
            others = [o for o in everything if o.name != network.name and o.name not in removed]
            with failures.part(f"network {network.name}"):
                removed[network.name] = remove_network(network, others, caller, arguments.force)
                context.out.text(f"{network.name}: removed {', '.join(removed[network.name])}")
                left[network.name] = [str(lease.address) for lease in open_pool(network).list()]
                if left[network.name]:
                    leased = ", ".join(left[network.name])
                    context.out.text(
                        f"{network.name}: left in {network.data_dir}, of unknown containers: {leased}"
                    )
    context.out.data({"removed": removed, "left": left})
    return failures.status


SUBCOMMAND = Subcommand(
    "rm",
    "remove networks",
    "Remove networks with their bridges, rules, leases and configuration files. A network with containers\n"
    "is refused.",
    (
        "shibafu network rm blue green",
        "shibafu network rm --force blue       # disconnect its containers first",
    ),
    _run,
    _add_arguments,
)
