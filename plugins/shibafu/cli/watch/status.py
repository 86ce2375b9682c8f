"""`shibafu watch status`."""

import time
from argparse import Namespace
from typing import Any

from shibafu.cli.container.ps import format_age
from shibafu.cli.output import Output
from shibafu.cli.subcommand import Context, Subcommand
from shibafu.cli.watch.summary import draw_uplinks
from shibafu.networks.text import format_count, format_table

# As of service scripts (LSB) and systemctl(1).
_NOT_RUNNING = 3


def _run(context: Context, _arguments: Namespace) -> int:
    from shibafu.watch.status import read_watch_status

    status = read_watch_status()
    context.out.data(status)
    _print(context.out, status)
    return 0 if status["running"] else _NOT_RUNNING


def _print(out: Output, status: dict[str, Any]) -> None:
    if not status["running"]:
        state = out.style.paint("yellow", "not running")
        out.text(
            f"{state}: only `shibafu network repair`, and attaching a container, restore what is missing\n"
            "  to start it: `systemctl enable --now shibafu-watch`, or `shibafu watch run` in the foreground"
        )
        return
    age = format_age(time.time() - status["started"])
    out.text(f"{out.style.paint('green', 'running')} for {age}: process {status['pid']}")
    rows = [[heal["network"], _split(heal["resource"]), str(heal["count"])] for heal in status["heals"]]
    if rows:
        out.text("\n" + "\n".join(format_table(("NETWORK", "RESOURCE", "HEALED"), rows, out.style)))
    for one in status["uplinks"]:
        out.text(
            f"\nuplinks of bridge {one['bridge']}: {draw_uplinks(one['links'], out.style)}; "
            f"switched {format_count(one['switches'], 'time')}"
        )
    rows = [_make_row(router) for router in status["routers"]]
    if rows:
        head = ("ROUTER", "LINK", "METRIC", "TAKEOVERS", "STATE")
        out.text("\n" + "\n".join(format_table(head, rows, out.style)))
    for mistake in status["routerMistakes"]:
        out.text(f"{out.style.paint('red', 'routers, not read')}: {mistake}")
    for heal in status["last"][-1:]:
        whom = f"; changed by {heal['culprit']}" if heal["culprit"] else ""
        ago = format_age(time.time() - heal["time"])
        out.text(
            f"\nlast, {ago} ago: network {heal['network']}: healed {heal['title']} ({heal['what']}{whom})"
        )
    for word, colour in (("contested", "red"), ("lost", "red")):
        for one in status[word]:
            out.text(f"{out.style.paint(colour, word)}: network {one['network']}: {one['what']}")


def _make_row(router: dict[str, Any]) -> list[str]:
    """Return a router as the row of a table."""
    state = f"{router['state']}, {router['problem']}" if router["problem"] else router["state"]
    return [router["gateway"], router["link"], *map(str, (router["metric"], router["takeovers"])), state]


def _split(kind: str) -> str:
    """Return the name of a resource's class as words: "gateway link"."""
    return "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in kind).lstrip()


SUBCOMMAND = Subcommand(
    "status",
    "show what the watcher has healed, and the state of uplinks and routers",
    "Show whether the watcher runs, what it has healed, what it leaves alone because somebody removes it\n"
    "again and again (contested), and what cannot be healed (lost); of bridges' uplinks and of the host's\n"
    "routers, which are active, backups and dead. The exit code is 3 if it is not running.",
    ("shibafu watch status", "shibafu watch status --format json"),
    _run,
)
