"""Does a container reach the world outside, and by whose address? What rules do, not what they say."""

import socket
from collections.abc import Callable
from contextlib import AbstractContextManager

UPLINK_ADDRESSES = ("203.0.113.1/24", "2001:db8:113::1/64")
OUTSIDE_ADDRESSES = ("203.0.113.2/24", "2001:db8:113::2/64")
_FAMILIES = {
    "IPv4": (socket.AF_INET, "203.0.113.1", "203.0.113.2"),
    "IPv6": (socket.AF_INET6, "2001:db8:113::1", "2001:db8:113::2"),
}
_PORT = 4711
_PATIENCE = 0.2  # seconds; a packet through veth pairs takes microseconds

Entered = Callable[[str], AbstractContextManager[None]]


def probe(containers: list[str], entered: Entered) -> dict[str, str]:
    """Send a datagram of each family from each container to the outside.

    Returns:
        For each: `masqueraded` (the host's address was seen), `by its own address`, `lost`, or
        nothing where the container has no route.
    """
    seen = {}
    for name, (family, uplink, target) in _FAMILIES.items():
        with entered("outside"), socket.socket(family, socket.SOCK_DGRAM) as receiver:
            receiver.bind((target, _PORT))
            receiver.settimeout(_PATIENCE)
            for container in containers:
                outcome = _send(container, entered, receiver, (family, uplink, target))
                if outcome:
                    seen[f"{container} reaches the outside by {name}"] = outcome
    return seen


def _send(container: str, entered: Entered, receiver: socket.socket, what: tuple[int, str, str]) -> str:
    family, uplink, target = what
    with entered(container), socket.socket(family, socket.SOCK_DGRAM) as sender:
        try:
            sender.connect((target, _PORT))
            own = sender.getsockname()[0]
            sender.send(container.encode())
        except OSError:
            return ""
    try:
        while True:
            data, source = receiver.recvfrom(64)
            if data == container.encode():
                break
    except TimeoutError:
        return "lost"
    seen = str(source[0])
    return {uplink: "masqueraded", own: "by its own address"}.get(seen, seen)
