"""What the watcher says of one network, for the subcommands of networks."""

from typing import Any

from shibafu.networks.text import Style, format_count


def summarize_watch(status: dict[str, Any], network: str) -> dict[str, Any]:
    """Return what concerns a network, for programs.

    Args:
        status: see `read_watch_status`.
        network: its name.
    """
    contested, lost = (
        [one["what"] for one in status[key] if one["network"] == network] for key in ("contested", "lost")
    )
    heals = sum(heal["count"] for heal in status["heals"] if heal["network"] == network)
    return {"running": status["running"], "heals": heals, "contested": contested, "lost": lost}


def format_watch(summary: dict[str, Any]) -> str:
    """Return a summary as the cell of a table."""
    if not summary["running"]:
        return "no"
    return "contested" if summary["contested"] else "lost" if summary["lost"] else "yes"


def draw_watch(summary: dict[str, Any], style: Style) -> list[str]:
    """Return what the watcher has healed of a network, and what it has not; nothing where it does not run."""
    if not summary["running"]:
        return []
    lines = ["", f"watched, {format_count(summary['heals'], 'heal')}"]
    return lines + [
        f"{style.paint('red', word)}: {what}" for word in ("contested", "lost") for what in summary[word]
    ]
