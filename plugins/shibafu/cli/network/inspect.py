"""`shibafu network inspect`."""

import os
import time
from argparse import ArgumentParser, Namespace
from dataclasses import replace
from typing import TYPE_CHECKING

from shibafu.cli.subcommand import Context, Subcommand, parse_pause
from shibafu.networks.errors import CommandError, Failures

if TYPE_CHECKING:
    from shibafu.networks.inspect import NetworkView

_CLEAR = "\x1b[H\x1b[2J"


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("networks", metavar="NETWORK", nargs="+", help="which networks")
    parser.add_argument("-w", "--watch", action="store_true", help="repeat until Ctrl-C")
    parser.add_argument(
        "--interval", metavar="SECONDS", type=parse_pause, default=2.0, help="seconds between repetitions (2)"
    )


def _run(context: Context, arguments: Namespace) -> int:
    if not arguments.watch:
        failures = Failures(context.out.failure)
        _show(context, _look(context, arguments.networks, failures))
        return failures.status
    out = context.out
    try:
        while True:
            views = _look(context, arguments.networks, Failures(out.failure))
            if not out.is_json and out.stream.isatty():
                out.stream.write(_CLEAR)
            _show(context, views, compact=True)
            out.stream.flush()
            time.sleep(arguments.interval)
    except KeyboardInterrupt:
        return 0


def _look(context: Context, names: list[str], failures: Failures) -> list["NetworkView"]:
    from shibafu.networks.configured import load_networks
    from shibafu.networks.desired import DesiredState
    from shibafu.networks.inspect import Inspector
    from shibafu.networks.kernel import open_kernel
    from shibafu.networks.resource_states import add_resource_states
    from shibafu.networks.rules import list_rules
    from shibafu.watch.gateway_duplicates import find_duplicates

    views = []
    networks = load_networks(context.conf_dir, names, [])
    with open_kernel() as kernel:
        inspector = Inspector(kernel, context.cache_dir)
        for network in networks:
            with failures.part(f"network {network.name}"):
                rules = list_rules(network.name, os.environ.get("PATH", ""))
                view = inspector.inspect(network, rules)
                if network.bridge is not None:
                    view = add_resource_states(
                        view, DesiredState(network, context.cni_path, context.cache_dir)
                    )
                if view.shared_gateway is not None:
                    place = replace(view.shared_gateway, duplicates=find_duplicates(network))
                    view = replace(view, shared_gateway=place)
                views.append(view)
                failures.add(*map(CommandError, view.broken))
    return views


def _show(context: Context, views: list["NetworkView"], compact: bool = False) -> None:
    from shibafu.cli.policy.restrictions import draw_restricted, find_restricted, select_restricted
    from shibafu.cli.watch.summary import draw_watch, summarize_watch
    from shibafu.networks.diagram import draw_network
    from shibafu.watch.status import read_watch_status

    out, status = context.out, read_watch_status()
    summaries = [summarize_watch(status, view) for view in views]
    restricted = find_restricted(context.conf_dir)
    denied = [
        select_restricted(restricted, (endpoint.container_id for endpoint in view.endpoints))
        for view in views
    ]
    shown = list(zip(views, summaries, denied, strict=True))
    out.data(
        [view.to_json() | {"watch": summary, "restricted": pairs} for view, summary, pairs in shown], compact
    )
    pictures = [
        "\n".join(
            [
                *draw_network(view, out.style),
                *draw_restricted(pairs, out.style),
                *draw_watch(summary, out.style),
            ]
        )
        for view, summary, pairs in shown
    ]
    out.text("\n\n".join(pictures))


SUBCOMMAND = Subcommand(
    "inspect",
    "show networks as they are now",
    "Draw networks: the bridge, its ports, the containers at their other ends, addresses, traffic,\n"
    "published ports, limits, rules, who may not connect to whom by network policies, and faults, as\n"
    "`shibafu network check` and `repair` report them, except those of leases. With --format json the\n"
    "output is one array; with --watch as well, one array per line.",
    (
        "shibafu network inspect blue",
        "shibafu network inspect blue green --watch --interval 1",
        "shibafu network inspect blue --format json | jq '.[0].bridge'",
    ),
    _run,
    _add_arguments,
)
