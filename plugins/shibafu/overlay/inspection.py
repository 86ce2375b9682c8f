"""What there is of an overlay network on this host: etcd's side and the kernel's, and where they differ."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from shibafu.lean.ip import Address
from shibafu.lean.machine_id import read_machine_id
from shibafu.netlink.address import addr_list
from shibafu.netlink.link import Link, link_by_name
from shibafu.netlink.socket import NetlinkSocket
from shibafu.netlink.vxlan import parse_vxlan
from shibafu.overlay.administration import list_leases, read_network
from shibafu.overlay.agent_state import is_agent_running, parse_own_lease, read_agent_state
from shibafu.overlay.cluster_network import ClusterNetwork
from shibafu.overlay.config import OverlaySettings
from shibafu.overlay.errors import OverlayError
from shibafu.overlay.etcd import EtcdClient
from shibafu.overlay.host_setup import calc_devices, calc_host_subnet, calc_host_vteps
from shibafu.overlay.outer_link import OuterLink, find_outer_link
from shibafu.overlay.peer_entries import Entry, describe_entry, list_entries, merge_entries
from shibafu.overlay.peers import PeerRules, calc_peer_entries
from shibafu.overlay.stored import LeaseTime
from shibafu.overlay.subnet_leases import VXLAN, SubnetLease
from shibafu.overlay.vxlan_device import VxlanDevice, has_other_checksums


@dataclass(frozen=True)
class DeviceView:
    """A device of the VXLAN on this host.

    Args:
        wanted: as it is to be.
        link: as the kernel has it; None for none.
        faults: how they differ, in words.
    """

    wanted: VxlanDevice
    link: Link | None
    faults: list[str]

    def describe(self) -> dict[str, object]:
        """Return it as programs read it: what the kernel has, or what is to be where it has nothing."""
        link, wanted = self.link, self.wanted
        vxlan = (parse_vxlan(link) if link else None) or wanted.vxlan
        return {
            "name": wanted.name,
            "present": link is not None,
            "vni": vxlan.vni,
            "port": vxlan.port,
            "local": str(Address.from_packed(vxlan.local)) if vxlan.local else "",
            "mac": (link.mac if link else wanted.mac).hex(":"),
            "mtu": link.mtu if link else wanted.mtu,
            "faults": self.faults,
        }


@dataclass(frozen=True)
class PeerView:
    """Another host.

    Args:
        lease: what etcd has.
        entries: what the kernel needs to reach it, in words; empty where it cannot be reached by VXLAN.
        missing: those of them that the kernel lacks.
    """

    lease: SubnetLease
    entries: list[str]
    missing: list[str]

    def describe(self) -> dict[str, object]:
        """Return it as programs read it."""
        return self.lease.describe() | {"entries": self.entries, "missing": self.missing}


@dataclass
class OverlayView:
    """A network, as this host has it.

    Args:
        settings: of the network.
        network: its description in etcd.
        endpoint: the member of etcd that has answered.
        outer: the link to the other hosts.
        state: what the agent says; empty where it has said nothing since the host started.
        is_running: whether the agent is.

    Attributes:
        own: this host's subnet, as etcd has it; None where it has none.
        is_reserved: whether that does not expire.
        time: of its lease; None where it does not expire.
        devices: of the VXLAN.
        peers: the other hosts, by their subnets.
        faults: what is wrong, in words.
    """

    settings: OverlaySettings
    network: ClusterNetwork
    endpoint: str
    outer: OuterLink
    state: dict[str, object]
    is_running: bool
    own: SubnetLease | None = None
    is_reserved: bool = False
    time: LeaseTime | None = None
    devices: list[DeviceView] = field(default_factory=list)
    peers: list[PeerView] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def describe(self) -> dict[str, object]:
        """Return it as programs read it."""
        network, own = self.network, self.own
        return {
            "network": self.settings.name,
            "prefix": self.settings.prefix,
            "endpoint": self.endpoint,
            "config": {
                "ranges": [
                    {"network": str(one.network), "subnetLength": one.length, "subnets": one.count}
                    for one in network.ranges
                ],
                "vni": network.vni,
                "port": network.port,
                "mtu": network.mtu,
                "directRouting": network.direct_routing,
                "gbp": network.gbp,
            },
            "agent": {"running": self.is_running, "state": self.state.get("state", "")},
            "iface": self.outer.name,
            "host": None
            if own is None
            else own.describe()
            | {
                "reserved": self.is_reserved,
                "renewed": self.time.age if self.time else None,
                "left": self.time.left if self.time else None,
            },
            "devices": [device.describe() for device in self.devices],
            "peers": [peer.describe() for peer in self.peers],
            "faults": self.faults,
        }


def inspect_overlay(settings: OverlaySettings) -> OverlayView:
    """Return what there is of a network; nothing is changed.

    Raises:
        OverlayError: etcd cannot be reached or has no network, or this host has no link to the others.
        NetlinkError: the kernel cannot be asked.
    """
    client = EtcdClient(settings.etcd)
    network = read_network(client, settings.prefix)
    if network is None:
        raise OverlayError(
            f"etcd has no network under {settings.prefix}", "describe it there: shibafu overlay init"
        )
    with NetlinkSocket() as sock:
        outer = find_outer_link(sock, settings, network.subnets6 is not None)
        view = OverlayView(
            settings, network, client.endpoint, outer, read_agent_state(settings.name), is_agent_running()
        )
        others = _find_own(client, view)
        # A subnet that another host has taken is still this host's in the kernel.
        own = view.own or parse_own_lease(view.state)
        if own is None:
            view.faults.append("this host has no subnet")
        else:
            host = calc_host_vteps(network, outer, read_machine_id())
            wanted = host.calc_lease(own.subnet, own.subnet6)
            if view.own is None:
                view.faults.append(f"etcd does not have {own.subnet} as the subnet of this host")
            elif view.own != wanted:
                view.faults.append("etcd has another address or MAC of this host than it has now")
            _look_at_kernel(sock, view, wanted, others)
    view.faults += _find_faults(view)
    return view


def _find_own(client: EtcdClient, view: OverlayView) -> list[SubnetLease]:
    """Note what etcd has of this host, and return the others."""
    others = []
    for lease, stored in list_leases(client, view.settings.prefix):
        if lease.public_ip != view.outer.public:
            others.append(lease)
            continue
        view.own = lease
        view.is_reserved = not stored.lease
        view.time = client.ask_lease_time(stored.lease) if stored.lease else None
    return sorted(others, key=lambda lease: lease.subnet)


def _look_at_kernel(
    sock: NetlinkSocket, view: OverlayView, own: SubnetLease, others: list[SubnetLease]
) -> None:
    network, outer = view.network, view.outer
    indexes = {}
    for version, device in calc_devices(network, own, outer, view.settings.tx_checksum).items():
        link = link_by_name(sock, device.name)
        view.devices.append(DeviceView(device, link, list(_compare_device(sock, device, link))))
        if link is not None:
            indexes[version] = link.index
    rules = PeerRules(sock, network, own, outer, indexes)
    entries = {str(lease.subnet): calc_peer_entries(rules, lease) for lease in others}
    have = list_entries(sock, indexes.values(), outer.index, calc_host_subnet(network, own, 0).networks)
    names = {device.link.index: device.wanted.name for device in view.devices if device.link}
    names[outer.index] = outer.name

    def describe(some: Iterable[Entry]) -> list[str]:
        return [describe_entry(entry, names) for entry in some]

    for lease in others:
        wanted = entries[str(lease.subnet)]
        missing = [entry for entry in wanted if entry not in have]
        view.peers.append(PeerView(lease, describe(wanted), describe(missing)))
    superfluous = sorted(describe(have - merge_entries(entries)))
    view.faults += [f"no host needs the {entry}" for entry in superfluous]


def _compare_device(sock: NetlinkSocket, device: VxlanDevice, link: Link | None) -> Iterator[str]:
    if link is None:
        yield "it is missing"
        return
    if parse_vxlan(link) != device.vxlan:
        yield "its VNI, port, link or local address is another one"
    if not link.up:
        yield "it is down"
    if link.mac != device.mac:
        yield f"its MAC is {link.mac.hex(':')} instead of {device.mac.hex(':')}"
    if link.mtu != device.mtu:
        yield f"its MTU is {link.mtu} instead of {device.mtu}"
    if has_other_checksums(device):
        yield "it leaves checksums to others" if not device.tx_checksum else "it computes checksums itself"
    if device.address not in {addr.ip for addr in addr_list(sock, link.index)}:
        yield "it lacks the address of this host's subnet"


def _find_faults(view: OverlayView) -> Iterator[str]:
    """Yield in words what is wrong in the parts of a view."""
    if not view.is_running:
        yield "the agent is not running"
    elif view.state.get("trouble"):
        yield str(view.state["trouble"])
    for device in view.devices:
        for fault in device.faults:
            yield f"device {device.wanted.name}: {fault}"
    for peer in view.peers:
        name = f"host {peer.lease.public_ip}"
        if peer.lease.backend != VXLAN:
            yield f"{name} has the backend {peer.lease.backend}, which is not supported"
        elif not peer.entries and all(device.link for device in view.devices):
            yield f"{name}: {peer.lease.subnet} is not of this network, or is this host's own subnet"
        elif peer.missing:
            yield f"{name}: the kernel lacks {len(peer.missing)} of {len(peer.entries)} entries"
