"""What runc knows of containers: its states are in a root of our own.

In runc's own root a name may be anybody's: of somebody at a shell, or of Podman. Versions of this suite
before there was a root of our own have left their containers there, so whose a state is, its bundle tells.
Nothing is done to a container by its name alone.
"""

import json
import os
from pathlib import Path

from shibafu.container.errors import ContainerError

# Not below /run/shibafu: that has a directory for each network namespace.
ROOT = "/run/shibafu-runc"
_RUNC_ROOT = "/run/runc"
_OURS, _NOBODY = "ours", "nobody's"


def find_root(bundle: Path) -> str:
    """Return the root of runc in which the container of a bundle is; empty when runc does not know it."""
    return next((root for root in (ROOT, _RUNC_ROOT) if _find_owner(root, bundle) == _OURS), "")


def require_free_name(bundle: Path) -> None:
    """Refuse the name of a bundle if it is the name of another container of runc.

    It is not only runc that would take one for the other: networks know containers by their names, too.

    Raises:
        ContainerError: there is one.
    """
    for root in (ROOT, _RUNC_ROOT):
        owner = _find_owner(root, bundle)
        if owner not in (_OURS, _NOBODY):
            raise ContainerError(
                f"runc has another container {bundle.name} already, {owner}",
                f"choose another name; or see what it is: runc --root {root} state {bundle.name}",
            )


def _find_owner(root: str, bundle: Path) -> str:
    """Return whose the state of the bundle's name is, in words."""
    directory = f"{root}/{bundle.name}"
    try:
        with open(f"{directory}/state.json", "rb") as file:
            labels = [str(label).partition("=") for label in json.load(file)["config"]["labels"]]
        found = next(value for key, _, value in labels if key == "bundle")
    except (OSError, ValueError, KeyError, TypeError, StopIteration):
        if not os.path.isdir(directory):
            return _NOBODY
        # What a runc leaves that was killed early. In our root nobody else's can be.
        return _OURS if root == ROOT else "which tells nothing of itself"
    return _OURS if os.path.realpath(found) == os.path.realpath(bundle) else f"of the bundle {found}"
