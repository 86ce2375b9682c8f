"""`shibafu engine status`."""

from argparse import ArgumentParser, Namespace
from typing import Any

from shibafu.cli.container.ps import format_age
from shibafu.cli.output import Output
from shibafu.cli.subcommand import Context, Subcommand
from shibafu.networks.errors import CommandError, UsageError
from shibafu.networks.text import format_count, format_size, format_table

# As of service scripts (LSB) and systemctl(1).
NOT_RUNNING = 3


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--metrics",
        metavar="FILE",
        default="",
        help="write metrics for Prometheus; - for standard output",
    )


def _run(context: Context, arguments: Namespace) -> int:
    from shibafu.cli.engine.client import ask_engine, find_engine, require_root
    from shibafu.engine.metrics import render_metrics, write_metrics

    if arguments.metrics == "-" and context.out.is_json:
        raise UsageError("metrics are not JSON", "omit --format json, or write the metrics to a file")
    require_root()
    place = find_engine().place
    try:
        found = ask_engine(place)
    except CommandError:
        if arguments.metrics and arguments.metrics != "-":
            # What is there would say that it runs.
            write_metrics(arguments.metrics, {"running": False})
        raise
    status = found.status if found else {"running": False, "home": place.home}
    if arguments.metrics == "-":
        context.out.text(render_metrics(status).rstrip("\n"))
    else:
        if arguments.metrics:
            write_metrics(arguments.metrics, status)
        context.out.data(status)
        _print(context.out, status, place.read_build())
    return 0 if found else NOT_RUNNING


def _print(out: Output, status: dict[str, Any], installed: str) -> None:
    if not status["running"]:
        state = out.style.paint("yellow", "not running")
        out.text(f"{state}: calls of {status['home']} start cold")
        return
    supervisor = f" by {status['supervisor']}" if status["supervisor"] else ""
    build = status["build"] if status["build"] == installed else f"{status['build']}, which has been replaced"
    training = "" if status["trained"] else ", not trained"
    age = f"{format_age(status['seconds'])}{supervisor}"
    if status["ending"]:
        rest = f"ends after {format_count(status['busy'], 'call')} in progress; new ones start cold"
        out.text(f"{out.style.paint('yellow', 'ending')}, after {age}: process {status['pid']} {rest}")
    else:
        out.text(f"{out.style.paint('green', 'running')} for {age}: process {status['pid']}")
    out.text(f"  of       {status['home']}")
    out.text(f"  version  {status['version']}, build {build}")
    out.text(f"  calls    {status['busy']} running, {format_count(status['spares'], 'spare')}{training}")
    out.text(f"  memory   {format_size(status['memory'])}")
    served = [
        [
            calls["program"],
            calls["verb"] or "-",
            calls["outcome"],
            str(calls["count"]),
            _format_duration(calls["seconds"] / calls["count"]),
        ]
        for calls in status["calls"]
    ]
    cold = [[calls["reason"], str(calls["count"])] for calls in status["cold"]]
    for head, rows in (
        (("PROGRAM", "VERB", "OUTCOME", "CALLS", "MEAN"), served),
        (("COLD, BECAUSE", "CALLS"), cold),
    ):
        if rows:
            out.text("\n" + "\n".join(format_table(head, rows, out.style)))


def _format_duration(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"


SUBCOMMAND = Subcommand(
    "status",
    "show the state of the engine",
    "Show whether the engine runs, which calls it has served, how long they took on average, and why\n"
    "others started cold. The exit code is 3 if it is not running. Calls that ended with an error are\n"
    "`failed`; calls whose process was killed are `lost`.",
    (
        "shibafu engine status",
        "shibafu engine status --format json",
        "shibafu engine status --metrics -     # for Prometheus",
    ),
    _run,
    _add_arguments,
)
