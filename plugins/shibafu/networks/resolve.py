"""What a new network must not collide with: routes, links and the other networks of this machine."""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

from shibafu.bridge.config import calc_gateway_link
from shibafu.lean.machine_id import read_machine_id
from shibafu.networks.configured import ConfiguredNetwork
from shibafu.networks.errors import CommandError
from shibafu.networks.kernel import Kernel, Network
from shibafu.networks.spec import (
    DEFAULT_NETWORK,
    NetworkSpec,
    Subnet,
    calc_bridge_name,
    check_spec,
    require_network_name,
)
from shibafu.networks.subnets import (
    Use,
    choose_ipv6_subnet,
    choose_subnet,
    find_supernet,
    require_free,
)


@dataclass(frozen=True)
class PartialSpec:
    """A network as far as it is specified; the rest is chosen.

    Args:
        name: its name.
        subnets: its subnets; none to have a free one chosen.
        bridge: its bridge; empty to have it named after the network.
        mtu: in bytes; 0 for the kernel's.
        wants_ipv6: whether an IPv6 subnet is chosen if none is stated.
        is_internal: see `NetworkSpec`.
        is_masqueraded: likewise.
        isolated: likewise.
        options: likewise.
    """

    name: str
    subnets: tuple[Subnet, ...] = ()
    bridge: str = ""
    mtu: int = 0
    wants_ipv6: bool = False
    is_internal: bool = False
    is_masqueraded: bool = True
    isolated: bool | str = False
    options: tuple[tuple[str, object], ...] = ()


