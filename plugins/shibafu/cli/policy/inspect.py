"""`shibafu policy inspect`."""

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING, Any

from shibafu.cli.policy_options import add_policy_dir
from shibafu.cli.subcommand import Context, Subcommand

if TYPE_CHECKING:
    from shibafu.policy.model import Pod, Policy


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("policies", metavar="[NAMESPACE/]NAME", nargs="+", help="which policies")
    add_policy_dir(parser)


def _run(context: Context, arguments: Namespace) -> int:
    from shibafu.documents.errors import DocumentError
    from shibafu.networks.policy_networks import open_policies
    from shibafu.networks.policy_pods import list_pods
    from shibafu.policy.policy_files import split_name

    mistakes: list[str] = []
    policies = open_policies(arguments.policy_dir, context.conf_dir).load(mistakes).policies
    found = {policy.key: policy for policy in policies}
    context.out.warn(mistakes)
    pods = list_pods()
    documents = []
    for text in arguments.policies:
        policy = found.get(split_name(text))
        if policy is None:
            raise DocumentError(f"there is no policy {text}", "`shibafu policy ls` lists them")
        documents.append(_describe(policy, pods))
    context.out.data({"policies": documents})
    for document in documents:
        context.out.text(_render(document))
    return 0


def _describe(policy: "Policy", pods: list["Pod"]) -> dict[str, Any]:
    from shibafu.policy.explanation import describe_rule

    return {
        "namespace": policy.namespace,
        "name": policy.name,
        "place": policy.place,
        "selector": str(policy.pod_selector),
        "types": list(policy.types),
        "containers": [pod.name for pod in pods if policy.selects(pod)],
        "rules": [
            {"direction": direction, "place": rule.place, "allows": describe_rule(rule)}
            for direction in policy.types
            for rule in policy.rules(direction)
        ],
    }


def _render(document: dict[str, Any]) -> str:
    lines = [
        f"policy {document['namespace']}/{document['name']} ({document['place']})",
        f"  selects: {document['selector']}",
        f"  containers: {', '.join(document['containers']) or 'none'}",
    ]
    for direction in document["types"]:
        rules = [rule for rule in document["rules"] if rule["direction"] == direction]
        lines.append(f"  {direction.lower()}: {'' if rules else 'nothing is allowed'}".rstrip())
        lines += [f"    {rule['allows']}" for rule in rules]
    return "\n".join(lines)


SUBCOMMAND = Subcommand(
    "inspect",
    "show what policies say, and for whom",
    "Show network policies: the containers that each selects, and what it allows for them.",
    ("shibafu policy inspect default/db",),
    _run,
    _add_arguments,
)
