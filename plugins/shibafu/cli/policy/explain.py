"""`shibafu policy explain`."""

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from typing import TYPE_CHECKING, Any

from shibafu.cli.policy_options import add_policy_dir
from shibafu.cli.subcommand import Context, Subcommand

if TYPE_CHECKING:
    from shibafu.policy.evaluation import Service
    from shibafu.policy.named_service import NamedService

_DENIED = 1


def _add_arguments(parser: ArgumentParser) -> None:
    who = "a container's ID, a namespace's name or path, an address, or host"
    parser.add_argument("source", metavar="SRC", help=f"who connects: {who}")
    parser.add_argument("destination", metavar="DST", help="to whom: likewise")
    parser.add_argument(
        "service",
        metavar="[PROTOCOL/]PORT",
        type=_parse_service,
        help="to which port, such as 80 or udp/53, or the name that DST gives to it",
    )
    add_policy_dir(parser)


def _parse_service(text: str) -> "Service | NamedService":
    from shibafu.policy.named_service import parse_service_or_name

    try:
        return parse_service_or_name(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None


def _run(context: Context, arguments: Namespace) -> int:
    from shibafu.documents.errors import DocumentError
    from shibafu.networks.errors import CommandError
    from shibafu.networks.kernel import open_kernel
    from shibafu.networks.policy_control import find_difference
    from shibafu.networks.policy_networks import open_policies
    from shibafu.networks.policy_pods import find_policy_target, list_pods
    from shibafu.policy.evaluation import evaluate
    from shibafu.policy.explanation import describe_side, explain_decision
    from shibafu.policy.named_service import NamedService, find_service

    mistakes: list[str] = []
    policies, pods = open_policies(arguments.policy_dir, context.conf_dir).load(mistakes), list_pods()
    if mistakes:
        raise DocumentError("\n".join(mistakes))
    with open_kernel() as kernel:
        source, destination = (
            find_policy_target(text, pods, kernel, context.cache_dir)
            for text in (arguments.source, arguments.destination)
        )
    families = [family for family in source.endpoints if family in destination.endpoints]
    if not families:
        raise CommandError(f"{source.name} and {destination.name} have no addresses of the same family")
    try:
        service = find_service(arguments.service, destination.endpoints[families[0]].pod)
    except ValueError as error:
        raise CommandError(str(error)) from None
    decisions = {
        family: evaluate(policies, source.endpoints[family], destination.endpoints[family], service)
        for family in families
    }
    is_allowed = all(decision.is_allowed for decision in decisions.values())
    difference = find_difference(policies)
    paths: list[dict[str, Any]] = [
        {
            "source": str(source.endpoints[family].address),
            "destination": str(destination.endpoints[family].address),
            "allowed": decision.is_allowed,
            "egress": describe_side(decision.egress),
            "ingress": describe_side(decision.ingress),
        }
        for family, decision in decisions.items()
    ]
    context.out.data({"allowed": is_allowed, "paths": paths, "difference": difference})
    shown = f"{service.protocol.lower()}/{service.port}"
    if isinstance(arguments.service, NamedService):
        shown += f" ({arguments.service.name})"
    for path, decision in zip(paths, decisions.values(), strict=True):
        verdict, colour = ("allowed", "green") if decision.is_allowed else ("denied", "red")
        what = f"{source.name} ({path['source']}) to {destination.name} ({path['destination']}), {shown}"
        context.out.text(f"{context.out.style.paint(colour, verdict)}: {what}")
        context.out.text("\n".join(f"  {line}" for line in explain_decision(decision)))
    if difference:
        context.out.warn([difference])
    return 0 if is_allowed else _DENIED


SUBCOMMAND = Subcommand(
    "explain",
    "say whether a connection is allowed, and why",
    "Say whether network policies allow a connection, and which policy and rule of either side decides:\n"
    "egress at the source, ingress at the destination. Other firewalls of the host are not considered. The\n"
    "exit status is 0 if it is allowed and 1 if it is denied.",
    (
        "shibafu policy explain web db 5432",
        "shibafu policy explain 192.0.2.1 web tcp/80",
        "shibafu policy explain web db tcp/sql",
        "shibafu policy explain web 9.9.9.9 udp/53 --format json",
    ),
    _run,
    _add_arguments,
)
