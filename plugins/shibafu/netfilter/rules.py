"""The rules of a network, as data: pure, and the same for every backend."""

from shibafu.cni.ip import Cidr
from shibafu.cni.names import calc_chain, calc_comment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

MULTICAST = {4: "224.0.0.0/4", 6: "ff00::/8"}
LOOPBACK = "127.0.0.0/8"
# What a check says of rules, unless it knows better.
MISSING = "are missing"


class NetworkRules:
    """What the host's firewall does for one network.

    Traffic that leaves the network's subnets is masqueraded, except to multicast groups; what its
    containers send is forwarded, and so are answers and published ports (DNAT) towards them. Sources that
    are not behind the bridge do not leave. Isolated, containers open no connections to those of other
    isolated networks, whose links have a group in common. None reaches the host's 127.0.0.1.

    Args:
        network: the network's name, a valid identifier.
        bridges: the links that its containers' traffic enters and leaves the host by: one, unless the
            configuration was changed while containers run.
        subnets: the subnets of its containers, of both families.
        is_masqueraded: whether there is masquerading and forwarding.
        is_isolated: whether other isolated networks are kept apart, over both families: a container can
            give itself an address of the other.
        versions: families that it has rules for, besides those that it needs.
        bridged: families of which FORWARD sees what stays on the bridge; masquerading forwards that anyway.
    """

    __slots__ = ("_versions", "bridged", "bridges", "is_isolated", "is_masqueraded", "network", "subnets")

    def __init__(
        self,
        network: str,
        bridges: list[str],
        subnets: list[Cidr],
        is_masqueraded: bool = True,
        is_isolated: bool = False,
        versions: "Iterable[int]" = (),
        bridged: "Iterable[int]" = (),
    ) -> None:
        self.network = network
        self.bridges = sorted(set(bridges))
        self.subnets = sorted(set(subnets), key=str)
        self.is_masqueraded = is_masqueraded
        self.is_isolated = is_isolated
        self.bridged = sorted(set(bridged))
        self._versions = {4, 6} if is_isolated else {*versions, *(subnet.version for subnet in subnets)}

    @property
    def chain(self) -> str:
        """The name of the network's chain, the same in every table."""
        return calc_chain(self.network)

    @property
    def comment(self) -> str:
        """What tells a person whose rule this is."""
        return calc_comment(self.network)

    def of_version(self, version: int) -> list[Cidr]:
        """Return the subnets of one family; `version` is 4 or 6."""
        return [subnet for subnet in self.subnets if subnet.version == version]

    def masqueraded_of(self, version: int) -> list[Cidr]:
        """Return the subnets of one family that are masqueraded and forwarded."""
        return self.of_version(version) if self.is_masqueraded else []

    def versions(self) -> list[int]:
        """Return the families that the network has rules for: 4, 6 or both."""
        return sorted(self._versions)
