"""Whether packets cross a network: to its gateway and from there, between neighbours, and into the world.

In the laboratory of the differential tests, whose namespaces are called host, c1 and outside.
"""

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ipaddress import ip_address, ip_interface
from time import sleep
from typing import Any

from differential.laboratory import entered
from differential.probe import probe
from support.namespaces import Namespace
from support.traffic import can_reach

HOST, CONTAINER, OUTSIDE = (Namespace.of_name(name) for name in ("host", "c1", "outside"))
# Of a container that its network gives none.
_OWN = "192.0.2.2/24"
# How often to look before something is called lost.
_LOOKS = 3
_DEFAULT = {"0.0.0.0/0": "IPv4", "::/0": "IPv6"}

Described = Mapping[str, Mapping[str, Any]]


def find_lost(described: Described, ifname: str) -> list[str]:
    """Return what does not get through of all that is to.

    Args:
        described: what each resource of the attachment is to be, by its name.
        ifname: the container's interface.
    """
    interface = described["ContainerInterface"]
    if "state" not in interface:
        return []  # it is left down
    if "addresses" in described["Gateway"]:
        lost = list(_find_lost_of_gateway(described["Gateway"]))
    else:
        lost = list(_find_lost_of_neighbour(described, ifname))
    if described.get("Rules", {}).get("ipMasq"):
        destinations = [route["dst"] for route in interface["routes"]]
        lost += _find_lost_beyond({_DEFAULT[dst] for dst in destinations if dst in _DEFAULT})
    return lost


def _find_lost_of_gateway(gateway: Mapping[str, Any]) -> Iterator[str]:
    for address in gateway["routes"]:
        for own in map(ip_interface, gateway["addresses"]):
            if ip_address(address) in own.network:
                if not _can_reach(HOST, str(own.ip), CONTAINER):
                    yield f"from the container to its gateway {own.ip}"
                if not _can_reach(CONTAINER, address, HOST):
                    yield f"from the host to the container at {address}"


def _find_lost_beyond(families: set[str]) -> list[str]:
    lost: list[str] = []
    for _ in range(_LOOKS):
        seen = probe(["c1"], entered)
        outcomes = {name: seen.get(f"c1 reaches the outside by {name}", "refused") for name in families}
        lost = [f"to the world by {name}: {how}" for name, how in outcomes.items() if how != "masqueraded"]
        if not lost:
            break
    return lost


def _find_lost_of_neighbour(described: Described, ifname: str) -> Iterator[str]:
    """Plug a neighbour into the bridge for a moment: no host is there to send to."""
    bridge, vlan = described["Bridge"]["name"], described["Port"].get("vlan")
    addresses = described["ContainerInterface"]["addresses"]
    if not addresses:
        _ip("c1", f"addr add {_OWN} dev {ifname}")
    for own in map(ip_interface, addresses or [_OWN]):
        first = own.network.network_address + 1
        neighbour = f"{first if first != own.ip else first + 1}/{own.network.prefixlen}"
        if ip_interface(neighbour).ip not in own.network:
            continue  # there is no room for one
        with _plugged(bridge, neighbour, vlan):
            if not _can_reach(CONTAINER, str(own.ip), OUTSIDE):
                yield f"from a neighbour to the container at {own.ip}"
            if not _can_reach(OUTSIDE, neighbour.partition("/")[0], CONTAINER):
                yield f"from the container to a neighbour at {neighbour}"
    if not addresses:
        _ip("c1", f"addr del {_OWN} dev {ifname}")


@contextmanager
def _plugged(bridge: str, address: str, vlan: int | None) -> Iterator[None]:
    """Have a neighbour of the container's on the bridge."""
    _ip(
        "host",
        "link add probe0 type veth peer name lan0 netns outside",
        f"link set probe0 master {bridge} up",
    )
    try:
        if vlan:
            line = f"bridge vlan add dev probe0 vid {vlan} pvid untagged"
            subprocess.run(["nsenter", f"--net={HOST.path}", *line.split()], check=True)
        _ip("outside", f"addr add {address} dev lan0{' nodad' if ':' in address else ''}", "link set lan0 up")
        _wait_for_carrier("lan0")
        yield
    finally:
        _ip("host", "link del probe0")


def _can_reach(server: Namespace, address: str, client: Namespace) -> bool:
    """Return whether a datagram arrives within two seconds: a busy machine may take one."""
    try:
        return any(can_reach(server, address, client) for _ in range(_LOOKS))
    except OSError:
        return False  # the server lacks the address


def _wait_for_carrier(link: str) -> None:
    """Wait until a link of the neighbour's sends, which a worker of the kernel's sees to (link_watch.c)."""
    for _ in range(500):
        if " UP " in OUTSIDE.run("ip", "-br", "link", "show", link):
            return
        sleep(0.01)
    raise AssertionError(f"{link} has no carrier")


def _ip(namespace: str, *lines: str) -> None:
    subprocess.run(["ip", "-n", namespace, "-batch", "-"], check=True, input="\n".join(lines), text=True)
