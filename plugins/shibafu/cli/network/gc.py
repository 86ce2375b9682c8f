"""`shibafu network gc`."""

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from shibafu.cli.subcommand import Context, Subcommand

if TYPE_CHECKING:
    from shibafu.networks.garbage import Garbage
    from shibafu.networks.inspect import Endpoint


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("networks", metavar="NETWORK", nargs="*", help="networks; by default all")
    parser.add_argument("-n", "--dry-run", action="store_true", help="only show what would be freed")


def _run(context: Context, arguments: Namespace) -> int:
    from shibafu.cni.errors import CniError, merge_errors
    from shibafu.networks.attachments import Caller
    from shibafu.networks.configured import load_networks
    from shibafu.networks.errors import Failures
    from shibafu.networks.garbage import collect_garbage
    from shibafu.networks.kernel import open_kernel
    from shibafu.runtime.conflist import ConflistError

    failures = Failures(context.out.failure)
    broken: list[ConflistError] = []
    freed: list[dict[str, object]] = []
    leases: list[dict[str, str]] = []
    is_silent = True
    verb = "would free" if arguments.dry_run else "freed"
    with open_kernel() as kernel:
        caller = Caller.of_directories(kernel, context)
        for network in load_networks(context.conf_dir, arguments.networks, broken):
            with failures.part(f"network {network.name}"):
                errors: list[CniError] = []
                garbage = collect_garbage(network, caller, arguments.dry_run, errors)
                for endpoint in garbage.endpoints:
                    identity = {"containerID": endpoint.container_id, "ifname": endpoint.ifname}
                    freed.append({"network": network.name} | identity | {"addresses": endpoint.addresses})
                for lease in garbage.leases:
                    identity = {"containerID": lease.container_id, "ifname": lease.ifname}
                    leases.append({"network": network.name} | identity | {"address": str(lease.address)})
                lines = _describe(network.name, verb, garbage)
                context.out.text("\n".join(lines))
                is_silent = is_silent and not lines
                if errors:
                    raise merge_errors(errors)
    failures.add(*broken)
    context.out.data({"dryRun": arguments.dry_run, "freed": freed, "leases": leases})
    if is_silent and not failures.status:
        context.out.text("nothing to free: all containers still exist")
    return failures.status


def _describe(network: str, verb: str, garbage: "Garbage") -> list[str]:
    """Return what was freed of a network, and what was left, in words."""
    lines = [
        f"{network}: {verb} what {endpoint.container_id} {endpoint.ifname} had: {_describe_parts(endpoint)}"
        for endpoint in garbage.endpoints
    ]
    lines += [
        f"{network}: {verb} what {lease.container_id} {lease.ifname} had: the lease of {lease.address}"
        for lease in garbage.leases
    ]
    if garbage.unknown:
        addresses = ", ".join(str(lease.address) for lease in garbage.unknown)
        lines.append(
            f"{network}: left the leases of containers that are unknown here: {addresses}\n"
            f"  `shibafu ipam ls {network}` shows whose they are, `shibafu ipam release` frees them"
        )
    return lines


def _describe_parts(endpoint: "Endpoint") -> str:
    # Its link goes with its namespace, unless somebody has moved the other end.
    link = [f"link {endpoint.host_link}"] if endpoint.traffic is not None else []
    return ", ".join([*(f"the lease of {address}" for address in endpoint.addresses), *link]) or "no address"


SUBCOMMAND = Subcommand(
    "gc",
    "free what containers left behind",
    "Free the addresses, links and rules of containers whose namespaces are gone, by calling the network's\n"
    "plugins with DEL and GC; `shibafu network check` shows such containers. Addresses of containers that\n"
    "are unknown here stay, since another runtime may know them: see `shibafu ipam ls`. What was removed\n"
    "from containers that are still there is restored by `shibafu network repair`.",
    ("shibafu network gc --dry-run", "shibafu network gc blue"),
    _run,
    _add_arguments,
)
