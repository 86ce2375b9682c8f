"""`shibafu network ls`."""

from argparse import ArgumentParser, Namespace

from shibafu.cli.subcommand import Context, Subcommand
from shibafu.networks.errors import CommandError


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("-q", "--quiet", action="store_true", help="names only")


def _run(context: Context, arguments: Namespace) -> int:
    from shibafu.networks.configured import load_networks
    from shibafu.networks.errors import Failures
    from shibafu.runtime.conflist import ConflistError

    failures = Failures(context.out.failure)
    broken: list[ConflistError] = []
    networks = load_networks(context.conf_dir, [], broken)
    failures.add(*broken)
    if arguments.quiet:
        context.out.data([network.name for network in networks])
        context.out.text("\n".join(network.name for network in networks))
        return failures.status

    from shibafu.cli.watch.summary import format_watch, summarize_watch
    from shibafu.networks.inspect import Inspector
    from shibafu.networks.kernel import open_kernel
    from shibafu.watch.status import read_watch_status

    with open_kernel() as kernel:
        inspector = Inspector(kernel, context.cache_dir)
        views = []
        for network in networks:
            if network.problem:
                what = f"network {network.name}: its configuration is invalid: {network.problem}"
                failures.add(CommandError(what, network.advice))
            with failures.part(f"network {network.name}"):
                views.append(inspector.inspect(network))
                failures.add(*map(CommandError, views[-1].broken))
    status = read_watch_status()
    summaries = [summarize_watch(status, view) for view in views]
    context.out.data(
        [
            view.to_json() | {"watch": summary, "restricted": []}
            for view, summary in zip(views, summaries, strict=True)
        ]
    )
    rows = []
    for view, summary in zip(views, summaries, strict=True):
        states = [view.bridge.state] if view.bridge is not None else []
        if view.paused is not None:
            states.append(view.paused.describe_end())
        name = view.bridge.name if view.bridge is not None else "-"
        link = f"{name} ({', '.join(states)})" if states else name
        subnets = ", ".join(dict.fromkeys(use.subnet for use in view.subnets)) or "-"
        if view.overlay is not None:
            subnets += f" of {', '.join(view.overlay.networks)}"
        scarce = [use for use in view.subnets if ":" not in use.subnet] or view.subnets
        used = str(sum(use.used for use in scarce)) if scarce else "-"
        free = _format_free(sum(use.free for use in scarce)) if scarce else "-"
        count, plugins = str(len(view.endpoints)), ",".join(view.plugins)
        rows.append([view.name, link, subnets, count, used, free, format_watch(summary), plugins])
    head = ("NETWORK", "BRIDGE", "SUBNETS", "CONTAINERS", "USED", "FREE", "WATCHED", "PLUGINS")
    context.out.table(head, rows)
    return failures.status


def _format_free(count: int) -> str:
    """Return a number of addresses; that of an IPv6 subnet is beyond counting."""
    return str(count) if count < 1_000_000_000 else "many"


SUBCOMMAND = Subcommand(
    "ls",
    "list networks",
    "List the networks of this machine with their containers and the number of used and free addresses.",
    (
        "shibafu network ls",
        "shibafu network ls --format json | jq '.[].endpoints[].addresses'",
        "shibafu network ls --quiet            # names, for scripts",
    ),
    _run,
    _add_arguments,
)
