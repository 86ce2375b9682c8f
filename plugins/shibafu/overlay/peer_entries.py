"""What the kernel needs to reach the subnets of other hosts, compared with what it has.

Of each host an entry of the FDB (the MAC of its device is behind its address), a neighbour (the address of
its subnet has that MAC) and a route (its subnet is behind that address): the same as flannel's. All that is
on the device is ours, and what is not wanted is deleted.
"""

from collections.abc import Iterable, Mapping, Sequence
from errno import ENODEV, ENOENT, ESRCH
from typing import NamedTuple

from shibafu.lean.ip import Address, Cidr
from shibafu.netlink.constants import RTNH_F_ONLINK, RTPROT_KERNEL
from shibafu.netlink.errors import NetlinkError
from shibafu.netlink.neighbour import (
    fdb_del,
    fdb_list,
    fdb_replace,
    neighbour_del,
    neighbour_list,
    neighbour_replace,
)
from shibafu.netlink.route import Route, route_add, route_del, route_list
from shibafu.netlink.socket import NetlinkRequest, NetlinkSocket

# Who has made a route, for `ip route`; none of those in /etc/iproute2/rt_protos.
RTPROT_SHIBAFU = 91
# What says that an entry is gone already: no such neighbour, no such route, no such device.
_GONE = (ENOENT, ESRCH, ENODEV)


class FdbEntry(NamedTuple):
    """Packets for a MAC go to a host."""

    device: int
    mac: bytes
    dst: bytes


class NeighbourEntry(NamedTuple):
    """An address has a MAC."""

    device: int
    ip: bytes
    mac: bytes


class RouteEntry(NamedTuple):
    """A subnet is behind an address: on the device, or with `is_direct` on the link between the hosts."""

    device: int
    dst: bytes
    prefix: int
    gateway: bytes
    is_direct: bool = False


Entry = FdbEntry | NeighbourEntry | RouteEntry


def describe_entry(entry: Entry, links: Mapping[int, str]) -> str:
    """Return an entry in the words of ip(8) and bridge(8).

    Args:
        entry: the entry.
        links: the names of links, by their numbers.
    """
    link = links.get(entry.device, str(entry.device))
    if isinstance(entry, FdbEntry):
        return f"FDB entry {entry.mac.hex(':')} dst {Address.from_packed(entry.dst)} dev {link}"
    if isinstance(entry, NeighbourEntry):
        return f"neighbour {Address.from_packed(entry.ip)} lladdr {entry.mac.hex(':')} dev {link}"
    gateway = f" via {Address.from_packed(entry.gateway)}" if entry.gateway else ""
    return f"route {Address.from_packed(entry.dst)}/{entry.prefix}{gateway} dev {link}"


def lies_within(ranges: Iterable[Cidr], address: bytes) -> bool:
    """Return whether one of the networks has an address, packed."""
    return any(cidr.contains(Address.from_packed(address)) for cidr in ranges)


def list_entries(
    sock: NetlinkSocket, devices: Iterable[int], outer: int, ranges: Sequence[Cidr]
) -> set[Entry]:
    """Return what the kernel has.

    Args:
        sock: a socket of the host's namespace.
        devices: indexes of the VXLAN devices.
        outer: of the link between the hosts.
        ranges: of the network; of the routes on that link only those that were made here, and lead there,
            are listed.
    """
    entries: set[Entry] = set()
    for index in devices:
        try:
            fdb, neighbours, routes = (
                fdb_list(sock, index),
                neighbour_list(sock, index),
                route_list(sock, index),
            )
        except NetlinkError as error:
            if error.errno == ENODEV:
                continue
            raise
        entries.update(FdbEntry(index, one.mac, one.dst) for one in fdb if one.mac and one.dst)
        entries.update(NeighbourEntry(index, one.dst, one.mac) for one in neighbours if one.permanent)
        entries.update(
            _calc_route(route) for route in routes if route.protocol != RTPROT_KERNEL and route.dst
        )
    entries.update(
        _calc_route(route, is_direct=True)
        for route in route_list(sock, outer)
        if route.protocol == RTPROT_SHIBAFU and route.dst and lies_within(ranges, route.dst)
    )
    return entries


def merge_entries(peers: Mapping[str, Iterable[Entry]]) -> set[Entry]:
    """Return the entries of all hosts; where two want the same place, that of the last key has it."""
    wanted = {_calc_place(entry): entry for _, entries in sorted(peers.items()) for entry in entries}
    return set(wanted.values())


def apply_entries(sock: NetlinkSocket, have: set[Entry], want: set[Entry]) -> tuple[int, list[NetlinkError]]:
    """Make what is wanted, then delete what is not: no packet meets a route that leads nowhere.

    Returns:
        How many entries have changed, and what the kernel has refused.
    """
    added, removed = want - have, have - want
    replaced = {_calc_place(entry) for entry in want}
    requests = [_request(entry) for entry in sorted(added, key=_calc_order)]
    requests += [
        _request_removal(entry)
        for entry in sorted(removed, key=_calc_order, reverse=True)
        # What is at the same place has been replaced.
        if _calc_place(entry) not in replaced
    ]
    failures = []
    for request, failure in zip(requests, sock.attempt_all(requests), strict=True):
        if failure is not None and failure.errno not in request.ignore:
            failures.append(failure)
    return len(requests) - len(failures), failures


def _calc_route(route: Route, is_direct: bool = False) -> RouteEntry:
    is_right = route.protocol == RTPROT_SHIBAFU and bool(route.flags & RTNH_F_ONLINK) != is_direct
    gateway = route.gateway or b""
    # One of another program's has to be made again, in its place.
    return RouteEntry(
        route.index, route.dst or b"", route.dst_prefix, gateway if is_right else b"", is_direct
    )


def _calc_place(entry: Entry) -> tuple[object, ...]:
    """Return what only one entry can have."""
    if isinstance(entry, RouteEntry):
        # In IPv4 a route is replaced whichever link it leads through, in IPv6 only on the same one.
        link = entry.device if len(entry.dst) == 16 else 0
        return "route", link, entry.dst, entry.prefix
    if isinstance(entry, FdbEntry):
        return "fdb", entry.device, entry.mac
    return "neighbour", entry.device, entry.ip


def _calc_order(entry: Entry) -> int:
    return (FdbEntry, NeighbourEntry, RouteEntry).index(type(entry))


def _request(entry: Entry) -> NetlinkRequest:
    if isinstance(entry, FdbEntry):
        return fdb_replace(*entry)
    if isinstance(entry, NeighbourEntry):
        return neighbour_replace(*entry)
    device, dst, prefix, gateway, is_direct = entry
    return route_add(
        device, dst, prefix, gateway, protocol=RTPROT_SHIBAFU, onlink=not is_direct, replace=True
    )


def _request_removal(entry: Entry) -> NetlinkRequest:
    if isinstance(entry, FdbEntry):
        request = fdb_del(*entry)
    elif isinstance(entry, NeighbourEntry):
        request = neighbour_del(entry.device, entry.ip)
    else:
        request = route_del(entry.device, entry.dst, entry.prefix, entry.gateway or None)
    return request.ignoring(*_GONE)
