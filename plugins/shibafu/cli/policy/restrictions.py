"""What network policies say of one network's containers, for `shibafu network inspect`."""

import os
from collections.abc import Iterable
from typing import Any

from shibafu.cli.policy_options import POLICY_DIR
from shibafu.networks.stating_plugins import states_policies
from shibafu.networks.text import Style, format_count

# Lines of a picture; `shibafu policy matrix` has all.
_MOST = 20
_SIGNS = {"some": ("yellow", "some ports of"), "none": ("red", "nothing of")}


def find_restricted(conf_dir: str) -> list[dict[str, Any]]:
    """Return which containers may not connect to all ports of which others, for programs.

    Args:
        conf_dir: where networks are configured.

    Returns:
        As `shibafu policy matrix` says it; nothing where no policies are declared, or this user may not read
        them.
    """
    directory = os.environ.get("SHIBAFU_POLICY_DIR") or POLICY_DIR
    may_read = os.access(directory, os.R_OK | os.X_OK)
    if not may_read and (os.path.lexists(directory) or not states_policies(conf_dir)):
        return []
    from shibafu.networks.policy_networks import open_policies
    from shibafu.networks.policy_pods import calc_matrix, list_pods

    # What is wrong with files, `shibafu policy` says.
    policies = open_policies(directory, conf_dir).load([])
    if not policies.policies:
        return []
    return [
        {"source": source, "destination": destination, "ports": scope}
        for (source, destination), scope in calc_matrix(policies, list_pods()).items()
        if scope in _SIGNS
    ]


def select_restricted(restricted: list[dict[str, Any]], containers: Iterable[str]) -> list[dict[str, Any]]:
    """Return what concerns some containers, by their IDs, and nobody else."""
    own = set(containers)
    return [one for one in restricted if {one["source"], one["destination"]} <= own]


def draw_restricted(restricted: list[dict[str, Any]], style: Style) -> list[str]:
    """Return who may not connect to whom by network policies; nothing if all may."""
    if not restricted:
        return []
    lines = ["", "network policies:"]
    for one in restricted[:_MOST]:
        colour, words = _SIGNS[one["ports"]]
        lines.append(f"  {one['source']} reaches {style.paint(colour, words)} {one['destination']}")
    rest = len(restricted) - _MOST
    if rest > 0:
        lines.append(f"  and {format_count(rest, 'pair')} more: `shibafu policy matrix`")
    return lines
