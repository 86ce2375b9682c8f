"""Pausing networks: until that ends, what an administrator changes of them is not restored."""

import os
import time
from dataclasses import dataclass
from pwd import getpwuid

from shibafu.cni.errors import calc_line
from shibafu.networks.configured import ConfiguredNetwork
from shibafu.networks.errors import CommandError
from shibafu.networks.kernel import Kernel
from shibafu.resource.claim import Claim
from shibafu.resource.pause_file import Pause, end_pause, read_pause, write_pause
from shibafu.resource.records import NetworkState


@dataclass(frozen=True)
class PauseState:
    """A pause of a network.

    Args:
        since: when it began, in seconds since 1970.
        until: when it ends, likewise; None if only `shibafu network resume` ends it.
        by: the user who asked for it.
    """

    since: int
    until: int | None
    by: str

    @classmethod
    def of_network(cls, name: str) -> "PauseState | None":
        """Return the pause of a network; None if it is not paused."""
        pause = read_pause(NetworkState(name))
        return cls(pause.since, pause.until, pause.by) if pause is not None else None

    def describe_end(self) -> str:
        """Return until when in words: "paused until 14:05:00"."""
        return "paused" if self.until is None else f"paused until {_format_time(self.until)}"

    def describe(self) -> str:
        """Return all of it in words: "paused until 14:05:00 by alice since 13:05:00"."""
        by = f" by {calc_line(self.by)}" if self.by else ""
        return f"{self.describe_end()}{by} since {_format_time(self.since)}"


def pause_network(name: str, seconds: int | None) -> PauseState:
    """Pause a network, and wait for the calls that were at work on it before.

    Args:
        name: the network's name.
        seconds: for how long; None until it is resumed.

    Raises:
        CommandError: nothing is attached to it.
        CniError: a call is at work for long; the network is paused.
    """
    now = int(time.time())
    pause = PauseState(now, now + seconds if seconds is not None else None, _find_user())
    state = NetworkState(name)
    if not write_pause(state, Pause(pause.since, pause.until, pause.by)):
        raise CommandError(
            f"network {name} has no containers, so there is nothing to pause",
            "a pause ends with the network's last container; `shibafu network inspect` shows them",
        )
    _wait_for_calls(state)
    return pause


def resume_network(name: str) -> bool:
    """End the pause of a network, and wait for the calls that went by it; return whether it was paused.

    Raises:
        CniError: a call is at work for long; the network is not paused any more.
    """
    state = NetworkState(name)
    was_paused = end_pause(state)
    if was_paused:
        _wait_for_calls(state)
    return was_paused


def require_own_bridge(network: ConfiguredNetwork, others: list[ConfiguredNetwork]) -> str:
    """Return the bridge of a network that may be set down.

    Args:
        network: the network.
        others: the machine's other networks, one of which may use the same bridge.

    Raises:
        CommandError: it has no bridge, or containers of another network would be cut off as well.
    """
    if network.bridge is None:
        reason = network.problem or f"it is created by {', '.join(network.types)}"
        raise CommandError(f"network {network.name} has no bridge to set down: {reason}", network.config.path)
    name = network.bridge.bridge
    for other in others:
        is_shared = other.bridge is not None and other.bridge.bridge == name
        if is_shared and NetworkState(other.name).attachments() and not PauseState.of_network(other.name):
            raise CommandError(
                f"containers of network {other.name} are on bridge {name} as well",
                f"pause it first: shibafu network pause {other.name}",
            )
    return name


def set_bridge_down(kernel: Kernel, name: str) -> bool:
    """Set a bridge down; return False if there is none of that name."""
    link = kernel.links().get(name)
    if link is None or link.kind != "bridge":
        return False
    kernel.set_link_down(link)
    return True


def _wait_for_calls(state: NetworkState) -> None:
    """Wait for ADDs and repairs that may have looked before whether the network is paused."""
    for link in state.attachments():
        with Claim(state, link, state.read_attachment(link)).lock():
            pass


def _find_user() -> str:
    """Return who calls: the user who has become root by sudo(8), or else the process's."""
    uid = os.environ.get("SUDO_UID", "")
    number = int(uid) if uid.isdecimal() and len(uid) <= 10 else os.getuid()
    try:
        return getpwuid(number).pw_name
    except (KeyError, OverflowError):
        return str(number)


def _format_time(seconds: int) -> str:
    """Return a moment as people here read it; the day if it is not today."""
    moment, today = time.localtime(seconds), time.localtime()
    is_today = moment[:3] == today[:3]
    return time.strftime("%H:%M:%S" if is_today else "%Y-%m-%d %H:%M:%S", moment)
