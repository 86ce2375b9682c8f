"""`shibafu watch run`."""

import os
from argparse import ArgumentParser, Namespace

from shibafu.cli.subcommand import Context, Subcommand

# Python's usual thresholds of garbage collection.
_GARBAGE = (700, 10, 10)
_ROUTERS = "/etc/shibafu/routers.yaml"


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("-n", "--dry-run", action="store_true", help="only log what would be healed")
    parser.add_argument("--metrics", metavar="FILE", default="", help="write metrics for Prometheus")
    parser.add_argument(
        "--routers",
        metavar="FILE",
        default=os.environ.get("SHIBAFU_ROUTERS") or _ROUTERS,
        help=f"the host's routers, if there is such a file ($SHIBAFU_ROUTERS, {_ROUTERS})",
    )
    parser.add_argument("--once", action="store_true", help="look once, heal, and end")


def _run(context: Context, arguments: Namespace) -> int:
    import gc

    from shibafu.watch.journal import Journal
    from shibafu.watch.watcher import Watcher

    def log(line: str) -> None:
        context.out.text(line)
        context.out.stream.flush()

    journal = Journal(log)
    watcher = Watcher(context, journal, arguments.dry_run, arguments.routers, arguments.metrics)
    if arguments.once:
        watcher.run_once()
    else:
        # The command looks for garbage late, as it ends soon. What has been imported stays.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_GARBAGE)
        watcher.run()
    context.out.data(journal.describe() | {"running": False})
    return 0


SUBCOMMAND = Subcommand(
    "run",
    "heal networks, and switch from dead cables and routers to others",
    "Watch what the kernel announces, in the foreground, until SIGTERM or Ctrl-C, and restore bridges,\n"
    "ports, addresses, rules and switches of networks within a fraction of a second after somebody has\n"
    "removed them. What is removed again and again is left alone after ten times. What containers have\n"
    "inside is left to `shibafu network repair`, unless a network's configuration says otherwise. When an\n"
    "uplink of a bridge dies, another one takes its place. Where a file lists routers of the host, its\n"
    "default routes follow those that answer.",
    (
        "shibafu watch run",
        "shibafu watch run --metrics /var/lib/prometheus/node-exporter/shibafu-watch.prom",
        "shibafu watch run --dry-run           # log only",
        "shibafu watch run --once              # look once, and end",
    ),
    _run,
    _add_arguments,
)
