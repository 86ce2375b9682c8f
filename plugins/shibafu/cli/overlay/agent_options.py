"""The configuration of the overlay's agent, which most subcommands for overlay networks read."""

import os
from argparse import ArgumentParser

from shibafu.networks.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu.overlay.config import OverlaySettings

CONFIG = "/etc/shibafu/overlay.yaml"
START = "start the agent: systemctl enable --now shibafu-overlay, or shibafu overlay run"


def add_config(parser: ArgumentParser) -> None:
    """Add the option that names the agent's configuration."""
    parser.add_argument(
        "--config",
        metavar="FILE",
        default=os.environ.get("SHIBAFU_OVERLAY_CONFIG") or CONFIG,
        help=f"the agent's configuration ($SHIBAFU_OVERLAY_CONFIG, {CONFIG})",
    )


def load_overlays(path: str, name: str = "") -> "list[OverlaySettings]":
    """Return the networks of the agent's configuration, or one of them.

    Raises:
        CommandError: the file or the network does not exist.
        DocumentError: the file has mistakes.
    """
    from shibafu.overlay.config import read_overlay_config

    try:
        networks = read_overlay_config(path)
    except FileNotFoundError:
        raise CommandError(
            f"{path} does not exist", "`shibafu overlay init` writes it; docs/overlay.md describes it"
        ) from None
    found = [network for network in networks if not name or network.name == name]
    if not found:
        raise CommandError(
            f"{path} has no network {name}" if name else f"{path} has no networks",
            f"it has {', '.join(network.name for network in networks)}" if networks else "add one",
        )
    return found
