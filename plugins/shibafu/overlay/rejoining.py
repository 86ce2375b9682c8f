"""What `shibafu overlay rejoin` asks the agent for, which alone speaks for its host in etcd.

The command writes `/run/shibafu/overlay/<network>.rejoin`, and tells the agent by a signal that it is there.
The agent removes the file once it has tried, and has written what came of it to the network's state. Where
none is at work, the next one that starts finds the file, unless it is about another subnet. That is only
asked for while the command waits, and only got if no container has had an address of the former one since
the command has looked: it would be left behind there.
"""

import os
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address
from select import select

from shibafu.lean.files import read_file, remove_file, replace_file
from shibafu.lean.json import dumps, loads
from shibafu.overlay.agent_state import read_start_ticks, signal_agent
from shibafu.overlay.config import DIRECTORY

SIGNAL = signal.SIGUSR1
# Bytes of a request, which has leases in it.
_LARGEST = 1 << 20
# Seconds between looks whether the agent has answered.
_PAUSE = 0.02


@dataclass(frozen=True)
class RejoinRequest:
    """That a host get its subnet again.

    Args:
        new_subnet: whether it may be another one, where another host has the one that it had.
        stores: directories of leases of its containers' addresses; none for it to leave containers behind.
        known: the leases there that do not belong to containers, as `find_leases` returns them.
        pid: the process that waits for it.
        start_ticks: when that was started; see `read_start_ticks`.
    """

    new_subnet: bool
    stores: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    pid: int = 0
    start_ticks: int = 0

    @property
    def is_waited_for(self) -> bool:
        """Whether the process that has made it is there."""
        try:
            process = os.pidfd_open(self.pid)
        except (OSError, OverflowError):
            return False
        try:
            # One that has ended, and whose parent does not know yet, is readable.
            return not select([process], [], [], 0)[0] and read_start_ticks(self.pid) == self.start_ticks
        except (FileNotFoundError, ProcessLookupError):
            return False
        finally:
            os.close(process)

    def find_newcomers(self, subnets: Iterable[IPv4Network | IPv6Network]) -> set[str]:
        """Return the leases of some subnets that containers have got since it was made.

        Raises:
            OSError: a directory cannot be read.
        """
        return find_leases(self.stores, subnets) - set(self.known)


def find_leases(stores: Iterable[str], subnets: Iterable[IPv4Network | IPv6Network]) -> set[str]:
    """Return the leases of some subnets, each as its address and the time when it was made.

    Args:
        stores: directories of host-local's, whose files are called by the addresses; they need not exist.
        subnets: of which addresses.

    Raises:
        OSError: a directory cannot be read.
    """
    parts = list(subnets)
    found: set[str] = set()
    for store in stores:
        # Files may go just now, and the directory with the last one.
        with suppress(FileNotFoundError), os.scandir(store) as entries:
            for entry in entries:
                if _is_within(entry.name, parts):
                    with suppress(FileNotFoundError):
                        found.add(f"{entry.name} {entry.stat(follow_symlinks=False).st_mtime_ns}")
    return found


def _is_within(name: str, subnets: Iterable[IPv4Network | IPv6Network]) -> bool:
    try:
        address = ip_address(name)
    except ValueError:
        return False  # of another kind: a lock, an index
    return any(address in subnet for subnet in subnets)


def read_rejoin_request(network: str) -> RejoinRequest | None:
    """Return what is asked for of a network; None for nothing.

    Raises:
        ValueError: the file is damaged.
    """
    try:
        content = read_file(_calc_path(network), _LARGEST)
    except OSError:
        return None
    if content is None:
        return None
    values = loads(content)
    if not isinstance(values, dict):
        raise ValueError("not a JSON object")
    try:
        return RejoinRequest(
            values.get("newSubnet") is True,
            tuple(map(str, values.get("stores", ()))),
            tuple(map(str, values.get("known", ()))),
            int(values.get("pid", 0)),
            int(values.get("startTicks", 0)),
        )
    except TypeError as error:
        raise ValueError(str(error)) from None


def remove_rejoin_request(network: str, request: RejoinRequest | None = None) -> None:
    """Remove what is asked for of a network.

    Args:
        network: its name.
        request: nothing else is removed; None for whatever it is.
    """
    try:
        if request is not None and read_rejoin_request(network) != request:
            return
    except ValueError:
        return  # it is found at the next look
    remove_file(_calc_path(network))


def make_rejoin_request(
    new_subnet: bool, stores: Iterable[str] = (), known: Iterable[str] = ()
) -> RejoinRequest:
    """Return what this process asks for; see `RejoinRequest`."""
    pid = os.getpid()
    return RejoinRequest(new_subnet, tuple(stores), tuple(sorted(known)), pid, read_start_ticks(pid))


def ask_to_rejoin(network: str, request: RejoinRequest, patience: float) -> bool:
    """Ask the agent; return whether it has answered, after which its state says what came of it.

    A request for another subnet is withdrawn if there is no agent, or it does not answer in time: it is
    only for as long as somebody waits.

    Args:
        network: one that the agent has a state of.
        request: what to ask for.
        patience: seconds to wait for the answer.

    Raises:
        OSError: the request cannot be written.
    """
    path = _calc_path(network)
    values = {
        "newSubnet": request.new_subnet,
        "stores": list(request.stores),
        "known": list(request.known),
        "pid": request.pid,
        "startTicks": request.start_ticks,
    }
    replace_file(path, dumps(values).encode(), 0o644)
    try:
        if not signal_agent(network, SIGNAL):
            return False
        deadline = time.monotonic() + patience
        while os.path.lexists(path):
            if time.monotonic() >= deadline:
                return False
            time.sleep(_PAUSE)
        return True
    finally:
        if request.new_subnet and os.path.lexists(path):
            remove_rejoin_request(network, request)
            signal_agent(network, SIGNAL)


def _calc_path(network: str) -> str:
    return f"{DIRECTORY}/{network}.rejoin"
