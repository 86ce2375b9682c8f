"""What the watcher says of one network, for the subcommands of networks."""

from typing import TYPE_CHECKING, Any

from shibafu.networks.text import Style, format_count

if TYPE_CHECKING:
    from shibafu.networks.inspect import NetworkView


def summarize_watch(status: dict[str, Any], view: "NetworkView") -> dict[str, Any]:
    """Return what concerns a network, for programs.

    Args:
        status: see `read_watch_status`.
        view: the network.
    """
    network, bridge = view.name, view.bridge.name if view.bridge is not None else ""
    contested, lost = (
        [one["what"] for one in status[key] if one["network"] == network] for key in ("contested", "lost")
    )
    heals = sum(heal["count"] for heal in status["heals"] if heal["network"] == network)
    links = [link for one in status["uplinks"] if one["bridge"] == bridge for link in one["links"]]
    return {
        "running": status["running"],
        "heals": heals,
        "contested": contested,
        "lost": lost,
        "uplinks": links,
    }


def format_watch(summary: dict[str, Any]) -> str:
    """Return a summary as the cell of a table."""
    if not summary["running"]:
        return "no"
    return "contested" if summary["contested"] else "lost" if summary["lost"] else "yes"


def draw_uplinks(links: list[dict[str, str]], style: Style) -> str:
    """Return the uplinks of a bridge, each with its state."""
    colours = {"active": "green", "dead": "red"}
    return ", ".join(
        f"{link['name']} {style.paint(colours[link['state']], link['state'])}"
        if link["state"] in colours
        else f"{link['name']} {link['state']}"
        for link in links
    )


def draw_watch(summary: dict[str, Any], style: Style) -> list[str]:
    """Return what the watcher has healed of a network, and what it has not; nothing where it does not run."""
    if not summary["running"]:
        return []
    lines = ["", f"watched, {format_count(summary['heals'], 'heal')}"]
    if summary["uplinks"]:
        lines.append(f"uplinks: {draw_uplinks(summary['uplinks'], style)}")
    return lines + [
        f"{style.paint('red', word)}: {what}" for word in ("contested", "lost") for what in summary[word]
    ]
