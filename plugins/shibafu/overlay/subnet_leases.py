"""Which host has which subnet: flannel's keys below `<prefix>/subnets/` and their values, byte for byte.

    /coreos.com/network/subnets/10.42.73.0-24&fd42:0:0:19::-64
    {"PublicIP":"192.168.77.11","PublicIPv6":"fd77::11","BackendType":"vxlan","BackendData":{"VNI":1,...},...}

See pkg/subnet/subnet.go and pkg/lease/lease.go of flannel.
"""

import json
import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

from shibafu.lean.ip import parse_mac

VXLAN = "vxlan"
# flannel's own, with what it has before the first number cut off.
_KEY = re.compile(r"(\d+\.\d+\.\d+\.\d+)-(\d+)(?:&([a-f\d:]+)-(\d+))?", re.ASCII)


@dataclass(frozen=True)
class Vtep:
    """The end of a host's VXLAN, of one family.

    Args:
        vni: the VXLAN's number.
        mac: of the host's device.
    """

    vni: int
    mac: bytes


@dataclass(frozen=True)
class SubnetLease:
    """A host's subnets, and how to reach it.

    Args:
        subnet: of IPv4.
        subnet6: of IPv6; None for none.
        public_ip: the host's address.
        public_ip6: likewise.
        backend: how packets get there: "vxlan" is the only one that is known here.
        vtep: the end of its VXLAN over IPv4; None for another backend.
        vtep6: likewise over IPv6.
    """

    subnet: IPv4Network
    subnet6: IPv6Network | None
    public_ip: IPv4Address
    public_ip6: IPv6Address | None = None
    backend: str = VXLAN
    vtep: Vtep | None = None
    vtep6: Vtep | None = None

    def describe(self) -> dict[str, object]:
        """Return it as programs read it."""
        return {
            "publicIP": str(self.public_ip),
            "publicIPv6": str(self.public_ip6) if self.public_ip6 else "",
            "subnet": str(self.subnet),
            "subnet6": str(self.subnet6) if self.subnet6 else "",
            "backend": self.backend,
        }


@dataclass(frozen=True)
class HostVteps:
    """How to reach a host, whichever subnet it has; see `SubnetLease`."""

    public_ip: IPv4Address
    public_ip6: IPv6Address | None
    vtep: Vtep
    vtep6: Vtep | None

    def calc_lease(self, subnet: IPv4Network, subnet6: IPv6Network | None) -> SubnetLease:
        """Return what others are told when the host has these subnets."""
        return SubnetLease(subnet, subnet6, self.public_ip, self.public_ip6, VXLAN, self.vtep, self.vtep6)


def format_lease_key(subnet: IPv4Network, subnet6: IPv6Network | None) -> str:
    """Return the last part of a host's key."""
    key = f"{subnet.network_address}-{subnet.prefixlen}"
    return key if subnet6 is None else f"{key}&{subnet6.network_address}-{subnet6.prefixlen}"


def parse_lease_key(key: str) -> tuple[IPv4Network, IPv6Network | None] | None:
    """Return the subnets that the last part of a key names; None if it names none."""
    match = _KEY.fullmatch(key)
    if match is None:
        return None
    address, length, address6, length6 = match.groups()
    try:
        subnet6 = None if address6 is None else IPv6Network(f"{address6}/{length6}")
        return IPv4Network(f"{address}/{length}"), subnet6
    except ValueError:
        return None


def format_lease_value(lease: SubnetLease) -> str:
    """Return the value of a host's key, as Go's encoding/json writes it."""
    value: dict[str, object] = {
        "PublicIP": str(lease.public_ip),
        "PublicIPv6": None if lease.public_ip6 is None else str(lease.public_ip6),
        "BackendType": lease.backend,
    }
    for key, vtep in (("BackendData", lease.vtep), ("BackendV6Data", lease.vtep6)):
        if vtep is not None:
            value[key] = {"VNI": vtep.vni, "VtepMAC": vtep.mac.hex(":")}
    return json.dumps(value, separators=(",", ":"))


def parse_lease(key: str, value: str | bytes) -> SubnetLease | None:
    """Return what a key and its value say; None where it is not a host's, or damaged.

    Args:
        key: its last part.
        value: JSON.
    """
    subnets = parse_lease_key(key)
    if subnets is None:
        return None
    try:
        document = json.loads(value)
        public_ip6 = document.get("PublicIPv6")
        backend = str(document.get("BackendType", "")).lower()
        vtep, vtep6 = (
            _parse_vtep(document.get(name)) if backend == VXLAN else None
            for name in ("BackendData", "BackendV6Data")
        )
        return SubnetLease(
            *subnets,
            IPv4Address(document["PublicIP"]),
            None if not public_ip6 else IPv6Address(public_ip6),
            backend,
            vtep,
            vtep6,
        )
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None


def _parse_vtep(data: Any) -> Vtep | None:
    """Parse BackendData; a host without that family has none, or null.

    Raises:
        ValueError: it has no MAC.
        LookupError: likewise.
        TypeError: it is something else.
    """
    return None if not data else Vtep(int(data.get("VNI", 0)), parse_mac(data["VtepMAC"]))
