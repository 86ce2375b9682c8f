"""What the containers of a network need of the firewall, all together; it is remembered as JSON."""

from shibafu.cni.names import calc_chain, calc_comment
from shibafu.firewall.config import (
    DEFAULT_ADMIN_CHAIN,
    ISOLATED_CONTAINERS,
    OPEN_TO_ALL,
    SAME_BRIDGE,
    FirewallConfig,
    is_chain_name,
)
from shibafu.lean.ip import Cidr, parse_cidr

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TypeVar

    T = TypeVar("T")

# What a link's name may be made of, so that iptables takes it for the name of one link: "+" stands for many.
_LINK_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-:@=~")
_LONGEST_LINK_NAME = 15


class Needs:
    """What one network needs.

    Args:
        network: its name.
        admin_chain: the chain whose rules come first.
        policy: one of `config`'s.
        links: those that packets enter and leave the host by, where containers are on a bridge.
        subnets: those behind these links.
        addresses: those of containers that are on none, each by itself.
        bridges: those that are kept apart from others.
        zone: firewalld's zone, if it is this that lets containers through.
    """

    __slots__ = ("addresses", "admin_chain", "bridges", "links", "network", "policy", "subnets", "zone")

    def __init__(
        self,
        network: str,
        admin_chain: str = DEFAULT_ADMIN_CHAIN,
        policy: str = OPEN_TO_ALL,
        links: "Iterable[str]" = (),
        subnets: "Iterable[Cidr]" = (),
        addresses: "Iterable[Cidr]" = (),
        bridges: "Iterable[str]" = (),
        zone: str = "",
    ) -> None:
        self.network = network
        self.admin_chain = admin_chain
        self.policy = policy
        self.links = sorted(set(links))
        self.subnets = sorted(set(subnets), key=str)
        self.addresses = sorted(set(addresses), key=str)
        self.bridges = sorted(set(bridges)) if policy != OPEN_TO_ALL else []
        self.zone = zone

    @property
    def chain(self) -> str:
        """The name of the network's chain."""
        return calc_forward_chain(self.network)

    @property
    def comment(self) -> str:
        """What tells a person whose a rule is."""
        return calc_comment(self.network)

    @property
    def sources(self) -> list[str]:
        """Where packets come from that are let through."""
        return list(map(str, self.subnets + self.addresses))

    @property
    def versions(self) -> list[int]:
        """The families that iptables has rules of. A container can give itself an address of another."""
        return [version for version in (4, 6) if self.bridges or self.has_accepted(version)]

    def has_accepted(self, version: int) -> bool:
        """Return whether iptables lets packets of a family through."""
        return not self.zone and any(one.version == version for one in self.subnets + self.addresses)

    def combine(self, former: "Needs | None") -> "Needs":
        """Return these and former ones, which may be other containers'; policy and admin chain are these."""
        if former is None:
            return self
        return Needs(
            self.network,
            self.admin_chain,
            self.policy,
            self.links + former.links,
            self.subnets + former.subnets,
            self.addresses + former.addresses,
            self.bridges + former.bridges,
            self.zone,
        )

    def without(self, addresses: "Iterable[Cidr]") -> "Needs":
        """Return these for those containers that are left when one goes whose addresses these are."""
        gone = set(addresses)
        return Needs(
            self.network,
            self.admin_chain,
            self.policy,
            self.links,
            self.subnets,
            [address for address in self.addresses if address not in gone],
            self.bridges,
            self.zone,
        )

    def to_json(self) -> dict[str, object]:
        """Return what is remembered."""
        return {
            "adminChain": self.admin_chain,
            "ingressPolicy": self.policy,
            "links": self.links,
            "subnets": list(map(str, self.subnets)),
            "addresses": list(map(str, self.addresses)),
            "bridges": self.bridges,
            "zone": self.zone,
        }

    @classmethod
    def from_json(cls, network: str, fields: dict[str, object]) -> "Needs":
        """Return what is remembered, without what somebody else has written there."""
        admin_chain, policy = str(fields.get("adminChain")), str(fields.get("ingressPolicy"))
        return cls(
            network,
            admin_chain if is_chain_name(admin_chain) else DEFAULT_ADMIN_CHAIN,
            policy if policy in (SAME_BRIDGE, ISOLATED_CONTAINERS) else OPEN_TO_ALL,
            _parse(fields, "links", _parse_link),
            _parse(fields, "subnets", parse_cidr),
            _parse(fields, "addresses", parse_cidr),
            _parse(fields, "bridges", _parse_link),
            str(fields.get("zone") or ""),
        )

    @classmethod
    def of_container(
        cls, network: str, config: FirewallConfig, links: list[str], ips: list[Cidr], bridge: str, zone: str
    ) -> "Needs":
        """Return what one container needs.

        Args:
            network: the network's name.
            config: its configuration.
            links: those that its packets enter the host by, if it is on a bridge.
            ips: its addresses.
            bridge: what is kept apart, if anything is.
            zone: firewalld's, if it is running.
        """
        subnets = [ip.network for ip in ips] if links else []
        addresses = [] if links else [Cidr(ip.address, ip.address.bits) for ip in ips]
        bridges = [bridge] if bridge else []
        return cls(network, config.admin_chain, config.policy, links, subnets, addresses, bridges, zone)


def calc_forward_chain(network: str) -> str:
    """Return the name of a network's chain for what it is let through."""
    return f"{calc_chain(network)}-F"


def is_forward_chain(name: str) -> bool:
    """Return whether a chain is one of those, by its name."""
    return name.startswith("SHIBAFU-") and name.endswith("-F")


def is_safe_link_name(name: str) -> bool:
    """Return whether rules can be made of a link by its name."""
    return 0 < len(name) <= _LONGEST_LINK_NAME and _LINK_NAME.issuperset(name) and name[0] != "-"


def _parse_link(name: str) -> str:
    if not is_safe_link_name(name):
        raise ValueError(name)
    return name


def _parse(fields: dict[str, object], key: str, parse: "Callable[[str], T]") -> "list[T]":
    values, found = fields.get(key), []
    for value in values if isinstance(values, list) else []:
        try:
            found.append(parse(str(value)))
        except ValueError:
            continue
    return found
