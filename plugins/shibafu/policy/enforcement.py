"""Policies in the kernel for all containers that are attached: the whole table, by the fewest changes."""

from shibafu.cni.errors import CniError
from shibafu.lean.subprocess import find_program
from shibafu.netfilter.bridging import has_br_netfilter, load_br_netfilter
from shibafu.netfilter.nftables import Nft
from shibafu.netfilter.render_nftables import RulesetListing, render_setup, render_teardown
from shibafu.netlink.socket import NetlinkSocket
from shibafu.policy.address_check import calc_address_check
from shibafu.policy.compiled import TABLE, Compiled
from shibafu.policy.filtered_bridges import filter_bridges, release_bridges
from shibafu.policy.host_policies import HostPolicies
from shibafu.policy.member import read_member
from shibafu.policy.policy_table import PolicyTable
from shibafu.policy.rerouting import calc_rerouting, find_router, refuse_unroutable
from shibafu.resource.home import find_home, list_network_directories
from shibafu.resource.record import CLAIMED, LEAVING
from shibafu.resource.records import NetworkState, link_exists

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from shibafu.netfilter.ruleset import Ruleset
    from shibafu.policy.member import Member
    from shibafu.resource.record import Record

_ROOT = "/run/shibafu"


def enforce(compiled: Compiled, policies: HostPolicies, env: "Mapping[str, str]") -> None:
    """Enforce policies in place of those that there are: all of them, or none if it fails.

    Raises:
        CniError: nft is not installed, or refused; or nothing has netfilter see what bridges forward.
    """
    if not compiled.policies:
        _withdraw(compiled, policies, env)
        return
    nft = Nft(env)
    with policies.lock():
        former = policies.read_bytes()
        # Before the containers are listed: one that is attached meanwhile looks for policies after it has
        # a record.
        policies.write(compiled)
        try:
            if not load_br_netfilter():
                _refuse_unroutable(compiled)
            _load(compiled, nft)
        except BaseException:
            policies.write_bytes(former)
            raise


def restore_policies(policies: HostPolicies, env: "Mapping[str, str]", has_changes: bool = False) -> None:
    """Make the table again out of whatever is left of it.

    Args:
        policies: the policies.
        env: the environment.
        has_changes: whether policies may be for other containers than before: those that they cannot restrict
            are refused, as in `enforce`.

    Raises:
        CniError: nft is not installed, or refused.
    """
    nft = Nft(env)
    with policies.lock():
        compiled = policies.read()
        if compiled is not None and compiled.policies:
            if has_changes and not load_br_netfilter():
                _refuse_unroutable(compiled)
            _load(compiled, nft)


def is_enforced(policies: HostPolicies, env: "Mapping[str, str]") -> bool:
    """Return whether the kernel has all rules of the policies, and no others in their table.

    Raises:
        CniError: nft is not installed.
    """
    compiled = policies.read()
    if compiled is None or not compiled.policies:
        return True
    nft, members = Nft(env), _list_routed(list_members())
    changes = PolicyTable(compiled, members).render_changes(RulesetListing(nft.list_table(TABLE)))
    return not changes + _render_bridged(compiled, members, nft)


def _withdraw(compiled: Compiled, policies: HostPolicies, env: "Mapping[str, str]") -> None:
    """Take the table away, and remember that there are no policies, or which networks state that."""
    from shibafu.policy.cut_table import render_uncut

    with policies.lock():
        # A host that never had any does without the program.
        if policies.read_bytes() is not None or find_program("nft", env.get("PATH", "")) is not None:
            nothing = Compiled()
            Nft(env).run(
                render_teardown(calc_address_check(nothing, []))
                + render_teardown(calc_rerouting(nothing, []))
                + render_teardown(nothing.calc_table())
                + render_uncut()
            )
        if compiled.stated:
            policies.write(compiled)
        else:
            policies.write_bytes(None)
        release_bridges()


def _refuse_unroutable(compiled: Compiled) -> None:
    with NetlinkSocket() as sock:
        for member, bridge in list_members():
            if find_router(sock, bridge) and compiled.selects(member):
                refuse_unroutable(sock, member, bridge)


