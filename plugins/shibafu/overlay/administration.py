"""What people do with an overlay network: describe it, list its hosts, remove one."""

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from errno import ENODEV
from ipaddress import ip_address, ip_network
from itertools import chain

from shibafu.lean.files import remove_file
from shibafu.lean.ip import parse_cidr
from shibafu.netlink.address import addr_list
from shibafu.netlink.link_requests import link_del
from shibafu.netlink.route import route_del, route_list
from shibafu.netlink.socket import NetlinkSocket
from shibafu.overlay.agent_state import (
    calc_state_path,
    is_agent_running,
    read_agent_state,
    remove_agent_state,
)
from shibafu.overlay.cluster_network import ClusterNetwork, format_cluster_network, parse_cluster_network
from shibafu.overlay.collisions import require_apart_from_endpoints, require_apart_from_links
from shibafu.overlay.config import OverlaySettings
from shibafu.overlay.errors import OverlayError
from shibafu.overlay.etcd import EtcdClient, encode_value
from shibafu.overlay.peer_entries import RTPROT_SHIBAFU, lies_within
from shibafu.overlay.rejoining import remove_rejoin_request
from shibafu.overlay.stored import LeaseTime, StoredValue
from shibafu.overlay.subnet_leases import SubnetLease, parse_lease
from shibafu.overlay.unfinished_files import remove_unfinished

# Connections to etcd at once.
_WORKERS = 8


@dataclass(frozen=True)
class Host:
    """A host of a network, as etcd has it.

    Args:
        lease: its subnets, and how to reach it.
        is_reserved: whether its subnet does not expire.
        renewed: how many seconds ago it was heard of; None if it never expires, or has just expired.
    """

    lease: SubnetLease
    is_reserved: bool
    renewed: int | None

    def describe(self) -> dict[str, object]:
        """Return it as programs read it."""
        return self.lease.describe() | {"reserved": self.is_reserved, "renewed": self.renewed}


def read_network(client: EtcdClient, prefix: str) -> ClusterNetwork | None:
    """Return a network as etcd describes it; None for none.

    Raises:
        OverlayError: it is invalid, or etcd cannot be reached.
    """
    stored = client.get(f"{prefix}/config")
    return None if stored is None else parse_cluster_network(stored.value)


def describe_network(client: EtcdClient, prefix: str, network: ClusterNetwork, force: bool = False) -> bool:
    """Describe a network to all hosts; return whether anything had to be written.

    Args:
        client: where.
        prefix: of the network's keys.
        network: the description.
        force: replace one that hosts have joined.

    Raises:
        OverlayError: there is another one, or etcd cannot be reached.
    """
    key = f"{prefix}/config"
    value = format_cluster_network(network)
    stored = client.get(key)
    if stored is not None:
        if _is_same(stored, network):
            return False
        if not force and client.list_prefix(f"{prefix}/subnets/").values:
            has = " ".join(stored.value.decode("utf-8", "replace").split())
            raise OverlayError(
                f"etcd describes another network under {prefix}, and hosts have joined it: etcd has {has},"
                f" and {value} was asked for",
                "use another prefix; --force replaces it: hosts get other subnets when their agents restart",
            )
    client.call("kv/put", {"key": encode_value(key), "value": encode_value(value)})
    return True


def require_apart(client: EtcdClient, network: ClusterNetwork, settings: OverlaySettings) -> None:
    """Refuse a network that would cut this host off, or off from etcd.

    Args:
        client: where the network is described.
        network: the description.
        settings: of the network.

    Raises:
        OverlayError: it would, or etcd cannot be reached.
    """
    require_apart_from_endpoints(network, settings.etcd.endpoints)
    with NetlinkSocket() as sock:
        addresses = {addr.ip for addr in addr_list(sock)}
        own = [
            subnet
            for lease, _ in list_leases(client, settings.prefix)
            # By another address than its own, if that is translated.
            if lease.public_ip.packed in addresses or lease.public_ip == settings.public_ip
            for subnet in (lease.subnet, lease.subnet6)
            if subnet is not None
        ]
        require_apart_from_links(sock, network, own)


def _is_same(stored: StoredValue, network: ClusterNetwork) -> bool:
    try:
        return parse_cluster_network(stored.value) == network
    except OverlayError:
        return False


def list_leases(client: EtcdClient, prefix: str) -> Iterator[tuple[SubnetLease, StoredValue]]:
    """Yield what hosts have, and how etcd has it; what is not a host's, or damaged, is passed over.

    Raises:
        OverlayError: etcd cannot be reached.
    """
    whole = f"{prefix}/subnets/"
    for stored in client.list_prefix(whole).values:
        lease = parse_lease(stored.key.removeprefix(whole), stored.value)
        if lease is not None:
            yield lease, stored


