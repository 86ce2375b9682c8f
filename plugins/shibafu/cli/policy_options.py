"""Options of several subcommands that concern network policies."""

import os
from argparse import ArgumentParser, Namespace, _ArgumentGroup

from shibafu.cli.subcommand import convert

POLICY_DIR = "/etc/shibafu/policies"


def add_policy_dir(parser: ArgumentParser) -> None:
    """Add the option for the directory of policies."""
    parser.add_argument(
        "--policy-dir",
        metavar="DIR",
        default=os.environ.get("SHIBAFU_POLICY_DIR") or POLICY_DIR,
        help=f"directory of network policies ($SHIBAFU_POLICY_DIR, {POLICY_DIR})",
    )


def add_policy_options(parser: ArgumentParser) -> None:
    """Add the options to a subcommand that attaches a container."""
    group: _ArgumentGroup = parser.add_argument_group("what network policies find it by")
    group.add_argument(
        "--namespace",
        metavar="NAMESPACE",
        type=convert(_parse_namespace),
        help="the namespace of policies that it belongs to; by default 'default'",
    )
    group.add_argument(
        "--label",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        type=convert(_parse_label),
        help="a label, such as app=web; may be repeated",
    )
    group.add_argument(
        "--named-port",
        metavar="NAME=PORT[/PROTOCOL]",
        action="append",
        default=[],
        type=convert(_parse_named_port),
        help="a name for one of its ports, such as http=80/tcp; may be repeated",
    )


def calc_policy_args(arguments: Namespace) -> dict[str, str]:
    """Return the pairs of CNI_ARGS that say what the options do."""
    from shibafu.policy.pod_identity import calc_identity_args

    return calc_identity_args(arguments.namespace or "", dict(arguments.label), arguments.named_port)


def _parse_namespace(text: str) -> str:
    from shibafu.policy.label_syntax import require_namespace_name

    return require_namespace_name(text)


def _parse_label(text: str) -> tuple[str, str]:
    from shibafu.policy.label_syntax import parse_label

    return parse_label(text)


def _parse_named_port(text: str) -> tuple[str, str, int]:
    from shibafu.policy.label_syntax import require_port_name
    from shibafu.policy.pod_identity import parse_named_port

    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f'"{text}" is not a port with a name: write one such as http=80/tcp')
    port, protocol = parse_named_port(value)
    return require_port_name(name), protocol, port
