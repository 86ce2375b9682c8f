"""What an attachment is made of, in the order in which it is made."""

from shibafu.cni.errors import INVALID_CONFIG, CniError
from shibafu.firewall.config import FirewallConfig
from shibafu.firewall.filter_rules import FilterRules
from shibafu.firewall.members import Members, Membership, calc_key
from shibafu.firewall.needs import Needs, is_safe_link_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu.cni.request import Request
    from shibafu.cni.result import Result
    from shibafu.resource.base import Resource
    from shibafu.resource.view import View


def plan_entry(members: Members, request: "Request", needs: Needs) -> "list[Resource]":
    """Return what is made for one container, and for its network.

    Args:
        members: the network's containers.
        request: the call.
        needs: what the container needs.
    """
    membership = Membership(members, request, needs.addresses, needs.links[0] if needs.links else "")
    return [membership, FilterRules(members, membership.key, needs, request.env)]


def plan_firewall(request: "Request", result: "Result", view: "View") -> "list[Resource]":
    """Return a network's rules, which a container needs; see `resource.registry`.

    Those that the reference made for it are only checked by CHECK.

    Raises:
        CniError: the configuration is refused.
    """
    needs = find_container_needs(request, FirewallConfig(request.config.values), result, view)
    members, key = Members(request.network), calc_key(request)
    if not needs.versions or members.find(key) is None:
        return []
    return [FilterRules(members, key, needs, request.env)]


def find_container_needs(request: "Request", config: FirewallConfig, result: "Result", view: "View") -> Needs:
    """Return what a container needs.

    Args:
        request: the call.
        config: the network's configuration.
        result: what the plugins before this one have answered.
        view: the host's namespace.

    Raises:
        CniError: no bridge is known that could be kept apart.
    """
    bridge = _require_bridge(config, result) if config.is_isolated else ""
    names = [i.name for i in result.interfaces if not i.sandbox and is_safe_link_name(i.name)]
    bridges = [name for name in names if (link := view.link(name)) is not None and link.kind == "bridge"]
    # The gateway of a VLAN has a link of its own.
    links = [name for name in names if name.partition(".")[0] in bridges]
    return Needs.of_container(request.network, config, links, [ip.address for ip in result.ips], bridge)


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

        plan.append(ReferenceFilterRules(members, key, result, request.env))
    ports = [i.name for i in result.interfaces] if result is not None else []
    addresses = record.addresses if record is not None and not record.bridge else []
    needs = Needs(request.network, addresses=addresses)
    return [*plan, Membership(members, request), FilterRules(members, key, needs, request.env, ports)]