class Resolver:
    """This machine's routes, links and networks.

    Args:
        kernel: the host's namespace.
        networks: the networks that are configured.

    Attributes:
        warnings: what users should know about the subnets of networks that were resolved.
    """

    def __init__(self, kernel: Kernel, networks: list[ConfiguredNetwork]) -> None:
        links = kernel.links()
        addresses = kernel.addresses()
        self.warnings: list[str] = []
        self._routes = kernel.routes()
        self._addresses = {name: addresses.get(link.index, []) for name, link in links.items()}
        self._kinds = {name: link.kind for name, link in links.items()}
        self._networks = {network.name: network for network in networks}
        self._chosen: list[NetworkSpec] = []

    def resolve(self, partial: PartialSpec, present: NetworkSpec | None = None) -> NetworkSpec:
        """Return the network that fulfils a partial, and count it as one of this machine's from now on.

        Args:
            partial: what is stated.
            present: the network as it is; its bridge and subnets are kept where they are left open.

        Raises:
            CommandError: it collides with something.
            CniError: the plugins would refuse it.
        """
        require_network_name(partial.name)
        bridge = partial.bridge or (present.bridge if present is not None else calc_bridge_name(partial.name))
        self._require_free_bridge(partial.name, bridge)
        self._require_free_uplinks(partial.name, bridge, dict(partial.options))
        own = _calc_links(bridge, dict(partial.options))
        if present is not None:
            own |= _calc_links(present.bridge, present.options)
        stated: dict[str, Any] = dict(partial.options)
        uplinks = stated.get("uplinks") or ()
        if not stated.get("moveAddresses"):
            self._require_no_addresses(uplinks, partial.subnets)
        elif partial.subnets:
            # Their addresses are to be the bridge's, so that the subnet is meant to be the same.
            own |= set(uplinks)
        uses = self._uses(partial.name, own)
        subnets = self._resolve_subnets(partial, present, uses)
        kept = {subnet.network for subnet in present.subnets} if present is not None else set()
        for subnet in subnets:
            # Unique local addresses that were chosen are nobody else's, however wide a route to them is.
            if subnet.network not in kept and (subnet in partial.subnets or subnet.network.version == 4):
                self._warn_of_supernet(subnet.network, uses)
        spec = NetworkSpec(
            partial.name,
            bridge,
            subnets,
            partial.mtu,
            partial.is_internal,
            partial.is_masqueraded or partial.is_internal,
            partial.isolated,
            dict(partial.options),
        )
        check_spec(spec)
        self._chosen.append(spec)
        return spec

    def _resolve_subnets(
        self, partial: PartialSpec, present: NetworkSpec | None, uses: list[Use]
    ) -> tuple[Subnet, ...]:
        stated: list[Use] = []
        for subnet in partial.subnets:
            require_free(subnet.network, uses)
            require_free(subnet.network, stated, "omit one of them")
            stated.append(Use(subnet.network, f"{subnet.network}, which is also specified"))
        kept = present.subnets if present is not None else ()
        subnets = list(partial.subnets or [subnet for subnet in kept if subnet.network.version == 4])
        if not subnets:
            subnets.append(Subnet(choose_subnet(uses, partial.name == DEFAULT_NETWORK)))
        if partial.wants_ipv6 and all(subnet.network.version == 4 for subnet in subnets):
            old = [subnet for subnet in kept if subnet.network.version == 6]
            subnets += old[:1] or [Subnet(choose_ipv6_subnet(partial.name, read_machine_id(), uses))]
        return tuple(subnets)

    def _warn_of_supernet(self, network: Network, uses: list[Use]) -> None:
        supernet = find_supernet(network, uses)
        if supernet is not None:
            self.warnings.append(
                f"subnet {network} is a part of {supernet.what}: "
                "whatever has these addresses there cannot be reached from this machine"
            )

    def _uses(self, name: str, links: set[str]) -> list[Use]:
        """Return what is in use but for what there is because of the network itself, on its own links."""
        uses = [
            Use(s.network, f"{s.network} of network {spec.name}")
            for spec in self._chosen
            for s in spec.subnets
        ]
        for network in self._networks.values():
            if network.name != name:
                uses += [
                    Use(ip_network(str(subnet)), f"{subnet} of network {network.name}")
                    for subnet in network.subnets
                ]
        for link, addresses in self._addresses.items():
            if link not in links:
                uses += [Use(address.network, f"{address} of link {link}") for address in addresses]
        for route in self._routes:
            if route.link not in links:
                what = f"{route.network}, to which a route leads through {route.link or 'a gateway'}"
                uses.append(Use(route.network, what, route.is_far))
        return uses

    def _require_free_bridge(self, name: str, bridge: str) -> None:
        users = {
            n.bridge.bridge: n.name
            for n in self._networks.values()
            if n.bridge is not None and n.name != name
        }
        users |= {spec.bridge: spec.name for spec in self._chosen}
        if bridge in users:
            raise CommandError(f"bridge {bridge} belongs to network {users[bridge]}", "choose another bridge")
        if self._kinds.get(bridge, "bridge") != "bridge":
            raise CommandError(
                f"{bridge} already exists and is not a bridge", "choose another name for the bridge"
            )

    def _require_free_uplinks(self, name: str, bridge: str, options: dict[str, Any]) -> None:
        """Refuse uplinks of other bridges; of those that wait there, the kernel does not tell."""
        stated = {
            network.name: (network.bridge.bridge, network.bridge.uplinks.links)
            for network in self._networks.values()
            if network.bridge is not None and network.bridge.uplinks is not None
        }
        stated |= {spec.name: (spec.bridge, spec.options.get("uplinks") or ()) for spec in self._chosen}
        for other, (its_bridge, links) in stated.items():
            taken = [link for link in options.get("uplinks") or () if link in links]
            if other != name and its_bridge != bridge and taken:
                raise CommandError(
                    f"uplink {taken[0]} belongs to bridge {its_bridge} of network {other}",
                    "choose another one: a link can be an uplink of one bridge only",
                )

    def _require_no_addresses(self, uplinks: Iterable[str], subnets: tuple[Subnet, ...]) -> None:
        """Refuse uplinks with addresses of the network's subnets, which are meant to be the same."""
        for link in uplinks:
            for address in self._addresses.get(link, ()):
                if any(Use(address.network, link).overlaps(subnet.network) for subnet in subnets):
                    raise CommandError(
                        f"uplink {link} has the address {address}, and would not answer at it as a port",
                        "have the bridge get it, by --driver-opt moveAddresses=true, or remove it",
                    )


def _calc_links(bridge: str, options: dict[str, Any]) -> set[str]:
    """Return the links of a network that have addresses."""
    vlan = options.get("vlan")
    return {bridge, calc_gateway_link(bridge, vlan)} if vlan else {bridge}
