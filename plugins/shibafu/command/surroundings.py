"""What a new network must not collide with: routes, links and the other networks of this machine."""

from dataclasses import dataclass
from ipaddress import ip_network

from shibafu.command.errors import CommandError
from shibafu.command.kernel import Kernel
from shibafu.command.networks import ConfiguredNetwork
from shibafu.command.specification import (
    NetworkSpec,
    Subnet,
    calc_bridge_name,
    check_spec,
    require_network_name,
)
from shibafu.command.subnets import Use, choose_ipv6_subnet, choose_subnet, require_free

MACHINE_ID = "/etc/machine-id"


@dataclass(frozen=True)
class Wish:
    """A network as far as somebody states it; the rest is chosen.

    Args:
        name: its name.
        subnets: its subnets; none to have a free one chosen.
        bridge: its bridge; empty to have it named after the network.
        mtu: in bytes; 0 for the kernel's.
        wants_ipv6: whether an IPv6 subnet is chosen if none is stated.
        is_internal: see `NetworkSpec`.
        is_masqueraded: likewise.
        is_isolated: likewise.
        options: likewise.
    """

    name: str
    subnets: tuple[Subnet, ...] = ()
    bridge: str = ""
    mtu: int = 0
    wants_ipv6: bool = False
    is_internal: bool = False
    is_masqueraded: bool = True
    is_isolated: bool = False
    options: tuple[tuple[str, object], ...] = ()


class Surroundings:
    """This machine's routes, links and networks.

    Args:
        kernel: the host's namespace.
        networks: the networks that are configured.
    """

    def __init__(self, kernel: Kernel, networks: list[ConfiguredNetwork]) -> None:
        self._routes = kernel.routes()
        self._kinds = {name: link.kind for name, link in kernel.links().items()}
        self._networks = {network.name: network for network in networks}
        self._chosen: list[NetworkSpec] = []

    def resolve(self, wish: Wish, present: NetworkSpec | None = None) -> NetworkSpec:
        """Return the network that fulfils a wish, and count it as one of this machine's from now on.

        Args:
            wish: what is stated.
            present: the network as it is; it keeps what the wish leaves open.

        Raises:
            CommandError: it collides with something.
            CniError: the plugins would refuse it.
        """
        require_network_name(wish.name)
        bridge = wish.bridge or (present.bridge if present is not None else calc_bridge_name(wish.name))
        self._require_free_bridge(wish.name, bridge)
        uses = self._uses(wish.name, {bridge, present.bridge} if present is not None else {bridge})
        subnets = self._resolve_subnets(wish, present, uses)
        spec = NetworkSpec(
            wish.name,
            bridge,
            subnets,
            wish.mtu,
            wish.is_internal,
            wish.is_masqueraded or wish.is_internal,
            wish.is_isolated,
            dict(wish.options),
        )
        check_spec(spec)
        self._chosen.append(spec)
        return spec

    def _resolve_subnets(
        self, wish: Wish, present: NetworkSpec | None, uses: list[Use]
    ) -> tuple[Subnet, ...]:
        stated = list(uses)
        for subnet in wish.subnets:
            require_free(subnet.network, stated)
            _check_subnet(subnet)
            stated.append(Use(subnet.network, f"{subnet.network}, which is stated too"))
        kept = present.subnets if present is not None else ()
        subnets = list(wish.subnets or [subnet for subnet in kept if subnet.network.version == 4])
        if not subnets:
            subnets.append(Subnet(choose_subnet(uses)))
        if wish.wants_ipv6 and all(subnet.network.version == 4 for subnet in subnets):
            old = [subnet for subnet in kept if subnet.network.version == 6]
            subnets += old[:1] or [Subnet(choose_ipv6_subnet(wish.name, read_machine_id(), uses))]
        return tuple(subnets)

    def _uses(self, name: str, bridges: set[str]) -> list[Use]:
        # A route through the network's own bridge is there because of the network.
        uses = [
            Use(route.network, f"{route.network}, to which a route leads through {route.link or 'a gateway'}")
            for route in self._routes
            if route.link not in bridges
        ]
        for network in self._networks.values():
            if network.name != name:
                uses += [
                    Use(ip_network(str(subnet)), f"{subnet} of network {network.name}")
                    for subnet in network.subnets
                ]
        for spec in self._chosen:
            uses += [
                Use(subnet.network, f"{subnet.network} of network {spec.name}") for subnet in spec.subnets
            ]
        return uses

    def _require_free_bridge(self, name: str, bridge: str) -> None:
        users = {
            n.bridge.bridge: n.name
            for n in self._networks.values()
            if n.bridge is not None and n.name != name
        }
        users |= {spec.bridge: spec.name for spec in self._chosen}
        if bridge in users:
            raise CommandError(
                f"bridge {bridge} belongs to network {users[bridge]}", "choose another one with --bridge"
            )
        if self._kinds.get(bridge, "bridge") != "bridge":
            raise CommandError(
                f"{bridge} is a link already, and not a bridge", "choose another name with --bridge"
            )


def _check_subnet(subnet: Subnet) -> None:
    if subnet.gateway is not None and subnet.gateway not in subnet.network:
        raise CommandError(
            f"gateway {subnet.gateway} is not in subnet {subnet.network}",
            "containers can reach a gateway only as a neighbour",
        )


def read_machine_id() -> str:
    """Return what tells this machine from others, machine-id(5); empty when it has none."""
    try:
        with open(MACHINE_ID, encoding="ascii") as file:
            return file.read().strip()
    except FileNotFoundError:
        return ""
