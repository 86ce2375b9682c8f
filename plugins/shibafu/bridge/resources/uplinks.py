"""Redundant uplinks of a bridge: how they are used depends on `uplinkMode`.

Frames must never loop: a process that changes which links are ports holds a lock, and what
is one leaves before another enters.
"""

from errno import ENODEV

from shibafu.bridge.resources.active_uplink import (
    has_carrier,
    has_stale_outage,
    list_uplinks,
    lock_uplinks,
    note_outage,
)
from shibafu.bridge.resources.moved_addresses import (
    find_movement_faults,
    finish_movement,
    give_back,
    move_addresses,
    refuse_movement,
)
from shibafu.bridge.resources.uplink_backup import BackupUplinks
from shibafu.bridge.resources.uplink_bond import BondedUplinks, dissolve_bond, find_bond
from shibafu.bridge.resources.uplink_claims import find_claimed_uplink, read_stated_uplinks
from shibafu.bridge.resources.uplink_tree import TreeUplinks, has_left_tree, leave_tree
from shibafu.bridge.uplink_keys import ACTIVE_BACKUP, BOND, STP
from shibafu.cni.errors import INVALID_CONFIG, NETWORK_SETUP, NOT_AVAILABLE, CniError
from shibafu.netfilter.forwarding import answer_for_own_addresses, refuse_router_advertisements
from shibafu.netlink.constants import DEVCONF_ACCEPT_RA, IPV4_DEVCONF_ARP_IGNORE
from shibafu.netlink.link import Link, link_by_index, link_by_name
from shibafu.netlink.link_requests import link_set
from shibafu.netlink.replay import addr_save, addr_text
from shibafu.netlink.socket import NetlinkSocket
from shibafu.resource.base import HOST, MEND, Fault, Resource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from shibafu.bridge.config import BridgeConfig
    from shibafu.bridge.resources.uplink_use import UplinkUse
    from shibafu.cni.request import Request
    from shibafu.resource.view import View


