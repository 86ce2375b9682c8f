"""`shibafu policy matrix`."""

from argparse import Namespace

from shibafu.cli.policy_options import add_policy_dir
from shibafu.cli.subcommand import Context, Subcommand

_MARKS = {"all": ("green", "all"), "some": ("yellow", "some"), "none": ("red", "-")}
# How much of a container's ID heads a column.
_SHOWN = 12


def _run(context: Context, arguments: Namespace) -> int:
    from shibafu.documents.errors import DocumentError
    from shibafu.networks.policy_control import find_difference
    from shibafu.networks.policy_networks import open_policies
    from shibafu.networks.policy_pods import calc_matrix, list_pods

    mistakes: list[str] = []
    policies, pods = open_policies(arguments.policy_dir, context.conf_dir).load(mistakes), list_pods()
    if mistakes:
        raise DocumentError("\n".join(mistakes))
    matrix = calc_matrix(policies, pods)
    context.out.data(
        [
            {"source": source, "destination": destination, "ports": scope}
            for (source, destination), scope in matrix.items()
        ]
    )
    names = [pod.name for pod in pods]
    rows = []
    for source in names:
        scopes = [matrix.get((source, destination), "") for destination in names]
        cells = [context.out.style.paint(*_MARKS[scope]) if scope else "" for scope in scopes]
        rows.append((source, *cells))
    if difference := find_difference(policies):
        context.out.warn([difference])
    context.out.table(("FROM \\ TO", *(name[:_SHOWN] for name in names)), rows)
    return 0


SUBCOMMAND = Subcommand(
    "matrix",
    "show who may connect to whom",
    "Show to how many ports of each container each other one may connect by network policies: all, some,\n"
    "or none (-). A row is for a source, a column for a destination.",
    ("shibafu policy matrix", "shibafu policy matrix --format json"),
    _run,
    add_policy_dir,
)
