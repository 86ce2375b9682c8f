"""What `shibafu overlay rejoin` asks the agent for, which alone speaks for its host in etcd.

The command writes `/run/shibafu/overlay/<network>.rejoin`, and tells the agent by a signal that it is there.
The agent removes the file once it has tried, and has written what came of it to the network's state. Where
none is at work, the next one that starts finds the file, unless it is about another subnet. That is only
asked for while the command waits: containers may have got addresses of the former one later.
"""

import os
import signal
import time
from dataclasses import dataclass

from shibafu.lean.files import read_file, remove_file, replace_file
from shibafu.lean.json import dumps, loads
from shibafu.overlay.agent_state import signal_agent
from shibafu.overlay.config import DIRECTORY

SIGNAL = signal.SIGUSR1
_LARGEST = 4096
# Seconds between looks whether the agent has answered.
_PAUSE = 0.02


@dataclass(frozen=True)
class RejoinRequest:
    """That a host get its subnet again.

    Args:
        new_subnet: whether it may be another one, where another host has the one that it had.
    """

    new_subnet: bool


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
    return RejoinRequest(values.get("newSubnet") is True)


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


def ask_to_rejoin(network: str, request: RejoinRequest, patience: float) -> bool:
    """Ask the agent; return whether it has answered, after which its state says what came of it.

    A request for another subnet is withdrawn if there is no agent, or it does not answer in time: containers
    may have got addresses of the lost subnet when it does.

    Args:
        network: one that the agent has a state of.
        request: what to ask for.
        patience: seconds to wait for the answer.

    Raises:
        OSError: the request cannot be written.
    """
    path = _calc_path(network)
    replace_file(path, dumps({"newSubnet": request.new_subnet}).encode(), 0o644)
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
        if request.new_subnet:
            remove_rejoin_request(network, request)


def _calc_path(network: str) -> str:
    return f"{DIRECTORY}/{network}.rejoin"