def _load(compiled: Compiled, nft: Nft) -> None:
    found = list(list_members())
    # First what bridges forward has to be seen, or the table would have gaps when it is there.
    if load_br_netfilter():
        filter_bridges({bridge for member, bridge in found if bridge and compiled.selects(member)})
    members = _list_routed(found)
    table = PolicyTable(compiled, members)
    bridged = _render_bridged(compiled, members, nft)
    changes = table.render_changes(RulesetListing(nft.list_table(TABLE))) + bridged
    if changes and nft.start(changes).wait()[0]:
        # Somebody else has changed it in a way that the listing does not show.
        nft.run(table.render_whole() + bridged)


def _list_routed(found: "Iterable[tuple[Member, str]]") -> "list[Member]":
    """Return containers, each with what its bridge hands frames to the host by if br_netfilter is missing."""
    found = list(found)
    if not has_br_netfilter():
        with NetlinkSocket() as sock:
            routers = {bridge: find_router(sock, bridge) for bridge in {bridge for _, bridge in found}}
        for member, bridge in found:
            member.router = routers[bridge]
    return [member for member, _ in found]


def _render_bridged(compiled: Compiled, members: "Sequence[Member]", nft: Nft) -> str:
    """Return the transaction that makes the rules for what passes bridges; empty if they are there."""
    rerouting = calc_rerouting(compiled, members)
    if any(part.elements for part in rerouting.sets):
        changes = _render_whole(rerouting, nft)
    else:
        changes = render_teardown(rerouting) if nft.list_table(rerouting.name) else ""
    return _render_whole(calc_address_check(compiled, members), nft) + changes


def _render_whole(ruleset: "Ruleset", nft: Nft) -> str:
    """Return the transaction that makes a table; empty if it is there."""
    listing = RulesetListing(nft.list_table(ruleset.name))
    elements = {part.name: set(part.elements) for part in ruleset.sets}
    is_same = not listing.find_difference(ruleset) and listing.sets == elements
    return "" if is_same else render_teardown(ruleset) + render_setup(ruleset)


def list_members(unknown: "list[str] | None" = None) -> "Iterator[tuple[Member, str]]":
    """Yield the containers that are attached, or being attached, and their bridges, empty if unknown.

    Args:
        unknown: where to add the records of containers of which nobody knows what policies are for them.
    """
    for place in list_attachments():
        record = place.read()
        addresses = [cidr.address for cidr in record.addresses]
        # DEL takes the container's part away once the link is gone.
        is_gone = record.phase == LEAVING and not link_exists(place.link)
        if unknown is not None and not record.container_id and link_exists(place.link):
            unknown.append(f"{place.state.directory}/{place.link} names no container")
        if not addresses or record.phase == CLAIMED or is_gone:
            continue
        try:
            port = place.link if place.is_own else ""
            member = read_member(record.config or {}, record.args, addresses, port, record.mac)
            yield member, record.bridge
        except CniError as error:
            # It was attached before there were policies.
            if unknown is not None:
                unknown.append(
                    f"container {record.container_id} on network {place.state.network}: {error.msg}"
                )


class RecordPlace:
    """Where the record of an attachment is that policies are for.

    Args:
        state: the network's records.
        link: the name of the record.
        is_own: whether shibafu-bridge has made the attachment; else shibafu-firewall has seen it.
    """

    __slots__ = ("is_own", "link", "state")

    def __init__(self, state: NetworkState, link: str, is_own: bool) -> None:
        self.state = state
        self.link = link
        self.is_own = is_own

    def read(self) -> "Record":
        """Return the record; an empty one if it is gone."""
        return self.state.read_attachment(self.link)


def list_attachments() -> "Iterator[RecordPlace]":
    """Yield the records of attachments that policies are for."""
    for state in _list_states(_ROOT):
        yield from (RecordPlace(state, link, is_own=True) for link in state.attachments())
    for state in _list_states(f"{_ROOT}/firewall"):
        # The part of those that shibafu-bridge has attached is that plugin's.
        own = NetworkState(state.network)
        links = [link for link in state.attachments() if not own.remembers(link)]
        yield from (RecordPlace(state, link, is_own=False) for link in links)


def _list_states(root: str) -> "Iterator[NetworkState]":
    try:
        for network in list_network_directories(find_home(root)[0]):
            yield NetworkState(network, root)
    except FileNotFoundError:
        return
