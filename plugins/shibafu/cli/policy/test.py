"""`shibafu policy test`."""

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from shibafu.cli.policy_options import add_policy_dir
from shibafu.cli.subcommand import Context, Subcommand

if TYPE_CHECKING:
    from shibafu.policy.model import PolicySet

_MAX_SIZE = 1 << 20


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("expectations", metavar="FILE", nargs="+", help="tables of expectations, - for stdin")
    parser.add_argument(
        "-f",
        "--file",
        metavar="FILE|DIR",
        action="append",
        default=[],
        help="policies to test in place of this host's: a file, or a directory of such; may be repeated",
    )
    add_policy_dir(parser)


def _run(context: Context, arguments: Namespace) -> int:
    from shibafu.documents.document_files import read_document
    from shibafu.networks.errors import FAILED, CommandError
    from shibafu.networks.kernel import open_kernel
    from shibafu.networks.policy_pods import find_policy_target, list_pods
    from shibafu.policy.evaluation import PolicyEndpoint, evaluate
    from shibafu.policy.expectations import parse_expectations
    from shibafu.policy.named_service import find_service

    policies, pods = _load(context, arguments), list_pods()
    expectations = [
        expectation
        for path in arguments.expectations
        for expectation in parse_expectations(*read_document(path, _MAX_SIZE))
    ]
    outcomes = []
    with open_kernel() as kernel:

        def find_ends(side: str | PolicyEndpoint) -> dict[int, PolicyEndpoint]:
            if isinstance(side, str):
                return find_policy_target(side, pods, kernel, context.cache_dir).endpoints
            families = (4, 6) if side.address is None else (side.address.version,)
            return dict.fromkeys(families, side)

        for one in expectations:
            sources, destinations = find_ends(one.source), find_ends(one.destination)
            pod = next((destination.pod for destination in destinations.values()), None)
            try:
                service = find_service(one.service, pod)
            except ValueError as error:
                raise CommandError(f"{one.place}: {error}") from None
            found = {
                evaluate(policies, source, destinations[family], service).is_allowed
                for family, source in sources.items()
                if family in destinations
            }
            outcomes.append((one, found == {one.is_allowed}))
    wrong = [one for one, is_met in outcomes if not is_met]
    context.out.data(
        {
            "tests": len(outcomes),
            "failed": [{"place": one.place, "allowed": not one.is_allowed} for one in wrong],
        }
    )
    for one in wrong:
        verdict = "allowed, but expected to be denied", "denied, but expected to be allowed"
        context.out.text(
            f"{context.out.style.paint('red', 'failed')}: {one.place}: {verdict[one.is_allowed]}"
        )
    context.out.text(f"{len(outcomes) - len(wrong)} of {len(outcomes)} expectations are met")
    return FAILED if wrong else 0


def _load(context: Context, arguments: Namespace) -> "PolicySet":
    from shibafu.documents.errors import DocumentError
    from shibafu.networks.policy_networks import open_policies
    from shibafu.policy.policy_documents import join_sources
    from shibafu.policy.policy_files import expand_paths, read_sources

    mistakes: list[str] = []
    policies = (
        join_sources(read_sources(expand_paths(arguments.file), mistakes))
        if arguments.file
        else open_policies(arguments.policy_dir, context.conf_dir).load(mistakes)
    )
    if mistakes:
        raise DocumentError("\n".join(mistakes))
    return policies


SUBCOMMAND = Subcommand(
    "test",
    "compare policies with a table of expectations",
    "Compare network policies with what is expected of them: a list in YAML of who connects to whom, and\n"
    "whether that is allowed. `from` and `to` are containers or addresses as for `explain`, or containers\n"
    "that do not have to exist, by their labels. The exit status is 1 if an expectation is not met.",
    (
        "shibafu policy test expectations.yaml",
        "shibafu policy test expectations.yaml -f policies/      # before they are applied",
        "",
        "# expectations.yaml",
        "- { from: web, to: db, port: 5432, allowed: true }",
        "- { from: 192.0.2.1, to: db, port: sql, allowed: false }  # as db names it",
        "- from: { namespace: prod, labels: { app: web } }",
        "  to: { namespace: prod, labels: { app: dns } }",
        "  port: udp/53",
        "  allowed: true",
    ),
    _run,
    _add_arguments,
)
