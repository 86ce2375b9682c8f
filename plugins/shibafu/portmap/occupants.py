"""Programs of the host that wait at ports which are to be published: they would get nothing any more."""

import os

from shibafu.lean.ip import Address
from shibafu.netlink.constants import AF_INET6
from shibafu.netlink.listeners import Listener, listener_list

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu.portmap.mapping import Mapping
    from shibafu.portmap.publication import Publication

_NUMBERS = {"tcp": 6, "udp": 17}
# Podman's monitor of a container keeps the ports that the container publishes, so that no program takes them.
_PLACEHOLDERS = ("conmon",)


def find_occupant(publication: "Publication") -> "tuple[Mapping, str] | None":
    """Return a port that a program of the host waits at, and which; None when there is none."""
    for protocol, number in _NUMBERS.items():
        mappings = [one for one in publication.mappings if one.protocol == protocol]
        for listener in listener_list(number) if mappings else []:
            for mapping in mappings:
                if mapping.first <= listener.port <= mapping.last and _meets(publication, mapping, listener):
                    holder = _find_holder(listener.inode)
                    if holder.partition(" ")[0] not in _PLACEHOLDERS:
                        return mapping, holder or "a program of the host"
    return None


def _meets(publication: "Publication", mapping: "Mapping", listener: Listener) -> bool:
    """Return whether packets that a program waits for would go to the container."""
    address = Address.from_packed(listener.address)
    if listener.family == AF_INET6 and not address.value:
        # Of IPv6 and, unless it says otherwise, of IPv4 as well.
        versions = [6] if listener.is_ipv6_only else [4, 6]
    else:
        versions = [address.version]
    own = mapping.address()
    return any(
        version in publication.targets
        and mapping.is_of(version)
        and (not own or not address.value or own == str(address))
        for version in versions
    )


def _find_holder(inode: int) -> str:
    """Return the program that has a socket, and its process; empty where nobody can be found."""
    wanted = f"socket:[{inode}]"
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        try:
            for descriptor in os.listdir(f"/proc/{pid}/fd"):
                if os.readlink(f"/proc/{pid}/fd/{descriptor}") == wanted:
                    return f"{_read_name(pid)} (process {pid})"
        except OSError:
            continue  # it has ended, or is another user's
    return ""


def _read_name(pid: str) -> str:
    with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
        return file.read().strip()
