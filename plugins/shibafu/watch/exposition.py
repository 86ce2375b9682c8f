"""The watcher's status as text for Prometheus."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any


def render_watch_metrics(status: "Mapping[str, Any]") -> str:
    """Return the watcher's status as text for Prometheus.

    Args:
        status: see `Journal.describe`.
    """
    return "\n".join(_render_lines(status)) + "\n"


def _render_lines(status: "Mapping[str, Any]") -> "Iterator[str]":
    yield from _describe("up", "gauge", "Whether the watcher runs.")
    yield f"shibafu_watch_up {int(status['running'])}"
    yield from _describe("heals_total", "counter", "What was healed, by network and resource.")
    for heal in status["heals"]:
        labels = f'network="{heal["network"]}",resource="{heal["resource"]}"'
        yield f"shibafu_watch_heals_total{{{labels}}} {heal['count']}"
    yield from _describe("contested", "gauge", "What is left alone, since it is removed again and again.")
    yield f"shibafu_watch_contested {len(status['contested'])}"
    yield from _describe("lost", "gauge", "Links of containers that cannot be healed.")
    yield f"shibafu_watch_lost {len(status['lost'])}"
    if status["gateways"]:
        yield from _describe("gateway_here", "gauge", "Whether this host has a gateway that hosts share.")
    for gateway in status["gateways"]:
        yield f'shibafu_watch_gateway_here{{network="{gateway["network"]}"}} {int(gateway["here"])}'
    if status["gateways"]:
        what = "Addresses of this host that other hosts also have, where hosts share a gateway."
        yield from _describe("gateway_duplicates", "gauge", what)
    for gateway in status["gateways"]:
        labels = f'network="{gateway["network"]}"'
        yield f"shibafu_watch_gateway_duplicates{{{labels}}} {len(gateway['duplicates'])}"
    if status["uplinks"]:
        yield from _describe("uplink", "gauge", "Whether an uplink is active, a backup or dead.")
        for one in status["uplinks"]:
            for link in one["links"]:
                labels = f'bridge="{one["bridge"]}",link="{link["name"]}",state="{link["state"]}"'
                yield f"shibafu_watch_uplink{{{labels}}} 1"
        yield from _describe("uplink_switches_total", "counter", "How often another uplink became active.")
        for one in status["uplinks"]:
            yield f'shibafu_watch_uplink_switches_total{{bridge="{one["bridge"]}"}} {one["switches"]}'
    if status["routers"]:
        yield from _describe("router", "gauge", "Whether a router is active, a backup or dead.")
        for one in status["routers"]:
            yield f'shibafu_watch_router{{{_label_router(one)},state="{one["state"]}"}} 1'
        yield from _describe("router_takeovers_total", "counter", "How often a router became the active one.")
        for one in status["routers"]:
            yield f"shibafu_watch_router_takeovers_total{{{_label_router(one)}}} {one['takeovers']}"
    yield from _describe("start_time_seconds", "gauge", "When it started, in seconds since 1970.")
    yield f"shibafu_watch_start_time_seconds {status['started']}"
    for heal in status["last"][-1:]:
        yield from _describe(
            "last_heal_timestamp_seconds", "gauge", "When it last healed something, in seconds since 1970."
        )
        yield f"shibafu_watch_last_heal_timestamp_seconds {heal['time']}"


def _label_router(router: "Mapping[str, Any]") -> str:
    return f'gateway="{router["gateway"]}",link="{router["link"]}"'


def _describe(name: str, kind: str, what: str) -> "Iterator[str]":
    yield f"# HELP shibafu_watch_{name} {what}"
    yield f"# TYPE shibafu_watch_{name} {kind}"
