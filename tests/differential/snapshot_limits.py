"""What limits the links of the host, as facts: token buckets, and filters that lead elsewhere."""

import json
import subprocess
from typing import Any

from differential.snapshot import Entered


def snapshot_limits(entered: Entered) -> dict[str, str]:
    """Return the state of the host's queueing disciplines, but for those that each link has."""
    seen = {}
    with entered("host"):
        for qdisc in _query("qdisc", "show"):
            name = "delay" if qdisc["dev"].startswith("bwp") else qdisc["dev"]
            if qdisc["kind"] == "tbf":
                options = qdisc["options"]
                seen[f"host limit of {name}"] = ", ".join(
                    f"{key} {options[key]}" for key in ("rate", "burst", "lat", "limit") if key in options
                )
            elif qdisc["kind"] == "ingress":
                # The generic options of each filter come first, in an entry of its own.
                filters = _query("filter", "show", "dev", qdisc["dev"], "ingress")
                leading = [entry["options"] for entry in filters if "actions" in entry.get("options", {})]
                seen[f"host filters of {name}"] = f"{len(leading)} to other links"
    return seen


def _query(*arguments: str) -> list[dict[str, Any]]:
    done = subprocess.run(["tc", "-j", *arguments], check=True, capture_output=True)
    entries: list[dict[str, Any]] = json.loads(done.stdout or b"[]")
    return entries
