"""`shibafu network repair`."""

from argparse import ArgumentParser, Namespace
from dataclasses import asdict
from typing import TYPE_CHECKING

from shibafu.cli.subcommand import Context, Subcommand

if TYPE_CHECKING:
    from shibafu.cni.errors import CniError
    from shibafu.networks.attachments import Caller
    from shibafu.networks.configured import ConfiguredNetwork
    from shibafu.networks.errors import Failures
    from shibafu.networks.repair import NetworkFault


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("networks", metavar="NETWORK", nargs="*", help="networks; by default all")
    parser.add_argument("-n", "--dry-run", action="store_true", help="only show what is wrong")


def _run(context: Context, arguments: Namespace) -> int:
    from shibafu.networks.configured import load_networks
    from shibafu.networks.errors import Failures
    from shibafu.runtime.conflist import ConflistError

    failures = Failures(context.out.failure)
    broken: list[ConflistError] = []
    networks = load_networks(context.conf_dir, arguments.networks, broken)
    if not arguments.networks:
        networks = [one for one in networks if one.bridge is not None or one.problem]
    report = RepairReport(context, failures)
    report.repair(networks, arguments.dry_run)
    failures.add(*broken)
    return report.show({"paused": report.paused})


class RepairReport:
    """What networks lacked, and what they lack after their repair.

    Args:
        context: where things are, and where to print.
        failures: takes what cannot be repaired, and why.

    Attributes:
        paused: the networks that were left alone, since they are paused.
    """

    def __init__(self, context: Context, failures: "Failures") -> None:
        self._context = context
        self._failures = failures
        self._found: list[NetworkFault] = []
        self._left: list[NetworkFault] = []
        self._gone: list[tuple[str, str]] = []
        self.paused: list[str] = []

    def repair(self, networks: "list[ConfiguredNetwork]", is_dry_run: bool = False) -> None:
        """Repair networks, unless they are paused; or only look at them."""
        from shibafu.networks.attachments import Caller
        from shibafu.networks.kernel import open_kernel

        with open_kernel() as kernel:
            caller = Caller.of_directories(kernel, self._context)
            for network in networks:
                with self._failures.part(f"network {network.name}"):
                    self._repair(network, caller, is_dry_run)

    def _repair(self, network: "ConfiguredNetwork", caller: "Caller", is_dry_run: bool) -> None:
        from shibafu.networks.inspect import GONE
        from shibafu.networks.pausing import PauseState
        from shibafu.networks.repair import Repair

        unreadable: list[CniError] = []
        endpoints = caller.find_endpoints(network, unreadable)
        self._failures.add(*unreadable)
        self._gone += [(network.name, one.container_id) for one in endpoints if one.state == GONE]
        repair = Repair(network, caller)
        faults = repair.find_faults()
        self._found += faults
        pause = PauseState.of_network(network.name)
        if pause is not None:
            self.paused.append(network.name)
            end = f"`shibafu network resume {network.name}` ends that and repairs it"
            self._context.out.text(f"network {network.name} is {pause.describe()}: {end}")
        elif faults and not is_dry_run:
            with self._failures.part(f"network {network.name}"):
                repair.run()
            faults = repair.find_faults()
        self._left += faults

    def show(self, more: dict[str, object]) -> int:
        """Print it, for programs with more than the faults, and return the exit code."""
        out, left = self._context.out, self._left
        # What a repair brought to light is not news to the dry run after it.
        found = self._found + [fault for fault in left if fault not in self._found]
        out.data({"faults": [asdict(fault) | {"repaired": fault not in left} for fault in found]} | more)
        for fault in found:
            mark = out.style.paint("red", "✗") if fault in left else out.style.paint("green", "✓ repaired:")
            whose = f"{fault.network}, container {fault.containerID}" if fault.containerID else fault.network
            out.text(f"{mark} {whose}: {fault.what}")
            if fault in left and fault.advice:
                out.text(f"  {fault.advice}")
        if not found and not self.paused and not self._failures.status:
            out.text("nothing to repair")
        for network, container_id in self._gone:
            advice = f"`shibafu network gc {network}` frees what it left behind"
            out.text(f"{network}, container {container_id}: namespace gone; {advice}")
        return 1 if left else self._failures.status


SUBCOMMAND = Subcommand(
    "repair",
    "restore what is missing from networks",
    "Restore bridges, ports, addresses, rules and limits, for example after the firewall was flushed or\n"
    "reloaded or a bridge was deleted. Containers are not restarted and keep their addresses. What other\n"
    "plugins of a chain made is not restored: see `shibafu network check`. What containers that are gone\n"
    "left behind is freed by `shibafu network gc`. A network that is paused is left alone. The exit code\n"
    "is 1 if anything is wrong in the end, also with --dry-run.",
    (
        "shibafu network repair --dry-run",
        "iptables -t nat -F; ip link del br-blue; shibafu network repair   # to see what it does",
    ),
    _run,
    _add_arguments,
)
