"""`shibafu network gc`."""

from argparse import ArgumentParser, Namespace

from shibafu.cli.subcommand import Context, Subcommand


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("networks", metavar="NETWORK", nargs="*", help="networks; by default all")
    parser.add_argument("-n", "--dry-run", action="store_true", help="only show what would be freed")


def _run(context: Context, arguments: Namespace) -> int:
    from shibafu.cni.errors import CniError, merge_errors
    from shibafu.networks.attachments import Caller
    from shibafu.networks.configured import load_networks
    from shibafu.networks.errors import Failures
    from shibafu.networks.kernel import open_kernel
    from shibafu.runtime.conflist import ConflistError

    failures = Failures(context.out.failure)
    broken: list[ConflistError] = []
    freed = []
    with open_kernel() as kernel:
        caller = Caller.of_directories(kernel, context)
        for network in load_networks(context.conf_dir, arguments.networks, broken):
            with failures.part(f"network {network.name}"):
                errors: list[CniError] = []
                for endpoint in caller.collect_garbage(network, arguments.dry_run, errors):
                    identity = {"containerID": endpoint.container_id, "ifname": endpoint.ifname}
                    freed.append({"network": network.name} | identity | {"addresses": endpoint.addresses})
                    verb = "would free" if arguments.dry_run else "freed"
                    held = ", ".join(endpoint.addresses) or "no address"
                    context.out.text(
                        f"{network.name}: {verb} what {endpoint.container_id} {endpoint.ifname} had: {held}"
                    )
                if errors:
                    raise merge_errors(errors)
    failures.add(*broken)
    context.out.data({"dryRun": arguments.dry_run, "freed": freed})
    if not freed and not failures.status:
        context.out.text("nothing to free: all containers still exist")
    return failures.status


SUBCOMMAND = Subcommand(
    "gc",
    "free what containers left behind",
    "Free the addresses, links and rules of containers whose namespaces are gone, by calling the network's\n"
    "plugins with DEL and GC. Addresses of unknown containers stay: see `shibafu ipam ls`.",
    ("shibafu network gc --dry-run", "shibafu network gc blue"),
    _run,
    _add_arguments,
)
