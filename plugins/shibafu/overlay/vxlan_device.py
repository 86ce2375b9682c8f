"""A host's end of the VXLAN: one device of each family, made once and kept while it is right.

Names, numbers and addresses are flannel's, so that a host can change from one program to the other while
containers run. The MAC is computed: other hosts' entries stay right when the device is made again.
"""

from dataclasses import dataclass
from errno import EEXIST
from hashlib import sha256

from shibafu.lean.sysctl import try_sysctl
from shibafu.netlink.address import addr_add, addr_del, addr_list
from shibafu.netlink.constants import RT_SCOPE_UNIVERSE
from shibafu.netlink.errors import NetlinkError
from shibafu.netlink.ethtool import has_checksum_offload, set_checksum_offload
from shibafu.netlink.link import Link, link_by_name
from shibafu.netlink.link_requests import link_del, link_set
from shibafu.netlink.socket import NetlinkSocket
from shibafu.netlink.vxlan import Vxlan, link_add_vxlan, parse_vxlan
from shibafu.overlay.errors import OverlayError

_LONGEST_NAME = 15  # IFNAMSIZ - 1 (linux/if.h)
_NAMES = {4: "flannel", 6: "flannel-v6"}


@dataclass(frozen=True)
class VxlanDevice:
    """A device as it is to be.

    Args:
        name: its name.
        vxlan: what it sends packets with.
        mac: its address.
        mtu: in bytes.
        address: its only address, packed: that of the host's subnet.
        tx_checksum: whether it leaves checksums to the link below it; None if that may be as it is.
    """

    name: str
    vxlan: Vxlan
    mac: bytes
    mtu: int
    address: bytes
    tx_checksum: bool | None = None


def calc_device_name(vni: int, version: int) -> str:
    """Return the name of the device of a VXLAN.

    Args:
        vni: its number.
        version: 4 or 6.

    Raises:
        OverlayError: it is too long for the kernel.
    """
    name = f"{_NAMES[version]}.{vni}"
    if len(name) > _LONGEST_NAME:
        raise OverlayError(
            f"the network's VNI {vni} is too large: the device {name} would have more than"
            f" {_LONGEST_NAME} characters",
            "choose a smaller VNI",
        )
    return name


def calc_device_mac(machine_id: str, name: str, local: bytes) -> bytes:
    """Return the address that a device of this host always has: a local one, of one link.

    Args:
        machine_id: see machine-id(5).
        name: of the device.
        local: the host's address that its packets come from, packed.
    """
    digest = bytearray(sha256(b"\0".join((machine_id.encode(), name.encode(), local))).digest()[:6])
    digest[0] = digest[0] & 0xFE | 2
    return bytes(digest)


def ensure_vxlan_device(sock: NetlinkSocket, device: VxlanDevice) -> tuple[int, bool]:
    """Make a device, or what is missing of it; return its index, and whether anything was missing.

    A device that sends packets otherwise is deleted, and made again.

    Raises:
        OverlayError: the place is taken by something else.
        NetlinkError: the kernel refuses it.
        OSError: it refuses to change how checksums are computed.
    """
    link = link_by_name(sock, device.name)
    if link is not None and link.kind != "vxlan":
        raise OverlayError(
            f"{device.name} is not a VXLAN device, but a link of the kind {link.kind or 'hardware'}",
            f"rename it, or delete it: ip link delete {device.name}",
        )
    if link is not None and parse_vxlan(link) != device.vxlan:
        sock.request(link_del(link.index))
        link = None
    is_new = link is None
    if link is None:
        link = _create(sock, device)
    changed = _ensure_attributes(sock, device, link)
    changed |= _ensure_address(sock, device, link.index)
    if has_other_checksums(device):
        set_checksum_offload(device.name, bool(device.tx_checksum))
        changed = True
    # Packets for containers come in here, and this is no router for its own link.
    try_sysctl(f"/proc/sys/net/ipv4/conf/{device.name}/forwarding", "1")
    try_sysctl(f"/proc/sys/net/ipv6/conf/{device.name}/forwarding", "1")
    try_sysctl(f"/proc/sys/net/ipv6/conf/{device.name}/accept_ra", "0")
    return link.index, is_new or changed


def has_other_checksums(device: VxlanDevice) -> bool:
    """Return whether a device computes checksums although it should not, or the other way round.

    Raises:
        OSError: the kernel does not say.
    """
    return device.tx_checksum is not None and device.tx_checksum != has_checksum_offload(device.name)


def _create(sock: NetlinkSocket, device: VxlanDevice) -> Link:
    try:
        sock.request(link_add_vxlan(device.name, device.vxlan, device.mac, device.mtu))
    except NetlinkError as error:
        if error.errno != EEXIST:
            raise
        raise OverlayError(
            f"another device of this host has the VNI {device.vxlan.vni} and the port {device.vxlan.port}",
            "find it with `ip -d link show type vxlan`, and delete it, or give the network another VNI",
        ) from None
    link = link_by_name(sock, device.name)
    if link is None:
        raise OverlayError(f"{device.name} was deleted while it was being created")
    return link


def _ensure_attributes(sock: NetlinkSocket, device: VxlanDevice, link: Link) -> bool:
    mac = device.mac if link.mac != device.mac else None
    mtu = device.mtu if link.mtu != device.mtu else None
    up = True if not link.up else None
    if mac is None and mtu is None and up is None:
        return False
    sock.request(link_set(link.index, mac=mac, mtu=mtu, up=up))
    return True


def _ensure_address(sock: NetlinkSocket, device: VxlanDevice, index: int) -> bool:
    prefix = len(device.address) * 8
    has_it = False
    requests = []
    for addr in addr_list(sock, index):
        if (addr.ip, addr.prefix) == (device.address, prefix):
            has_it = True
        elif addr.scope == RT_SCOPE_UNIVERSE:
            requests.append(addr_del(index, addr.ip, addr.prefix))
    if not has_it:
        requests.append(addr_add(index, device.address, prefix))
    sock.request_all(requests)
    return bool(requests)
