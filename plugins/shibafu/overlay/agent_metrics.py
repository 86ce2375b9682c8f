"""The agent's states as text for Prometheus."""

from collections.abc import Callable, Iterator, Mapping, Sequence

_State = Mapping[str, object]
# Name, kind, description, and how it is calculated.
_METRICS: tuple[tuple[str, str, str, Callable[[_State], object]], ...] = (
    ("joined", "gauge", "Whether this host has its subnet.", lambda state: int(state["state"] == "joined")),
    (
        "trouble",
        "gauge",
        "Whether anything is wrong; `shibafu overlay status` says what.",
        lambda state: int(bool(state["trouble"])),
    ),
    ("hosts", "gauge", "How many hosts the network has, this one included.", lambda state: state["hosts"]),
    (
        "repaired_total",
        "counter",
        "How many entries of the kernel were put back.",
        lambda state: state["repaired"],
    ),
)


def render_overlay_metrics(states: Sequence[_State]) -> str:
    """Return the states of all networks as text for Prometheus.

    Args:
        states: see `Agent.describe`.
    """
    return "\n".join(_render_lines(states)) + "\n"


def _render_lines(states: Sequence[_State]) -> Iterator[str]:
    yield from _describe("up", "gauge", "Whether the agent runs.")
    yield f"shibafu_overlay_up {int(all(state['running'] for state in states))}"
    for name, kind, what, calc in _METRICS:
        yield from _describe(name, kind, what)
        for state in states:
            yield f'shibafu_overlay_{name}{{network="{state["network"]}"}} {calc(state)}'


def _describe(name: str, kind: str, what: str) -> Iterator[str]:
    yield f"# HELP shibafu_overlay_{name} {what}"
    yield f"# TYPE shibafu_overlay_{name} {kind}"
