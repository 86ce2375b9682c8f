"""A gateway that several hosts of an L2 network share: which address is whose, and who is preferred.

One host at a time has the gateway's addresses, by VRRP (RFC 5798); each has addresses of its own besides.
"""

from shibafu.bridge.config import BridgeConfig, is_valid_link_name
from shibafu.cni.config import Section
from shibafu.cni.errors import INVALID_CONFIG, CniError
from shibafu.cni.names import calc_digest
from shibafu.lean.ip import Address, Cidr, parse_address, parse_cidr

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

VRRP = "vrrp"
# 255 is the priority of who owns the address, 0 of who gives up (RFC 5798 section 5.2.4).
MAX_ROUTER_ID, MAX_PRIORITY = 255, 254


class SharedGateway:
    """What a configuration states of it, and what follows from that.

    Args:
        config: the network's configuration.
        ipam: its section `ipam`.

    Attributes:
        host_ips: the host's own addresses, one of each subnet, with the prefixes.
        gateways: the gateway's addresses, likewise.
        router_id: the number by which the hosts find each other on their network, 1 to 255.
        priority: that of this host, 1 to 254; if two are equal, the higher address decides.
        tracked: links without which this host gives the gateway up.

    Raises:
        CniError: INVALID_CONFIG, and what to change.
    """

    __slots__ = ("gateways", "host_ips", "priority", "router_id", "tracked")

    def __init__(self, config: BridgeConfig, ipam: Section) -> None:
        if config.gateway_ha != VRRP:
            raise _refuse(f'unknown gatewayHA "{config.gateway_ha}"', f'"gatewayHA" can only be "{VRRP}"')
        if not config.is_gateway:
            raise _refuse(
                "gatewayHA needs a gateway", 'set "isGateway" or "isDefaultGateway", or remove "gatewayHA"'
            )
        self.host_ips = config.gateway_host_ips
        pools = _read_pools(ipam)
        self.gateways = list(dict.fromkeys(pool.gateway for pool in pools))
        if all(gateway.version == 6 for gateway in self.gateways):
            raise _refuse(
                "gatewayHA needs a range of IPv4 addresses",
                'add one to "ranges" of "ipam": the gateway\'s IPv6 addresses move with its IPv4 one',
            )
        self._require_own_address_of_each(pools)
        # The same number on all hosts, and most likely another priority on each.
        self.router_id = _choose(config.vrrp_id, MAX_ROUTER_ID, config.network)
        self.priority = _choose(config.vrrp_priority, MAX_PRIORITY, *map(str, self.host_ips))
        self.tracked = config.vrrp_track
        self._require_valid_numbers()

    def owns(self, ip: bytes) -> bool:
        """Return whether an address is the gateway's, which keepalived gives to the link and takes away."""
        return any(gateway.address.packed == ip for gateway in self.gateways)

    def is_among(self, present: "Collection[bytes]") -> bool:
        """Return whether a link that has these addresses has the gateway: its IPv6 addresses follow."""
        return any(g.version == 4 and g.address.packed in present for g in self.gateways)

    def leave_out(self, addresses: "set[tuple[bytes, int]]") -> "set[tuple[bytes, int]]":
        """Return a link's addresses, with the lengths of their prefixes, without the gateway's."""
        return {one for one in addresses if not self.owns(one[0])}

    def require(self, gateways: "list[Address]") -> None:
        """Refuse gateways that containers were given, but that no host would have.

        Raises:
            CniError: there are such.
        """
        for gateway in gateways:
            if not self.owns(gateway.packed):
                raise _refuse(
                    f"gateway {gateway} is in none of the network's ranges, so no host would have it",
                    'with "gatewayHA", the IPAM plugin has to hand out the gateways of "ranges"',
                )

    def _require_own_address_of_each(self, pools: "list[_Pool]") -> None:
        for pool in pools:
            pool.require_shareable()
            own = [ip for ip in self.host_ips if ip.network == pool.subnet]
            if len(own) != 1:
                raise _refuse(
                    f'"gatewayHostIP" needs exactly one address of the subnet {pool.subnet}',
                    f"add one that no other host has, with the prefix length /{pool.subnet.prefix}",
                )
            pool.require_free(own[0])
        for ip in self.host_ips:
            if not any(ip.network == pool.subnet for pool in pools):
                raise _refuse(
                    f"{ip} in gatewayHostIP is in none of the network's subnets",
                    "state an address in one of the subnets, with that subnet's prefix length",
                )

    def _require_valid_numbers(self) -> None:
        if not 0 < self.router_id <= MAX_ROUTER_ID:
            raise _refuse(f"invalid vrrpID {self.router_id}", f'"vrrpID" is 1 to {MAX_ROUTER_ID}')
        if not 0 < self.priority <= MAX_PRIORITY:
            raise _refuse(f"invalid vrrpPriority {self.priority}", f'"vrrpPriority" is 1 to {MAX_PRIORITY}')
        for name in self.tracked:
            if not is_valid_link_name(name):
                raise _refuse(f'invalid link name "{name}"', '"vrrpTrack" has names of links such as eth0')


