"""`shibafu engine run`."""

import os
from argparse import ArgumentParser, Namespace

from shibafu.cli.subcommand import Context, Subcommand
from shibafu.networks.errors import UsageError


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--metrics",
        metavar="FILE",
        default="",
        help="write metrics for Prometheus every 15 seconds",
    )


def _run(_context: Context, arguments: Namespace) -> int:
    from shibafu.cli.engine.client import find_engine, require_root

    if arguments.metrics == "-":
        raise UsageError("these metrics go to a file", "`shibafu engine status --metrics -` prints them")
    require_root()
    program = find_engine().program
    # The engine works in the root directory.
    metrics = [f"--metrics={os.path.abspath(arguments.metrics)}"] if arguments.metrics else []
    os.execv(program, [program, *metrics])  # noqa: S606 - our own program


SUBCOMMAND = Subcommand(
    "run",
    "run the engine in the foreground",
    "Run the engine in the foreground, until SIGTERM or Ctrl-C; calls in progress have 95 seconds to\n"
    "finish. It also ends when another build replaces its own. The service shibafu-engine runs this.",
    (
        "shibafu engine run",
        "shibafu engine run --metrics /var/lib/prometheus/node-exporter/shibafu.prom",
    ),
    _run,
    _add_arguments,
)