def list_hosts(client: EtcdClient, prefix: str) -> list[Host]:
    """Return the hosts of a network, by their subnets.

    Raises:
        OverlayError: etcd cannot be reached.
    """
    found = sorted(list_leases(client, prefix), key=lambda host: host[0].subnet)
    times = _ask_lease_times(client, [stored.lease for _, stored in found if stored.lease])
    hosts = []
    for lease, stored in found:
        time = times.get(stored.lease)
        hosts.append(Host(lease, not stored.lease, time.age if time else None))
    return hosts


def _ask_lease_times(client: EtcdClient, numbers: Sequence[int]) -> dict[int, LeaseTime | None]:
    """Return the times of leases, by their numbers; etcd tells one at a time, so that several are asked."""
    parts = [part for index in range(_WORKERS) if (part := numbers[index::_WORKERS])]

    def ask(part: Sequence[int]) -> list[tuple[int, LeaseTime | None]]:
        own = client.copy()
        return [(number, own.ask_lease_time(number)) for number in part]

    with ThreadPoolExecutor(_WORKERS) as executor:
        return dict(chain.from_iterable(executor.map(ask, parts)))


def remove_host(client: EtcdClient, prefix: str, host: str) -> list[SubnetLease]:
    """Remove a host from a network for good; return what it had.

    Args:
        client: where.
        prefix: of the network's keys.
        host: its address, or its subnet.

    Raises:
        OverlayError: etcd cannot be reached.
    """
    removed = []
    for lease, stored in list_leases(client, prefix):
        if host in _calc_names(lease):
            client.delete(stored.key)
            removed.append(lease)
    return removed


def require_host(text: str) -> str:
    """Return an address or a subnet of a host, in its usual form.

    Raises:
        ValueError: it is neither.
    """
    try:
        return str(ip_network(text) if "/" in text else ip_address(text))
    except ValueError:
        raise ValueError(f'"{text}" is neither the address nor the subnet of a host') from None


def remove_from_this_host(settings: OverlaySettings, host: str) -> list[str]:
    """Remove what a network has on this host, if it is that one; return what was there, in words.

    Args:
        settings: of the network.
        host: an address or a subnet.

    Raises:
        OverlayError: its agent is at work, and would put it back.
    """
    state = read_agent_state(settings.name)
    if host not in [state.get(key) for key in ("publicIP", "publicIPv6", "subnet", "subnet6")]:
        return []
    if is_agent_running():
        raise OverlayError(
            f"{host} is this host, whose agent is running and would join again",
            "stop it first: systemctl disable --now shibafu-overlay",
        )
    removed = []
    with NetlinkSocket() as sock:
        for name in state.get("devices", ()):
            if sock.request(link_del(str(name)).ignoring(ENODEV)) == 0:
                removed.append(f"device {name}")
        ranges = [parse_cidr(text) for text in state.get("ranges", ())]
        # Those on the device have gone with it; what is left leads directly to hosts on the same link.
        routes = [
            route
            for route in route_list(sock)
            if route.protocol == RTPROT_SHIBAFU and route.dst and lies_within(ranges, route.dst)
        ]
        sock.request_all([route_del(route.index, route.dst, route.dst_prefix) for route in routes])
        removed += [f"{len(routes)} routes"] if routes else []
    if remove_file(settings.subnet_file):
        removed.append(settings.subnet_file)
    remove_agent_state(settings.name)
    for path in (settings.subnet_file, calc_state_path(settings.name)):
        remove_unfinished(path)
    remove_rejoin_request(settings.name)
    return removed


def format_entry(settings: OverlaySettings) -> str:
    """Return a network as an item of the agent's configuration."""
    etcd = settings.etcd
    keys = {
        "name": settings.name,
        "endpoints": list(etcd.endpoints),
        "prefix": settings.prefix,
        "iface": settings.iface,
        "cafile": etcd.cafile,
        "certfile": etcd.certfile,
        "keyfile": etcd.keyfile,
        "username": etcd.username,
        "passwordFile": etcd.password_file,
    }
    lines = [f"{key}: {json.dumps(value)}" for key, value in keys.items() if value]
    return "  - " + "\n    ".join(lines) + "\n"


def _calc_names(lease: SubnetLease) -> set[str]:
    parts = (lease.public_ip, lease.public_ip6, lease.subnet, lease.subnet6)
    return {str(part) for part in parts if part is not None}