class _Pool:
    """A range of addresses, as far as it matters here.

    Args:
        section: a range of `ipam`, or an old style `ipam` itself.

    Raises:
        ValueError: it states something else than an address or a subnet where there has to be one.
    """

    def __init__(self, section: Section) -> None:
        self.subnet = parse_cidr(section.text("subnet")).network
        gateway, first, last = (section.text(key) for key in ("gateway", "rangeStart", "rangeEnd"))
        version, lowest = self.subnet.version, self.subnet.first
        address = parse_address(gateway) if gateway else Address(version, lowest + 1)
        self.gateway = Cidr(address, self.subnet.prefix)
        self._first = parse_address(first).value if first else lowest + 1
        self._last = parse_address(last).value if last else self.subnet.last
        self._is_divided = bool(first or last)

    def require_shareable(self) -> None:
        if not self.subnet.contains(self.gateway.address):
            raise _refuse(
                f"gateway {self.gateway.address} is not in the subnet {self.subnet}",
                'choose a "gateway" in the subnet: the hosts take turns having it',
            )
        if not self._is_divided:
            raise _refuse(
                f"the range of subnet {self.subnet} is the whole subnet, so other hosts would give out the "
                "same addresses",
                'set "rangeStart" and "rangeEnd" (`network create --ip-range`), different ones on each host',
            )

    def require_free(self, ip: Cidr) -> None:
        if ip == self.gateway:
            raise _refuse(
                f"{ip} is the gateway's address, so it cannot be this host's own",
                'choose another address for "gatewayHostIP"',
            )
        if self._first <= ip.address.value <= self._last:
            raise _refuse(
                f"{ip} in gatewayHostIP is one of the addresses that containers are given",
                'choose an address outside of "rangeStart" to "rangeEnd", on every host',
            )


def _read_pools(ipam: Section) -> list[_Pool]:
    """Return the ranges.

    Raises:
        CniError: there are none, or they cannot be read.
    """
    sections = [ipam] if "subnet" in ipam else []
    for value in ipam.array("ranges"):
        ranges = value if isinstance(value, list) else []
        sections += [ipam.item("ranges", one) for one in ranges]
    if not sections:
        raise _refuse(
            "gatewayHA needs ranges of addresses that name the gateway",
            'add "ranges" to "ipam"; "gatewayHA" does not work with an IPAM plugin that has none',
        )
    try:
        return [_Pool(section) for section in sections]
    except ValueError as error:
        raise _refuse(f"ipam: {error}", 'see "ranges" in the documentation of the IPAM plugin') from None


def _choose(stated: int | None, highest: int, *parts: str) -> int:
    """Return what is stated; else a number from 1 that follows from the parts."""
    return 1 + int(calc_digest(*parts, size=4), 16) % highest if stated is None else stated


def _refuse(message: str, details: str) -> CniError:
    return CniError(INVALID_CONFIG, message, details)
