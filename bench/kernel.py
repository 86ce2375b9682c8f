"""The kernel's part of an attachment alone: the same netlink messages out of a process that is running."""

import os
from time import perf_counter_ns
from typing import Self

from bench.namespace import Namespace
from shibafu.netlink.address import addr_add
from shibafu.netlink.link import Link, link_by_name
from shibafu.netlink.link_removal import link_del_announced
from shibafu.netlink.link_requests import link_add_bridge, link_add_veth, link_del, link_set
from shibafu.netlink.route import route_add
from shibafu.netlink.socket import NetlinkSocket

_ADDRESS, _GATEWAY = bytes([10, 64, 0, 2]), bytes([10, 64, 0, 1])
_MAC, _PEER_MAC = bytes([2, 0, 0, 0, 0, 1]), bytes([2, 0, 0, 0, 0, 2])


class KernelWork:
    """One container's link, again and again.

    Args:
        host: where the bridge is made, and where the process is whenever it works.
        container: where the other end goes to.
    """

    def __init__(self, host: Namespace, container: Namespace) -> None:
        with host.inside():
            self._host = NetlinkSocket()
            self._host.request(link_add_bridge("bench0", mac=bytes([2, 0, 0, 0, 0, 3])))
            self._bridge = _find_link(self._host, "bench0")
            self._host.request(addr_add(self._bridge.index, _GATEWAY, 16))
        with container.inside():
            self._container = NetlinkSocket()
        self._netns = os.open(container.path, os.O_RDONLY | os.O_CLOEXEC)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        os.close(self._netns)
        self._container.close()
        self._host.close()

    def add(self) -> float:
        """Make the pair, its end in the container up, with address and default route; return milliseconds."""
        begin = perf_counter_ns()
        pair = link_add_veth(
            "veth0", "eth0", self._netns, mac=_MAC, peer_mac=_PEER_MAC, master=self._bridge.index
        )
        self._host.request(pair)
        index = _find_link(self._container, "eth0").index
        self._container.request_all(
            [addr_add(index, _ADDRESS, 16), link_set(index, up=True), route_add(index, gateway=_GATEWAY)]
        )
        return (perf_counter_ns() - begin) / 1e6

    def delete(self) -> float:
        """Delete the pair, and wait until the kernel acknowledges it, as most programs do."""
        begin = perf_counter_ns()
        self._host.request(link_del("veth0"))
        return (perf_counter_ns() - begin) / 1e6

    def delete_announced(self) -> float:
        """Delete the pair, and wait until the kernel announces it, as shibafu does."""
        begin = perf_counter_ns()
        link_del_announced("veth0")
        return (perf_counter_ns() - begin) / 1e6


def _find_link(sock: NetlinkSocket, name: str) -> Link:
    link = link_by_name(sock, name)
    if link is None:
        raise LookupError(f"{name} was made just before, and is not there")
    return link
