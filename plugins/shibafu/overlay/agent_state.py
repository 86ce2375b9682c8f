"""What the agent says of a network, for others: `/run/shibafu/overlay/<network>.json`.

The agent itself reads it when it starts again: the host keeps its subnet.
"""

import os
import signal
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

from shibafu.cni.directories import make_directory, secure_directories
from shibafu.cni.sole_process import SoleProcess, is_at_work
from shibafu.lean.files import read_file, remove_file, replace_file
from shibafu.lean.json import dumps, loads
from shibafu.overlay.config import DIRECTORY
from shibafu.overlay.errors import OverlayError
from shibafu.overlay.subnet_leases import SubnetLease

_KIND = "overlay"
_LARGEST = 1 << 20


class AgentRunningError(OverlayError):
    """Another agent is at work on this host."""

    def __init__(self) -> None:
        super().__init__(
            "another agent of the overlay is already running",
            "`shibafu overlay status` shows what it does",
        )


def claim_agent() -> SoleProcess:
    """Return what makes this process the only agent of its namespace, to be held by `with`.

    Entering it raises AgentRunningError if there is another one.
    """
    return SoleProcess(_KIND, "the overlay's agent", AgentRunningError)


def is_agent_running() -> bool:
    """Return whether an agent is at work in this namespace."""
    return is_at_work(_KIND)


def signal_agent(network: str, number: signal.Signals) -> bool:
    """Send a signal to the agent that is at work in this namespace; return whether there is one.

    Args:
        network: one that it has written a state of.
        number: the signal.
    """
    state = read_agent_state(network)
    pid, ticks = state.get("pid"), state.get("startTicks")
    if not isinstance(pid, int) or pid <= 0:
        return False
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        # The state may be that of an agent that was killed, and whose number another process has now.
        is_here = os.stat(f"/proc/{pid}/ns/net").st_ino == os.stat("/proc/self/ns/net").st_ino
        if is_here and read_start_ticks(pid) == ticks and is_agent_running():
            signal.pidfd_send_signal(process, number)
            return True
    except (FileNotFoundError, ProcessLookupError):
        pass  # it has ended just now
    finally:
        os.close(process)
    return False


def read_start_ticks(pid: int) -> int:
    """Return when a process started, by which it differs from an earlier one of its number.

    Returns:
        Ticks of the kernel's clock since it booted: the field starttime of proc_pid_stat(5).

    Raises:
        FileNotFoundError, ProcessLookupError: there is no such process.
    """
    with open(f"/proc/{pid}/stat", "rb") as file:
        # The program's name, in parentheses, may have such characters itself; it is the second field.
        return int(file.read().rpartition(b")")[2].split()[19])


def calc_state_path(network: str) -> str:
    """Return the file of a network's state."""
    return f"{DIRECTORY}/{network}.json"


def write_agent_state(network: str, state: Mapping[str, object]) -> None:
    """Write the state of a network where `read_agent_state` finds it.

    Raises:
        OSError: it cannot be written.
        CniError: others could write there.
    """
    secure_directories(os.path.dirname(DIRECTORY), DIRECTORY)
    make_directory(DIRECTORY, 0o755)
    replace_file(calc_state_path(network), dumps(dict(state)).encode(), 0o644)


def read_agent_state(network: str) -> dict[str, Any]:
    """Return what the agent wrote last of a network; nothing where it has not run since the host started."""
    try:
        state = loads(read_file(calc_state_path(network), _LARGEST) or b"{}")
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


def remove_agent_state(network: str) -> bool:
    """Remove the state of a network; return whether there was one."""
    return remove_file(calc_state_path(network))


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
