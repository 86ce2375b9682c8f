"""`shibafu overlay status`."""

import time
from argparse import Namespace
from typing import Any

from shibafu.cli.container.ps import format_age
from shibafu.cli.output import Output
from shibafu.cli.overlay.agent_options import START, add_config, load_overlays
from shibafu.cli.subcommand import Context, Subcommand
from shibafu.networks.text import format_count

# As of service scripts (LSB) and systemctl(1).
_NOT_RUNNING = 3


def _run(context: Context, arguments: Namespace) -> int:
    from shibafu.overlay.agent_state import is_agent_running, read_agent_state

    is_running = is_agent_running()
    states = []
    for settings in load_overlays(arguments.config):
        state = read_agent_state(settings.name)
        # One that was killed has not written that it has ended.
        states.append(state | {"running": is_running} if state else {"network": settings.name})
    networks = [state for state in states if len(state) > 1]
    context.out.data({"running": is_running, "networks": networks})
    _print(context.out, states, is_running)
    if not is_running:
        return _NOT_RUNNING
    return int(any(state.get("trouble") for state in states))


def _print(out: Output, states: list[dict[str, Any]], is_running: bool) -> None:
    if not is_running:
        ended = out.style.paint("yellow", "not running")
        has_joined = any(len(state) > 1 for state in states)
        known = ": containers reach the hosts that were known when the agent ended, and no others"
        out.text(f"{ended}{known if has_joined else ''}")
        out.text(f"  {START}")
    for state in states:
        if len(state) == 1:
            out.text(f"network {state['network']}: not joined since this host has started")
            continue
        colour = "green" if state["state"] == "joined" and is_running else "yellow"
        age = f", agent for {format_age(time.time() - state['started'])}" if is_running else ""
        out.text(f"network {state['network']}: {out.style.paint(colour, state['state'])}{age}")
        if state["subnet"]:
            subnets = " ".join(filter(None, (state["subnet"], state["subnet6"])))
            hosts = format_count(state["hosts"], "host")
            out.text(f"  {subnets} at {state['publicIP']} ({state['iface']}), {hosts}")
        if state["trouble"]:
            out.text(f"  {out.style.paint('red', state['trouble'])}")
            out.text(f"  {state['hint']}" if state["hint"] else "")


SUBCOMMAND = Subcommand(
    "status",
    "show what the agent of this host does",
    "Show whether the agent runs, which subnets this host has, how many hosts are known, and what is wrong.\n"
    "It reads what the agent has written, and does not ask etcd. The exit code is 3 if the agent is not\n"
    "running, and 1 if anything is wrong.",
    ("shibafu overlay status", "shibafu overlay status --format json"),
    _run,
    add_config,
)
