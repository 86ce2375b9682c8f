"""The rules that the reference's plugin made in the table filter: it has some for each container's address.

It removes those at DEL, where it is told the addresses, and never what keeps bridges apart.
"""

from shibafu.firewall.config import FirewallConfig
from shibafu.firewall.filter_programs import FilterTables
from shibafu.firewall.filter_rules import find_released, select_accepted
from shibafu.firewall.filter_table import (
    calc_container_rules,
    calc_host_cidr,
    calc_update,
    calc_wanted,
    find_isolated_bridges,
    find_own_rules,
    find_source_links,
    has_container_rules,
    list_sources,
)
from shibafu.firewall.members import Members
from shibafu.firewall.needs import Needs
from shibafu.firewall.zone import has_sources, remove_sources
from shibafu.lean.ip import Address, Cidr
from shibafu.netlink.address import addr_list
from shibafu.netlink.link import link_list
from shibafu.netlink.socket import NetlinkSocket
from shibafu.resource.base import NETWORK, RULES, Resource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from shibafu.cni.result import Result
    from shibafu.firewall.filter_table import Rules


class ReferenceFilterRules(Resource):
    """The rules of one container that the reference attached, and what only it still needs.

    Args:
        members: the network's containers.
        key: what this one would be remembered under.
        result: what the chain's ADD answered; None where that is unknown.
        zone: firewalld's, where the container's addresses may be.
        env: the environment.
    """

    __slots__ = ("_env", "_key", "_members", "_result", "_zone")
    medium = RULES
    scope = NETWORK

    def __init__(
        self, members: Members, key: str, result: "Result | None", zone: str, env: "Mapping[str, str]"
    ) -> None:
        self._zone = zone
        self._members = members
        self._key = key
        self._result = result
        self._env = env

    @property
    def title(self) -> str:
        """See `Resource.title`."""
        return "the rules of the reference's firewall plugin"

    def remove(self) -> None:
        """See `Resource.remove`.

        Raises:
            CniError: iptables refused.
        """
        result = self._result
        ips = [ip.address for ip in result.ips] if result is not None else []
        departed = [rule for ip in ips for rule in calc_container_rules(ip)]
        own_ports = {self._key, *(i.name for i in (result.interfaces if result is not None else []))}
        with self._members.lock():
            remove_reference_rules(self._members, self._env, lambda _: departed, own_ports)
            if ips:
                remove_sources(self._zone, map(str, map(calc_host_cidr, ips)), self._env)


def has_reference_rules(
    result: "Result", config: FirewallConfig, needs: Needs, env: "Mapping[str, str]"
) -> bool:
    """Return whether a container's packets are let through by rules that the reference made.

    Args:
        result: what the chain's ADD answered.
        config: the network's configuration.
        needs: what the container needs.
        env: the environment.
    """
    tables = FilterTables(env)
    addresses = [ip.address for ip in result.ips]
    versions = {address.version for address in addresses}
    if needs.zone:
        if not has_sources(needs.zone, map(str, map(calc_host_cidr, addresses)), env):
            return False
        addresses = []
    listed = tables.read_all(sorted(versions))
    return set(listed) == versions and all(
        has_container_rules(
            rules,
            [address for address in addresses if address.version == version],
            config.admin_chain,
            needs.bridges,
        )
        for version, rules in listed.items()
    )


def remove_reference_rules(
    members: Members,
    env: "Mapping[str, str]",
    find_departed: "Callable[[Rules], Collection[str]]",
    own_ports: "Collection[str]" = (),
) -> None:
    """Remove the reference's rules that no container needs any more, with the lock held exclusively.

    Args:
        members: the network's containers.
        env: the environment.
        find_departed: returns those of the rules of a family that are of containers that have gone.
        own_ports: links of the container that goes, which are still there.
    """
    others, needs = members.list_others(), members.read_needs()

    def calc(version: int, before: "Rules") -> "Rules":
        released = find_released(find_isolated_bridges(before), own_ports)
        if needs is not None:
            wanted = calc_wanted(needs, version)
        else:
            # What was remembered is lost: as long as a container is there, its rules are, too.
            own = find_own_rules(before, members.network)
            links = find_source_links(own)
            wanted = {} if set(links) <= set(find_released(links, own_ports)) else own
        return calc_update(
            before, members.network, wanted, select_accepted(others, version), released, find_departed(before)
        )

    FilterTables(env).change(members.network, calc, (4, 6))


def find_departed(rules: "Rules") -> list[str]:
    """Return the rules of addresses that certainly no container has: they are of a bridge without any."""
    sources = list_sources(rules)
    if not sources:
        return []
    with NetlinkSocket() as sock:
        bridges = link_list(sock, kind="bridge")
        empty = [bridge for bridge in bridges if not link_list(sock, master=bridge.index)]
        subnets = [
            Cidr(Address.from_packed(found.ip), found.prefix)
            for bridge in empty
            for found in addr_list(sock, bridge.index)
        ]
    gone = [source for source in sources.values() if any(s.contains(source.address) for s in subnets)]
    return [rule for source in gone for rule in calc_container_rules(source)]
