"""Which host has a gateway that several hosts share, as far as this one knows."""

from collections.abc import Collection
from dataclasses import dataclass, field

from shibafu.bridge.keepalived import find_standstill
from shibafu.bridge.shared_gateway import SharedGateway


@dataclass(frozen=True, order=True)
class Duplicate:
    """An address of this host that another host on the network also has.

    Args:
        address: the address, without a prefix.
        mac: the hardware address of the other one.
        is_gateway: whether it is the shared gateway's, and not this host's own.
    """

    address: str
    mac: str
    is_gateway: bool

    def describe(self) -> str:
        """Return it in words."""
        whose = "gateway" if self.is_gateway else "this host's own address"
        return f"{whose} {self.address} is also in use at the hardware address {self.mac}"

    def advise(self) -> str:
        """Return what to do about it."""
        if self.is_gateway:
            return (
                "if that is another host, let protocol 112 through between the two, and give the network the "
                'same "vrrpID" on both'
            )
        return 'give each host a different "gatewayHostIP"'


@dataclass(frozen=True)
class GatewayPlace:
    """A shared gateway, as this host sees it.

    Args:
        addresses: the gateway's.
        is_here: whether this host has the IPv4 one, with which the IPv6 one moves.
        is_taking_part: whether this host can get them: keepalived runs, and no link is down.
        router_id: the number by which the hosts find each other.
        priority: this host's.
        duplicates: which of the addresses that this host has on the network others have, too; empty also
            when nobody asked.
    """

    addresses: list[str]
    is_here: bool
    is_taking_part: bool
    router_id: int
    priority: int
    duplicates: list[Duplicate] = field(default_factory=list)

    @classmethod
    def find(cls, shared: SharedGateway, present: Collection[bytes], has_links: bool) -> "GatewayPlace":
        """Return where it is.

        Args:
            shared: what the network's configuration states.
            present: the addresses of the network's link, packed.
            has_links: whether that link is up, those that are tracked, and one of its uplinks.
        """
        addresses = [str(gateway.address) for gateway in shared.gateways]
        is_here = shared.is_among(present)
        is_taking_part = has_links and find_standstill() is None
        return cls(addresses, is_here, is_taking_part, shared.router_id, shared.priority)

    def describe(self) -> str:
        """Return it in words."""
        where = "on this host" if self.is_here else "not on this host"
        if not self.is_taking_part:
            where = (
                f"{'still' if self.is_here else 'not'} on this host, which takes no part: keepalived does "
            )
            where += "not run, or a link is down"
        what = f"gateway {', '.join(self.addresses)}"
        return f"{what}: {where} (VRRP {self.router_id}, priority {self.priority})"
