"""`shibafu network check`."""

from argparse import ArgumentParser, Namespace
from dataclasses import asdict
from typing import TYPE_CHECKING

from shibafu.cli.subcommand import Context, Subcommand

if TYPE_CHECKING:
    from shibafu.networks.attachments import Finding
    from shibafu.networks.configured import ConfiguredNetwork


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("networks", metavar="NETWORK", nargs="*", help="networks; by default all")


def _run(context: Context, arguments: Namespace) -> int:
    from shibafu.networks.attachments import Caller
    from shibafu.networks.configured import load_networks
    from shibafu.networks.errors import Failures
    from shibafu.networks.kernel import open_kernel
    from shibafu.runtime.conflist import ConflistError

    failures = Failures(context.out.failure)
    broken: list[ConflistError] = []
    findings: list[Finding] = []
    with open_kernel() as kernel:
        caller = Caller.of_directories(kernel, context)
        for network in load_networks(context.conf_dir, arguments.networks, broken):
            with failures.part(f"network {network.name}"):
                findings += caller.check(network)
                findings += _find_duplicates(network)
    failures.add(*broken)
    context.out.data([asdict(finding) for finding in findings])
    for finding, following in zip(findings, [*findings[1:], None], strict=True):
        who = f"{finding.network} {finding.containerID} {finding.ifname}".rstrip()
        if finding.problem:
            context.out.text(f"{context.out.style.paint('red', '✗')} {who}: {finding.problem}")
            # What helps several is said once, below the last of them.
            if finding.advice and (following is None or following.advice != finding.advice):
                context.out.text(f"  {finding.advice}")
        elif finding.notChecked:
            context.out.text(
                f"{context.out.style.paint('yellow', '-')} {who}: not checked: {finding.notChecked}"
            )
        else:
            context.out.text(f"{context.out.style.paint('green', '✓')} {who}")
    return 1 if any(finding.problem for finding in findings) else failures.status


def _find_duplicates(network: "ConfiguredNetwork") -> list["Finding"]:
    """Return which addresses of this host other hosts also have, where hosts share the network's gateway."""
    from shibafu.networks.attachments import Finding
    from shibafu.watch.gateway_duplicates import find_duplicates

    duplicates = find_duplicates(network)
    return [Finding(network.name, "", "", one.describe(), "", one.advise()) for one in duplicates]


SUBCOMMAND = Subcommand(
    "check",
    "check networks and containers",
    "Ask the plugins of each network whether a container could be attached (STATUS), and for each container\n"
    "whether it still has what ADD gave it (CHECK). Nothing is changed. Where the plugins cannot be asked,\n"
    'as with disableCheck or a version without STATUS, the output says "not checked". Where hosts share\n'
    "a gateway, others are found that have this host's addresses, too. Below what is wrong is what to do\n"
    "about it: `shibafu network repair` restores what was removed, and `shibafu network gc` frees what\n"
    "containers that are gone left behind. The exit code is 1 if anything is wrong.",
    ("shibafu network check", "shibafu network check blue && echo fine"),
    _run,
    _add_arguments,
)
