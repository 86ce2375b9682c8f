"""Ports of the host that are chosen where a configuration names none (`hostPort` 0)."""

import _socket

from shibafu.cni.errors import PORT_TAKEN, CniError
from shibafu.portmap.mapping import Mapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from shibafu.portmap.publication import Publication

_KINDS = {
    "tcp": (_socket.SOCK_STREAM, 0),
    "udp": (_socket.SOCK_DGRAM, 0),
    "sctp": (_socket.SOCK_STREAM, 132),  # IPPROTO_SCTP
}
_TRIES = 64


def choose_ports(publication: "Publication", list_others: "Callable[[], Iterable[Publication]]") -> None:
    """Put free ports in the place of those that are 0.

    Args:
        publication: what is published.
        list_others: returns what else is.

    Raises:
        CniError: PORT_TAKEN when none is free.
    """
    open_choices = [one for one in publication.mappings if not one.first]
    if not open_choices:
        return
    # At any address: somebody may be told the number alone.
    taken = {
        (one.protocol, port)
        for owner in [*list_others(), publication]
        for one in owner.mappings
        for port in range(one.first, one.last + 1)
    }
    for mapping in open_choices:
        for _ in range(_TRIES):
            port = _find_free(mapping)
            if (mapping.protocol, port) not in taken:
                break
        else:
            raise CniError(PORT_TAKEN, f"no port is free for container port {mapping.target}", "name one")
        mapping.first = port
        taken.add((mapping.protocol, port))


def find_chosen(wanted: Mapping, published: "list[Mapping]") -> Mapping | None:
    """Return what was chosen in an ADD for a mapping without a port of the host; None if that is unknown."""
    for one in published:
        same = one.protocol == wanted.protocol and str(one.host_ip) == str(wanted.host_ip)
        if same and one.target == wanted.target and one.count == 1:
            return one
    return None


def _find_free(mapping: Mapping) -> int:
    """Return a port that no program of the host has, as the kernel chooses them (ip_local_port_range)."""
    kind, protocol = _KINDS[mapping.protocol]
    is_ipv6 = mapping.host_ip is not None and mapping.host_ip.version == 6
    family = _socket.AF_INET6 if is_ipv6 else _socket.AF_INET
    sock = _socket.socket(family, kind, protocol)
    try:
        sock.bind((mapping.address(), 0))  # an empty address is any
        port: int = sock.getsockname()[1]
        return port
    except OSError as error:
        where = mapping.address() or "the host"
        raise CniError(
            PORT_TAKEN, f"no port of {where} can be chosen: {error.strerror}", "name one"
        ) from None
    finally:
        sock.close()