class Uplinks(Resource):
    """The uplinks of a network's bridge. Which of them is active is left as it is while that has a carrier.

    Args:
        config: the network's configuration, with uplinks.
        is_adding: whether a container is being attached: then a link that cannot be an uplink is refused,
            and not only reported.
    """

    __slots__ = (
        "_config",
        "_former",
        "_has_moved",
        "_is_adding",
        "_mode",
        "_moves_addresses",
        "_names",
        "_use",
    )
    scope = HOST

    def __init__(self, config: "BridgeConfig", is_adding: bool) -> None:
        self._config = config
        self._is_adding = is_adding
        self._names = config.uplinks.links if config.uplinks is not None else ()
        # The links that this call has changed, as they were.
        self._former: list[Link] = []
        # Whether this call has given the bridge addresses of uplinks.
        self._has_moved = False
        self._mode = config.uplinks.mode if config.uplinks is not None else ACTIVE_BACKUP
        self._moves_addresses = config.uplinks is not None and config.uplinks.moves_addresses
        self._use = self._choose_use()

    def _choose_use(self) -> "UplinkUse":
        if self._mode == STP:
            return TreeUplinks(self._names, self._former)
        return (BondedUplinks if self._mode == BOND else BackupUplinks)(self._names, self._former)

    @property
    def title(self) -> str:
        """See `Resource.title`."""
        return f"uplinks of bridge {self._config.bridge}"

    @classmethod
    def obstacle(cls, request: "Request", config: "BridgeConfig") -> CniError | None:
        """See `Resource.obstacle`: links that are something else, or none that is there."""
        uplinks = cls(config, is_adding=True)
        with NetlinkSocket() as sock:
            bridge = link_by_name(sock, config.bridge)
            links = uplinks._find_links(sock)
            masters = _list_masters(sock, bridge) if bridge is not None else [0]
            problems = [*uplinks._list_other_names(sock), *uplinks._list_problems(sock, masters, links)]
        claimed = find_claimed_uplink(config)
        problems += [claimed] if claimed is not None else []
        if not links and not problems:
            problems = [uplinks._refuse_absence()]
        return CniError(NOT_AVAILABLE, problems[0].msg, problems[0].details) if problems else None

    def describe(self) -> dict[str, object]:
        """See `Resource.describe`."""
        config = self._config
        wanted: dict[str, object] = {"bridge": config.bridge, "links": list(self._names), "state": "up"}
        wanted["mode"] = self._mode
        if self._moves_addresses:
            wanted["moveAddresses"] = True
        return wanted | {"acceptRA": False, "arpIgnore": 1}

    def faults(self, view: "View") -> "Iterator[Fault]":
        """See `Resource.faults`."""
        bridge = view.link(self._config.bridge)
        if bridge is None or bridge.kind != "bridge":
            return
        found = {name: link for name in self._names if (link := view.link(name)) is not None}
        links = [link for name, link in found.items() if link.name == name]
        for name in self._names:
            if name not in found:
                advice = 'connect it, or remove it from "uplinks"'
                yield Fault(f"uplink {name} is missing", advice, is_mendable=False)
        masters = _list_masters(view.sock, bridge)
        problems = list(self._list_problems(view.sock, masters, links))
        late = [] if self._moves_addresses else _list_late_addresses(view.sock, masters, links)
        for problem in (*self._list_other_names(view.sock), *problems, *late):
            yield Fault(problem.msg, problem.details, is_mendable=False)
        for link in links:
            if not link.up:
                yield Fault(f"uplink {link.name} is down")
            if link.inet6_conf(DEVCONF_ACCEPT_RA):
                yield Fault(f"uplink {link.name} accepts router advertisements", is_switch=True)
            if link.inet_conf(IPV4_DEVCONF_ARP_IGNORE) == 0:
                yield Fault(f"uplink {link.name} answers ARP requests for other links", is_switch=True)
        bond = find_bond(view.sock, bridge.name) if self._mode != BOND else None
        if bond is not None:
            yield Fault(f"{bond.name} bonds the uplinks of bridge {bridge.name}, and uplinkMode is not bond")
            return
        if self._mode != STP and has_left_tree(bridge):
            yield Fault(f"STP is on for the uplinks of bridge {bridge.name}, and uplinkMode is not stp")
        yield from self._use.find_faults(view.sock, bridge, links)
        if self._moves_addresses and not problems:
            yield from find_movement_faults(view.sock, bridge, links)
        # One that is down may have a carrier once it is up.
        if links and all(link.up for link in links) and not any(has_carrier(link) for link in links):
            advice = (
                "containers reach nothing beyond this host until a cable or the switch behind it works again"
            )
            yield Fault(f"no uplink of bridge {bridge.name} has a carrier", advice, is_mendable=False)
        working = [link.name for link in links if has_carrier(link)]
        if working and has_stale_outage(bridge.name):
            what = f"keepalived was told that uplink {working[0]} has no carrier, although it has one"
            yield Fault(what, f"the watcher has ended; {MEND}")

    def ensure(self, view: "View") -> bool:
        """See `Resource.ensure`.

        Raises:
            CniError: a container is being attached, and a link cannot be an uplink, or none is there.
        """
        bridge = view.link(self._config.bridge)
        if bridge is None or bridge.kind != "bridge":
            return False
        if self._is_adding:
            self._refuse_others()
        with lock_uplinks(bridge.name):
            links = self._find_links(view.sock)
            masters = _list_masters(view.sock, bridge)
            problems = list(self._list_problems(view.sock, masters, links))
            refusals = [*self._list_other_names(view.sock), *problems]
            if self._is_adding and (refusals or not links):
                raise refusals[0] if refusals else self._refuse_absence()
            for link in links:
                if link.master in masters:
                    _close(link)
            had_uplink = any(link.master and link.master in masters for link in links)
            if self._mode != BOND:
                dissolve_bond(view.sock, bridge.name)
            if self._mode == ACTIVE_BACKUP:
                leave_tree(view.sock, bridge)
            is_moving = self._moves_addresses and not problems
            if is_moving:
                own = [link for link in links if link.master in masters]
                # What was there before depends on it: it stays if this call fails later.
                self._has_moved = not had_uplink
                self._has_moved &= move_addresses(view.sock, bridge, own)
            self._use.apply(view.sock, bridge, had_uplink)
            if is_moving:
                finish_movement(view.sock, bridge)
            working = [link for link in self._find_links(view.sock) if has_carrier(link)]
            if working and has_stale_outage(bridge.name):
                note_outage(bridge.name, False)
        for name in (bridge.name, *self._names):
            view.look_again(name)
        # What this call has changed is undone with it, also where there was a port before.
        return bool(self._former) or self._has_moved

    def _find_links(self, sock: NetlinkSocket) -> list[Link]:
        return list_uplinks(sock, self._names)

    def _list_other_names(self, sock: NetlinkSocket) -> "Iterator[CniError]":
        """Yield which of the names are not the one by which a link is known; see `list_uplinks`."""
        for name in self._names:
            link = link_by_name(sock, name)
            if link is not None and link.name != name:
                what = f"uplink {name} is an alternative name of link {link.name}"
                yield CniError(INVALID_CONFIG, what, f'write "{link.name}" into "uplinks"')

    def _list_problems(
        self, sock: NetlinkSocket, masters: list[int], links: "Iterable[Link]"
    ) -> "Iterator[CniError]":
        """Yield why links cannot be uplinks of the bridge."""
        for link in links:
            if link.master and link.master in masters:
                continue
            if link.master:
                master = link_by_index(sock, link.master)
                whose = master.name if master is not None else f"link {link.master}"
                advice = f"take it away from there (ip link set {link.name} nomaster), or name another uplink"
                yield CniError(INVALID_CONFIG, f"uplink {link.name} belongs to {whose}", advice)
            refuse = refuse_movement if self._moves_addresses else _refuse_addresses
            refusal = refuse(sock, link, masters)
            if refusal is not None:
                yield refusal

    def _refuse_absence(self) -> CniError:
        names = ", ".join(self._names)
        what = f"bridge {self._config.bridge} has no uplink: there is no link {names}"
        return CniError(NETWORK_SETUP, what, 'connect one, or change "uplinks"')

    def _refuse_others(self) -> None:
        """Refuse what another network states otherwise: whose uplinks they are, or which ones the bridge has.

        Raises:
            CniError: it does: a link would lead out of two bridges, there could be two ports, or it would
                depend on chance what is watched.
        """
        from shibafu.bridge.resources.shared_bridge import list_sharers

        claimed = find_claimed_uplink(self._config)
        if claimed is not None:
            raise claimed
        bridge, own = self._config.bridge, self._config.uplinks
        for sharer in list_sharers(self._config):
            network = sharer.state.network
            # Its own configuration may have changed since.
            stated = read_stated_uplinks(sharer.record.config) if network != self._config.network else None
            if stated is None or stated == own:
                continue
            if stated.mode != self._mode:
                what = f'network "{network}" uses the uplinks of bridge {bridge} in uplinkMode {stated.mode}'
                keys = 'the same "uplinkMode"'
            elif stated.links != self._names:
                what = f'network "{network}" gives bridge {bridge} other uplinks: {", ".join(stated.links)}'
                keys = 'the same "uplinks"'
            else:
                what = f'network "{network}" watches the uplinks of bridge {bridge} in another way'
                keys = 'the same "uplinkProbe" and "primaryReselect"'
            advice = f"networks on the same bridge must agree: state {keys}, or no uplinks"
            raise CniError(INVALID_CONFIG, what, advice)

    def remove(self) -> None:
        """Leave the links as they were, if this call has changed them."""
        with NetlinkSocket() as sock, lock_uplinks(self._config.bridge):
            bridge = link_by_name(sock, self._config.bridge) if self._has_moved else None
            if bridge is not None:
                give_back(sock, bridge.name, bridge.index)
            self._use.undo(sock)
            for link in reversed(self._former):
                request = link_set(link.index, master=link.master, up=link.up)
                sock.request(request.ignoring(ENODEV))


