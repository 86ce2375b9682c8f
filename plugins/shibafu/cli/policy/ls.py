"""`shibafu policy ls`."""

from argparse import Namespace

from shibafu.cli.policy_options import add_policy_dir
from shibafu.cli.subcommand import Context, Subcommand


def _run(context: Context, arguments: Namespace) -> int:
    from shibafu.networks.errors import FAILED, CommandError
    from shibafu.networks.policy_control import find_difference
    from shibafu.networks.policy_networks import open_policies
    from shibafu.networks.policy_pods import list_pods

    mistakes: list[str] = []
    found = open_policies(arguments.policy_dir, context.conf_dir).load(mistakes)
    pods = list_pods()
    policies = sorted(found.policies, key=lambda one: one.key)
    selected = {policy.key: [pod.name for pod in pods if policy.selects(pod)] for policy in policies}
    context.out.data(
        {
            "policies": [
                {
                    "namespace": policy.namespace,
                    "name": policy.name,
                    "types": list(policy.types),
                    "selector": str(policy.pod_selector),
                    "containers": selected[policy.key],
                    "place": policy.place,
                }
                for policy in policies
            ],
            "namespaces": [
                {"name": one.name, "labels": dict(one.labels), "place": one.place} for one in found.namespaces
            ],
        }
    )
    context.out.table(
        ("NAMESPACE", "NAME", "TYPES", "SELECTS", "CONTAINERS", "DECLARED IN"),
        [
            (
                policy.namespace,
                policy.name,
                ",".join(policy.types),
                str(policy.pod_selector),
                str(len(selected[policy.key])),
                policy.place,
            )
            for policy in policies
        ],
    )
    if difference := find_difference(found):
        context.out.warn([difference])
    if mistakes:
        context.out.failure(CommandError("\n".join(mistakes), "policies of these files are not applied"))
        return FAILED
    return 0


SUBCOMMAND = Subcommand(
    "ls",
    "list policies",
    "List the network policies of this host: the containers that each selects, in words, and how many of\n"
    "these are attached now.",
    ("shibafu policy ls", "shibafu policy ls --format json"),
    _run,
    add_policy_dir,
)
