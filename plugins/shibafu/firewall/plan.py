"""What an attachment is made of, in the order in which it is made."""

from shibafu.cni.errors import INVALID_CONFIG, CniError
from shibafu.firewall.config import (
    FIREWALLD,
    IPTABLES_ONLY,
    ISOLATED_CONTAINERS,
    FirewallConfig,
    find_stated_zone,
)
from shibafu.firewall.filter_rules import FilterRules
from shibafu.firewall.members import Members, Membership, calc_key
from shibafu.firewall.needs import Needs, is_safe_link_name
from shibafu.lean.ip import Cidr
from shibafu.netlink.link import link_list
from shibafu.resource.records import NetworkState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from shibafu.cni.request import Request
    from shibafu.cni.result import Result
    from shibafu.resource.base import Resource
    from shibafu.resource.view import View


def plan_entry(
    members: Members, request: "Request", needs: Needs, result: "Result", view: "View"
) -> "list[Resource]":
    """Return what is made for one container, and for its network.

    Args:
        members: the network's containers.
        request: the call.
        needs: what the container needs.
        result: what the plugins before this one have answered.
        view: the host's namespace.
    """
    plan: list[Resource]
    addresses = [Cidr(ip.address.address, ip.address.address.bits) for ip in result.ips]
    membership = Membership(members, request, addresses, needs.links[0] if needs.links else "")
    plan = [membership, FilterRules(members, membership.key, needs, request.env)]
    ports = [name for name in _list_host_links(result) if _is_port(view, name)]
    if needs.policy == ISOLATED_CONTAINERS and ports:
        from shibafu.firewall.port_isolation import IsolatedPorts

        plan.append(IsolatedPorts(members, ports, request.env))
    if needs.zone:
        from shibafu.firewall.zone import ZoneSources

        plan.append(ZoneSources(members, needs, request.env))
    values, args = request.config.values, request.args
    record = members.find(membership.key) if request.command != "ADD" else None
    if record is not None and record.config is not None:
        # What policies find it by can have changed since.
        values, args = record.config, record.args
    return plan + _plan_policies(request, membership.key, values, args, addresses, needs.links)


def plan_stated(config: FirewallConfig) -> "list[Resource]":
    """Return the network policies that the network's configuration states, if it states any."""
    if not config.stated_policies:
        return []
    from shibafu.policy.stated_policies import StatedPolicies

    return [StatedPolicies(config.stated_policies)]


def _plan_policies(
    request: "Request",
    key: str,
    config: "Mapping[str, object]",
    args: str,
    addresses: "Iterable[Cidr]",
    bridges: "Iterable[str]" = (),
) -> "list[Resource]":
    """Return a container's part in the host's network policies, if there are any.

    That of a container which shibafu-bridge has attached is that plugin's: it is there before the link is up.
    """
    state = NetworkState(request.network)
    if not state.has_policies() or state.remembers(key):
        return []
    from shibafu.policy.membership import plan_membership

    own = [cidr.address for cidr in addresses]
    # What its link on the host is called, its own plugin knows.
    return plan_membership(config, args, own, "", next(iter(bridges), ""), request.env)


def plan_firewall(request: "Request", result: "Result", view: "View") -> "list[Resource]":
    """Return a network's rules, which a container needs; see `resource.registry`.

    Those that the reference made for it are only checked by CHECK.

    Raises:
        CniError: the configuration is refused.
    """
    members = Members(request.network)
    config = FirewallConfig(request.config.values)
    needs = find_container_needs(members, request, config, result, view)
    if not (needs.versions or needs.zone) or members.find(calc_key(request)) is None:
        return []
    return plan_stated(config) + plan_entry(members, request, needs, result, view)[1:]


def find_container_needs(
    members: Members, request: "Request", config: FirewallConfig, result: "Result", view: "View"
) -> Needs:
    """Return what a container needs.

    Args:
        members: the network's containers.
        request: the call.
        config: the network's configuration.
        result: what the plugins before this one have answered.
        view: the host's namespace.

    Raises:
        CniError: no bridge is known that could be kept apart.
    """
    bridge = _require_bridge(config, result) if config.is_isolated else ""
    names = _list_host_links(result)
    former = members.read_needs()
    # A look at all ports takes the longer the more there are.
    known = former.links if former is not None else []
    bridges = [name for name in names if name in known or _is_for_containers(view, name)]
    # The gateway of a VLAN has a link of its own.
    links = [name for name in names if name.partition(".")[0] in bridges]
    ips = [ip.address for ip in result.ips]
    zone = choose_zone(config, request.env) if ips else ""
    return Needs.of_container(request.network, config, links, ips, bridge, zone)


def choose_zone(config: FirewallConfig, env: "Mapping[str, str]") -> str:
    """Return firewalld's zone that lets containers through; empty where iptables does."""
    if config.backend == IPTABLES_ONLY:
        return ""
    from shibafu.firewall.zone import is_firewalld_running

    return config.zone if config.backend == FIREWALLD or is_firewalld_running(env) else ""


def _list_host_links(result: "Result") -> list[str]:
    """Return the links on the host that a result names."""
    return [i.name for i in result.interfaces if not i.sandbox and is_safe_link_name(i.name)]


def _is_port(view: "View", name: str) -> bool:
    """Return whether a link is a container's port of a bridge."""
    link = view.link(name)
    return link is not None and link.kind == "veth" and bool(link.master)


def _is_for_containers(view: "View", name: str) -> bool:
    """Return whether a link is a bridge that nothing but containers is on: else others are in its subnets."""
    link = view.link(name)
    if link is None or link.kind != "bridge":
        return False
    return all(port.kind == "veth" for port in link_list(view.sock, master=link.index))


def _require_bridge(config: FirewallConfig, result: "Result") -> str:
    if not result.interfaces:
        raise CniError(
            INVALID_CONFIG,
            f'interface needs to be set for ingress policy "{config.policy}", '
            'make sure to chain "firewall" plugin with "bridge"',
            "put it after a plugin whose result begins with a bridge",
        )
    name = result.interfaces[0].name
    if not name:
        raise CniError(
            INVALID_CONFIG, "got empty bridge name", "the first of prevResult's interfaces has none"
        )
    if not is_safe_link_name(name):
        raise CniError(
            INVALID_CONFIG,
            f'no rules can be made for bridge "{name}"',
            "give it a name of letters and digits",
        )
    return name


def plan_departure(members: Members, request: "Request", result: "Result | None") -> "list[Resource]":
    """Return what may be there of an attachment, in the order in which it was made.

    Args:
        members: the network's containers.
        request: the call.
        result: what the chain's ADD answered; None where that is unknown.
    """
    key = calc_key(request)
    record = members.find(key)
    plan: list[Resource] = []
    if record is None:
        from shibafu.firewall.reference_filter import ReferenceFilterRules

        zone = find_stated_zone(request.config.values)
        plan.append(ReferenceFilterRules(members, key, result, zone, request.env))
    ports = _list_host_links(result) if result is not None else []
    addresses = record.addresses if record is not None and not record.bridge else []
    needs = Needs(request.network, addresses=addresses)
    plan.append(Membership(members, request))
    if record is not None:
        plan += _plan_policies(request, key, record.config or {}, record.args, record.addresses)
    former = members.read_needs()
    if former is not None and former.policy == ISOLATED_CONTAINERS:
        from shibafu.firewall.port_isolation import IsolatedPorts

        plan.append(IsolatedPorts(members, {key, *ports}, request.env))
    return [*plan, FilterRules(members, key, needs, request.env, ports)]
