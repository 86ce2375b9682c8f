"""The part of a container in the host's network policies, as a resource of its attachment."""

from shibafu.cni.errors import CniError
from shibafu.netfilter.bridging import has_br_netfilter, load_br_netfilter
from shibafu.netfilter.nftables import Nft
from shibafu.netfilter.render_nftables import RulesetListing, render_added, render_deleted
from shibafu.netfilter.ruleset import Ruleset
from shibafu.netlink.socket import NetlinkSocket
from shibafu.policy.address_check import calc_address_check
from shibafu.policy.compiled import TABLE, Compiled
from shibafu.policy.enforcement import restore_policies
from shibafu.policy.filtered_bridges import filter_bridges
from shibafu.policy.host_policies import HostPolicies, UnreadablePoliciesError
from shibafu.policy.member import read_member
from shibafu.policy.policy_table import add_shared_elements
from shibafu.policy.rerouting import calc_rerouting, find_router, refuse_unroutable
from shibafu.resource.base import MEND, RULES, Fault, Resource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from shibafu.cni.request import Request
    from shibafu.lean.ip import Address
    from shibafu.netlink.link import Link
    from shibafu.policy.member import Member
    from shibafu.resource.view import View


class PolicyMembership(Resource):
    """The elements of one container in the maps and sets of the policies, and the chains that they lead to.

    Args:
        member: the container.
        bridge: the bridge that it is on.
        env: the environment.
    """

    __slots__ = ("_bridge", "_env", "_is_broken", "_member")
    medium = RULES
    is_removal_barrier = True

    def __init__(self, member: "Member", bridge: str, env: "Mapping[str, str]") -> None:
        self._member = member
        # Whether a look has found that something is missing, which may be more than the container's own.
        self._is_broken = False
        self._bridge = bridge
        self._env = env

    @classmethod
    def obstacle(cls, request: "Request", config: "Any") -> CniError | None:
        """See `Resource.obstacle`."""
        from shibafu.resource.obstacles import find_missing_program

        missing = find_missing_program("nft", request.env, "install nftables, which network policies need")
        if missing is not None or not config.stated_policies:
            return missing
        from shibafu.policy.stated_policies import StatedPolicies

        return StatedPolicies.obstacle(request, config)

    @property
    def title(self) -> str:
        """See `Resource.title`."""
        return "the network policies"

    def faults(self, view: "View") -> list[Fault]:
        """See `Resource.faults`."""
        try:
            compiled: Compiled | None = view.once("network policies", lambda: HostPolicies().read())
        except UnreadablePoliciesError as error:
            return [Fault(error.msg, error.details)]
        if compiled is None:
            return []
        part = compiled.calc_member(self._member)
        if not part.sets:
            return []
        _add_shared(part, compiled.calc_table())
        nft = Nft(self._env)
        listing = view.once(
            ("nftables", TABLE), lambda: add_shared_elements(RulesetListing(nft.list_table(TABLE)))
        )
        seen = listing.find_difference(part)
        self._is_broken = bool(seen)
        advice = "its network policies have no effect, or another one; `shibafu network repair` restores them"
        faults = (
            [Fault("rules of network policies are missing", f"nftables: {seen}; {advice}")] if seen else []
        )
        if compiled.selects(self._member):
            check = calc_address_check(compiled, [self._member])
            faults += self._find_table_faults(
                view,
                check,
                "the check of the addresses that it sends from is missing",
                "it could pass for another container of the policies",
            )
            link = view.link(self._bridge)
            if link is not None and link.kind == "bridge":
                faults += self._find_bridge_faults(view, link, compiled, advice)
        return faults

    def _find_bridge_faults(self, view: "View", link: "Link", compiled: Compiled, advice: str) -> list[Fault]:
        """Return what keeps policies from being asked about what is sent on its bridge."""
        if has_br_netfilter():
            if link.nf_call:
                return []
            what = f"bridge {link.name} does not show netfilter what it forwards"
            return [Fault(what, f"network policies have no effect on the bridge; {advice}")]
        try:
            refuse_unroutable(view.sock, self._member, link.name)
        except CniError as error:
            return [Fault(error.msg, error.details, is_mendable=False)]
        self._member.router = link.mac.hex(":")
        return self._find_table_faults(
            view,
            calc_rerouting(compiled, [self._member]),
            f"what bridge {link.name} forwards is not sent through the host, where its network policies are",
            "without br_netfilter, policies have no effect on the bridge, or another one",
        )

    def _find_table_faults(self, view: "View", wanted: Ruleset, what: str, effect: str) -> list[Fault]:
        nft = Nft(self._env)
        listing = view.once(("nftables", wanted.name), lambda: RulesetListing(nft.list_table(wanted.name)))
        seen = listing.find_difference(wanted)
        if not seen:
            return []
        self._is_broken = True
        return [Fault(what, f"nftables: {seen}; {effect}; {MEND}")]

    def describe(self) -> dict[str, object]:
        """See `Resource.describe`."""
        member = self._member
        return {
            "namespace": member.namespace,
            "labels": dict(member.labels),
            "addresses": [str(address) for address in member.addresses],
        }

    def ensure(self, view: "View") -> bool:
        """See `Resource.ensure`. The link is still down."""
        policies = HostPolicies()
        with policies.lock(shared=True):
            compiled = policies.read()
            if compiled is None:
                return True
            part = compiled.calc_member(self._member)
            if compiled.selects(self._member):
                self._ensure_asked(view)
            added = _render_added(part) + "".join(map(render_added, self._list_bridged(compiled)))
            if not part.sets or (not self._is_broken and _is_done(Nft(self._env), added)):
                return True
        # The table is missing, or somebody else's address was this one, or still is.
        restore_policies(policies, self._env)
        return True

    def _ensure_asked(self, view: "View") -> None:
        """Have policies asked about what is sent on its bridge.

        Raises:
            CniError: the kernel has no br_netfilter, and the host cannot do without.
        """
        if load_br_netfilter():
            filter_bridges([self._bridge], view.sock)
            return
        self._member.router = find_router(view.sock, self._bridge)
        if self._member.router:
            refuse_unroutable(view.sock, self._member, self._bridge)

    def _list_bridged(self, compiled: Compiled) -> list[Ruleset]:
        """Return its part of what is done with packets on bridges, besides what policies say."""
        rulesets = [calc_address_check(compiled, [self._member])]
        return [*rulesets, calc_rerouting(compiled, [self._member])] if self._member.router else rulesets

    def remove(self) -> None:
        """See `Resource.remove`. The link is gone, and the record says that the container goes."""
        policies = HostPolicies()
        with policies.lock(shared=True):
            try:
                compiled = policies.read()
            except UnreadablePoliciesError:
                return  # until they are applied again, no container with its addresses can be attached
            if compiled is None:
                return
            part = compiled.calc_member(self._member)
            if not part.sets:
                return
            if not has_br_netfilter():
                with NetlinkSocket() as sock:
                    self._member.router = find_router(sock, self._bridge)
            nft = Nft(self._env)
            elements = "".join(map(render_deleted, [part, *self._list_bridged(compiled)]))
            # Others may need the chains.
            if _is_done(nft, elements + _render_deleted_chains(part)) or _is_done(nft, elements):
                return
        # Somebody has changed the table.
        restore_policies(policies, self._env)


