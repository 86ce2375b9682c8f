"""What the agent says of a network, for others: `/run/shibafu/overlay/<network>.json`.

The agent itself reads it when it starts again: the host keeps its subnet.
"""

import os
from collections.abc import Mapping
from fcntl import LOCK_NB, LOCK_SH, flock
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

from shibafu.cni.directories import make_directory, secure_directories
from shibafu.cni.errors import TRY_AGAIN_LATER, CniError
from shibafu.cni.lock import DIRECTORY as LOCKS
from shibafu.cni.lock import Lock
from shibafu.lean.files import open_file, read_file, remove_file, replace_file
from shibafu.lean.json import dumps, loads
from shibafu.overlay.config import DIRECTORY
from shibafu.overlay.errors import OverlayError
from shibafu.overlay.subnet_leases import SubnetLease

# EX_TEMPFAIL of sysexits.h(3head); the service does not restart an agent that ends with it.
ALREADY_RUNNING = 75
_LARGEST = 1 << 20
# Seconds that an agent which is ending, or somebody who asks whether there is one, may hold the lock.
_PATIENCE = 0.5


class AgentRunningError(OverlayError):
    """Another agent is at work on this host."""

    def __init__(self) -> None:
        super().__init__(
            "another agent of the overlay is at work here", "`shibafu overlay status` shows what it does"
        )


class AgentLock(Lock):
    """What makes a process the only agent of its network namespace, to be held by `with`."""

    def __init__(self) -> None:
        super().__init__(_calc_lock(), "the overlay's agent", handed_down=False, patience=_PATIENCE)

    def __enter__(self) -> Lock:
        """Take the lock.

        Raises:
            AgentRunningError: another agent has it.
        """
        try:
            return super().__enter__()
        except CniError as error:
            if error.code != TRY_AGAIN_LATER:
                raise
            raise AgentRunningError from None


def is_agent_running() -> bool:
    """Return whether an agent is at work in this namespace."""
    try:
        descriptor = open_file(f"{LOCKS}/{_calc_lock()}", os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        flock(descriptor, LOCK_SH | LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def write_agent_state(network: str, state: Mapping[str, object]) -> None:
    """Write the state of a network where `read_agent_state` finds it.

    Raises:
        OSError: it cannot be written.
        CniError: others could write there.
    """
    secure_directories(os.path.dirname(DIRECTORY), DIRECTORY)
    make_directory(DIRECTORY, 0o755)
    replace_file(_calc_path(network), dumps(dict(state)).encode(), 0o644)


def read_agent_state(network: str) -> dict[str, Any]:
    """Return what the agent wrote last of a network; nothing where it has not run since the host started."""
    try:
        state = loads(read_file(_calc_path(network), _LARGEST) or b"{}")
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


def remove_agent_state(network: str) -> bool:
    """Remove the state of a network; return whether there was one."""
    return remove_file(_calc_path(network))


def parse_own_lease(state: Mapping[str, Any]) -> SubnetLease | None:
    """Return the subnet that this host had last, and the address by which it was reached."""
    try:
        subnet6, public_ip6 = state.get("subnet6"), state.get("publicIPv6")
        return SubnetLease(
            IPv4Network(state["subnet"]),
            IPv6Network(subnet6) if subnet6 else None,
            IPv4Address(state["publicIP"]),
            IPv6Address(public_ip6) if public_ip6 else None,
        )
    except (LookupError, ValueError, TypeError):
        return None


def _calc_path(network: str) -> str:
    return f"{DIRECTORY}/{network}.json"


def _calc_lock() -> str:
    return f"overlay-{os.stat('/proc/self/ns/net').st_ino}"
