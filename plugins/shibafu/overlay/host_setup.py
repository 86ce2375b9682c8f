"""What a host has for its subnet: its ends of the VXLAN, their devices, and what CNI plugins are told."""

from ipaddress import IPv4Address, IPv6Address

from shibafu.lean.ip import Address, Cidr
from shibafu.netlink.vxlan import Vxlan
from shibafu.overlay.cluster_network import OVERHEAD, OVERHEAD6, ClusterNetwork
from shibafu.overlay.outer_link import OuterLink
from shibafu.overlay.subnet_file import HostSubnet
from shibafu.overlay.subnet_leases import HostVteps, SubnetLease, Vtep
from shibafu.overlay.vxlan_device import VxlanDevice, calc_device_mac, calc_device_name


def calc_host_vteps(network: ClusterNetwork, outer: OuterLink, machine_id: str) -> HostVteps:
    """Return how other hosts reach this one.

    Raises:
        OverlayError: see `calc_device_name`.
    """

    def calc_vtep(local: IPv4Address | IPv6Address) -> Vtep:
        name = calc_device_name(network.vni, local.version)
        return Vtep(network.vni, calc_device_mac(machine_id, name, local.packed))

    vtep6 = None if outer.local6 is None else calc_vtep(outer.local6)
    return HostVteps(outer.public, outer.public6, calc_vtep(outer.local), vtep6)


def calc_devices(
    network: ClusterNetwork, lease: SubnetLease, outer: OuterLink, tx_checksum: bool | None = None
) -> dict[int, VxlanDevice]:
    """Return the devices of this host, by the version of IP that their packets are in.

    Args:
        network: the network.
        lease: what this host has.
        outer: the link to the other hosts.
        tx_checksum: whether they leave checksums to others; see `VxlanDevice`.
    """
    devices: dict[int, VxlanDevice] = {}
    whole = network.mtu or outer.mtu
    for local, subnet, vtep, overhead in (
        (outer.local, lease.subnet, lease.vtep, OVERHEAD),
        (outer.local6, lease.subnet6, lease.vtep6, OVERHEAD6),
    ):
        if local is not None and subnet is not None and vtep is not None:
            devices[local.version] = VxlanDevice(
                calc_device_name(network.vni, local.version),
                Vxlan(network.vni, outer.index, local.packed, network.port, gbp=network.gbp),
                vtep.mac,
                min(whole, outer.mtu) - overhead,
                subnet.network_address.packed,
                tx_checksum,
            )
    return devices


def calc_host_subnet(network: ClusterNetwork, lease: SubnetLease, mtu: int) -> HostSubnet:
    """Return what CNI calls are told: the network, this host's part with its gateway, the largest packet."""
    networks, subnets = [], []
    for whole, part in ((network.subnets, lease.subnet), (network.subnets6, lease.subnet6)):
        if whole is not None and part is not None:
            address = Address.from_packed(whole.network.network_address.packed)
            networks.append(Cidr(address, whole.network.prefixlen))
            subnets.append(Cidr(Address.from_packed(part[1].packed), part.prefixlen))
    return HostSubnet(networks, subnets, mtu, ip_masq=False)
