"""`shibafu policy apply`."""

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from shibafu.cli.policy_options import add_policy_dir
from shibafu.cli.subcommand import Context, Subcommand

if TYPE_CHECKING:
    from shibafu.policy.model import PolicySet
    from shibafu.policy.policy_documents import PolicySource
    from shibafu.policy.policy_files import PolicyChange, PolicyDirectory

_MARKS = {"create": ("green", "+"), "change": ("yellow", "~"), "keep": ("dim", "=")}


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "-f",
        "--file",
        metavar="FILE|DIR",
        action="append",
        default=[],
        help="a file with policies, a directory of such files, or - for stdin; may be repeated; "
        "by default only what /etc/shibafu/policies has, and networks' configurations state, is applied",
    )
    way = parser.add_mutually_exclusive_group()
    way.add_argument("-n", "--dry-run", action="store_true", help="only show what would change")
    way.add_argument(
        "--cut", action="store_true", help="also end connections that are open, if policies deny them"
    )
    add_policy_dir(parser)


def _run(context: Context, arguments: Namespace) -> int:
    from shibafu.documents.errors import DocumentError
    from shibafu.networks.policy_control import find_difference, find_unknown
    from shibafu.networks.policy_cut import cut_connections
    from shibafu.networks.policy_networks import open_policies
    from shibafu.policy.policy_files import expand_paths, read_sources

    mistakes: list[str] = []
    sources = read_sources(expand_paths(arguments.file), mistakes)
    if mistakes:
        raise DocumentError("\n".join(mistakes))
    directory = open_policies(arguments.policy_dir, context.conf_dir)
    if arguments.dry_run:
        changes, policies = directory.calc_changes(sources), directory.load(mistakes)
    else:
        changes, policies = _store(directory, sources)
    ended = cut_connections(policies) if arguments.cut else []
    context.out.data(
        {
            "dryRun": arguments.dry_run,
            "steps": [
                {"action": one.action, "kind": one.source.kind, "name": "/".join(one.source.key)}
                for one in changes
            ],
            "ended": [
                {
                    "protocol": one.protocol,
                    "source": str(one.source),
                    "destination": str(one.destination),
                    "port": one.port,
                }
                for one in ended
            ],
        }
    )
    for one in changes:
        colour, mark = _MARKS[one.action]
        context.out.text(context.out.style.paint(colour, f"{mark} {one.action} {one.source.title}"))
    for connection in ended:
        context.out.text(f"ended {connection}")
    if arguments.dry_run:
        if not changes and (difference := find_difference(policies)):
            context.out.text(difference)
        context.out.text("nothing was changed: this was a dry run")
    elif not changes:
        networks = " and what networks' configurations state" if policies.stated else ""
        context.out.text(f"applied what {arguments.policy_dir} has{networks}")
    unknown = find_unknown()
    context.out.warn(unknown)
    return 1 if unknown else 0


def _store(
    directory: "PolicyDirectory", sources: "list[PolicySource]"
) -> "tuple[list[PolicyChange], PolicySet]":
    """Return what has changed, and all policies: to read them once more would take as long as all else."""
    from shibafu.networks.policy_control import enforce_policies

    enforced: list[PolicySet] = []

    def enforce(policies: "PolicySet") -> None:
        enforce_policies(policies)
        enforced.append(policies)

    changes = directory.store(sources, enforce)
    return changes, enforced[0]


SUBCOMMAND = Subcommand(
    "apply",
    "create and change policies as declared in files",
    "Create and change network policies: NetworkPolicy of networking.k8s.io/v1 and Namespace of v1, as\n"
    "Kubernetes has them. Policies that the files do not declare stay. All files are applied, or none if\n"
    "one has a mistake. What is applied takes effect at once, for new connections, and lasts; those that\n"
    "are open stay open without --cut.",
    (
        "shibafu policy apply -f policies/ --dry-run",
        "kubectl get networkpolicies,namespaces -A -o yaml | shibafu policy apply -f -",
        "shibafu policy apply                    # after changes in /etc/shibafu/policies",
        "shibafu policy apply -f db.yaml --cut   # and end what it no longer allows",
        "",
        "# only containers with app=web may connect to port 5432 of those with app=db",
        "apiVersion: networking.k8s.io/v1",
        "kind: NetworkPolicy",
        "metadata: { name: db }",
        "spec:",
        "  podSelector: { matchLabels: { app: db } }",
        "  ingress:",
        "    - from: [{ podSelector: { matchLabels: { app: web } } }]",
        "      ports: [{ port: 5432 }]",
    ),
    _run,
    _add_arguments,
)