def plan_membership(
    config: "Mapping[str, object]",
    args: str,
    addresses: "Sequence[Address]",
    port: str,
    bridge: str,
    env: "Mapping[str, str]",
    mac: str = "",
) -> list[Resource]:
    """Return the part of a container in the policies.

    Args:
        config: the configuration that it is, or was, attached with.
        args: CNI_ARGS, likewise.
        addresses: its addresses; without any it has no part.
        port: its link on the host; empty where its addresses are not checked.
        bridge: the bridge that it is on; empty if it is on none that is known.
        env: the environment.
        mac: its hardware address, as text; empty if that is not known.

    Raises:
        CniError: what policies find it by is malformed.
    """
    if not addresses:
        return []
    return [PolicyMembership(read_member(config, args, addresses, port, mac), bridge, env)]


def is_selected(config: "Mapping[str, object]", args: str, addresses: "Sequence[Address]") -> bool:
    """Return whether any policy is for a container, or could be; see `plan_membership`."""
    try:
        compiled = HostPolicies().read()
    except UnreadablePoliciesError:
        return True
    return compiled is not None and compiled.selects(read_member(config, args, addresses, ""))


def is_rerouting(is_adding: bool) -> bool:
    """Return whether bridges do without br_netfilter; who attaches a container loads it if possible."""
    return not (load_br_netfilter() if is_adding else has_br_netfilter())


def release_members(env: "Mapping[str, str]") -> None:
    """Take away what is in the policies of containers that are gone, or that have no record any more.

    Raises:
        CniError: nft is not installed, or refused.
    """
    restore_policies(HostPolicies(), env)


def _add_shared(part: Ruleset, table: Ruleset) -> None:
    """Add to a container's part what of the table it depends on: the first chain, and networks by address."""
    used = {word for chain in part.chains for rule in chain.rules for word in rule.split()}
    part.chains[:0] = table.chains
    part.sets[:0] = [one for one in table.sets if one.elements and f"@{one.name}" in used]


def _render_added(part: Ruleset) -> str:
    """Return the transaction that makes chains, which may exist, and adds elements.

    It fails where an address is in one of the maps, as another container's.
    """
    lines = []
    for chain in part.chains:
        lines += [f"add chain {TABLE} {chain.name}", f"flush chain {TABLE} {chain.name}"]
        lines += [f"add rule {TABLE} {chain.name} {rule}" for rule in chain.rules]
    lines += [
        f"{'create' if one.is_map else 'add'} element {TABLE} {one.name} {{ {', '.join(one.elements)} }}"
        for one in part.sets
    ]
    return "".join(f"{line}\n" for line in lines)


def _render_deleted_chains(part: Ruleset) -> str:
    verbs = ("flush", "delete")
    return "".join(f"{verb} chain {TABLE} {chain.name}\n" for chain in part.chains for verb in verbs)


def _is_done(nft: Nft, text: str) -> bool:
    """Do a transaction; return whether nft accepted it."""
    return not nft.start(text).wait()[0]
