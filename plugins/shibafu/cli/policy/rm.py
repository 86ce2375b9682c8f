"""`shibafu policy rm`."""

from argparse import ArgumentParser, Namespace

from shibafu.cli.policy_options import add_policy_dir
from shibafu.cli.subcommand import Context, Subcommand


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("policies", metavar="[NAMESPACE/]NAME", nargs="+", help="which policies")
    add_policy_dir(parser)


def _run(context: Context, arguments: Namespace) -> int:
    from shibafu.networks.errors import Failures
    from shibafu.networks.policy_control import enforce_policies
    from shibafu.networks.policy_networks import open_policies
    from shibafu.policy.policy_files import split_name

    failures = Failures(context.out.failure)
    removed = []
    for text in arguments.policies:
        try:
            key = split_name(text)
            open_policies(arguments.policy_dir, context.conf_dir).remove(*key, enforce_policies)
        except Exception as error:
            failures.add(error)
            continue
        removed.append("/".join(key))
        context.out.text(f"removed policy {removed[-1]}")
    context.out.data({"removed": removed})
    return failures.status


SUBCOMMAND = Subcommand(
    "rm",
    "remove policies",
    "Remove network policies that `shibafu policy apply -f` has added. Policies that people have written\n"
    "into files of /etc/shibafu/policies are removed there, and `shibafu policy apply` applies that.",
    ("shibafu policy rm default/web",),
    _run,
    _add_arguments,
)