def _close(link: Link) -> None:
    """Keep the host off an uplink: it is on the segment with its bridge."""
    if link.inet6_conf(DEVCONF_ACCEPT_RA):
        refuse_router_advertisements(link.name)
    # One that waits hears what others ask there, and would answer for the bridge's addresses.
    if link.inet_conf(IPV4_DEVCONF_ARP_IGNORE) == 0:
        answer_for_own_addresses(link.name)


def _list_masters(sock: NetlinkSocket, bridge: Link) -> list[int]:
    """Return what an uplink of a bridge may belong to, by its number; 0 is nothing."""
    bond = find_bond(sock, bridge.name)
    return [0, bridge.index, *((bond.index,) if bond is not None else ())]


def _list_late_addresses(
    sock: NetlinkSocket, masters: list[int], links: "Iterable[Link]"
) -> "Iterator[CniError]":
    """Yield which uplinks were given addresses after they had become ports."""
    for link in links:
        refusal = _refuse_addresses(sock, link, masters) if link.master and link.master in masters else None
        if refusal is not None:
            yield refusal


def _refuse_addresses(sock: NetlinkSocket, link: Link, _masters: list[int]) -> CniError | None:
    """Return why a link with addresses cannot be an uplink; None for one without."""
    addresses = addr_save(sock, link.index)
    if not addresses:
        return None
    what = f"uplink {link.name} has the address {addr_text(addresses[0])}"
    advice = (
        "a port of a bridge does not answer at its own addresses: remove it, put it on the bridge, "
        'or set "moveAddresses" to true'
    )
    return CniError(INVALID_CONFIG, what, advice)
