"""`shibafu network apply`."""

from argparse import ArgumentParser, Namespace

from shibafu.cli.subcommand import Context, Subcommand

_MAX_SIZE = 1 << 20
_MARKS = {"create": ("green", "+"), "change": ("yellow", "~"), "keep": ("dim", "=")}


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("-f", "--file", metavar="FILE", required=True, help="the file, - for stdin")
    parser.add_argument("-n", "--dry-run", action="store_true", help="only show what would change")


def _run(context: Context, arguments: Namespace) -> int:
    from shibafu.documents.document_files import read_document
    from shibafu.networks.apply import calc_plan, carry_out, describe_step
    from shibafu.networks.attachments import Caller
    from shibafu.networks.configured import load_networks
    from shibafu.networks.errors import Failures
    from shibafu.networks.kernel import open_kernel
    from shibafu.networks.lifecycle import lock_configuration
    from shibafu.networks.manifest import parse_manifest
    from shibafu.networks.resolve import Resolver
    from shibafu.runtime.conflist import ConflistError

    broken: list[ConflistError] = []
    failures = Failures(context.out.failure)
    declared = parse_manifest(*read_document(arguments.file, _MAX_SIZE))
    with lock_configuration(), open_kernel() as kernel:
        networks = load_networks(context.conf_dir, [], broken)
        caller = Caller.of_directories(kernel, context)
        resolver = Resolver(kernel, networks)
        steps = calc_plan(declared, networks, resolver, caller, context.conf_dir)
        if not arguments.dry_run:
            steps = carry_out(steps, networks, context.conf_dir, caller, failures)
    context.out.warn(resolver.warnings + [error.msg for error in broken])
    context.out.data({"dryRun": arguments.dry_run, "steps": [describe_step(step) for step in steps]})
    for step in steps:
        colour, mark = _MARKS[step.action]
        subnets = " and ".join(str(subnet.network) for subnet in step.spec.subnets)
        what = "; ".join(step.differences) or f"{subnets} on bridge {step.spec.bridge}"
        context.out.text(context.out.style.paint(colour, f"{mark} {step.action} {step.spec.name}: {what}"))
    if arguments.dry_run:
        context.out.text("nothing was changed: this was a dry run")
    return failures.status


SUBCOMMAND = Subcommand(
    "apply",
    "create and change networks as declared in a file",
    "Create and change networks until they are as a YAML file declares them. Subnets and bridges that the\n"
    "file leaves open are chosen once and kept; any other key that it leaves out has its default, also in a\n"
    "network that now has another value. Networks that are not declared stay. Running it again changes\n"
    "nothing. Subnets and bridges of networks with containers are not changed; other changes apply to new\n"
    "containers.",
    (
        "shibafu network apply -f networks.yaml --dry-run",
        "shibafu network export | ssh other shibafu network apply -f -",
        "",
        "# networks.yaml; only the names are required",
        "networks:",
        "  blue:",
        "    subnets:",
        "      - { subnet: 172.21.0.0/24, gateway: 172.21.0.1, range: 172.21.0.128/25 }",
        "    bridge: br-blue",
        "    mtu: 1400",
        "    ipv6: true",
        "    internal: false",
        "    masquerade: true",
        "    driver-opts: { portIsolation: true }",
        "  green:",
    ),
    _run,
    _add_arguments,
)
