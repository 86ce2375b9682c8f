"""`shibafu network repair`."""

from argparse import ArgumentParser, Namespace
from dataclasses import asdict
from typing import TYPE_CHECKING

from shibafu.cli.subcommand import Context, Subcommand
from shibafu.cni.errors import CniError

if TYPE_CHECKING:
    from shibafu.networks.errors import Failures
    from shibafu.networks.repair import NetworkFault


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("networks", metavar="NETWORK", nargs="*", help="networks; by default all")
    parser.add_argument("-n", "--dry-run", action="store_true", help="only show what is wrong")


def _run(context: Context, arguments: Namespace) -> int:
    from shibafu.networks.attachments import Caller
    from shibafu.networks.configured import load_networks
    from shibafu.networks.errors import Failures
    from shibafu.networks.kernel import open_kernel
    from shibafu.networks.repair import Repair
    from shibafu.runtime.conflist import ConflistError

    failures = Failures(context.out.failure)
    broken: list[ConflistError] = []
    found: list[NetworkFault] = []
    left: list[NetworkFault] = []
    with open_kernel() as kernel:
        caller = Caller.of_directories(kernel, context)
        for network in load_networks(context.conf_dir, arguments.networks, broken):
            if network.bridge is None and not network.problem and not arguments.networks:
                continue
            with failures.part(f"network {network.name}"):
                unreadable: list[CniError] = []
                caller.find_endpoints(network, unreadable)
                failures.add(*unreadable)
                repair = Repair(network, caller)
                faults = repair.find_faults()
                found += faults
                if faults and not arguments.dry_run:
                    with failures.part(f"network {network.name}"):
                        repair.run()
                    faults = repair.find_faults()
                left += faults
    failures.add(*broken)
    return _report(context, found, left, failures)


def _report(
    context: Context, found: list["NetworkFault"], left: list["NetworkFault"], failures: "Failures"
) -> int:
    # What a repair brought to light is not news to the dry run after it.
    found += [fault for fault in left if fault not in found]
    context.out.data({"faults": [asdict(fault) | {"repaired": fault not in left} for fault in found]})
    style = context.out.style
    for fault in found:
        mark = style.paint("red", "✗") if fault in left else style.paint("green", "✓ repaired:")
        whose = f"{fault.network}, container {fault.containerID}" if fault.containerID else fault.network
        context.out.text(f"{mark} {whose}: {fault.what}")
        if fault in left and fault.advice:
            context.out.text(f"  {fault.advice}")
    if not found and not failures.status:
        context.out.text("nothing to repair")
    return 1 if left else failures.status


SUBCOMMAND = Subcommand(
    "repair",
    "restore what is missing from networks",
    "Restore bridges, ports, addresses, rules and limits, for example after the firewall was flushed or\n"
    "reloaded or a bridge was deleted. Containers are not restarted and keep their addresses. What other\n"
    "plugins of a chain made is not restored: see `shibafu network check`. With --dry-run the exit code is\n"
    "1 if anything is wrong.",
    (
        "iptables -t nat -F; ip link del br-blue; shibafu network repair",
        "shibafu network repair --dry-run",
    ),
    _run,
    _add_arguments,
)
