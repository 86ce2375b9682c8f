"""Uplinks that are the slaves of a bond, which is the bridge's port: the kernel chooses the active one.

The bond is known by its name and its group, which it has from its creation on; one of somebody else is
never touched.
"""

from errno import EEXIST, ENODEV, EOPNOTSUPP

from shibafu.bridge.resources.active_uplink import release_dropped, remember_uplinks
from shibafu.bridge.resources.uplink_tree import leave_tree
from shibafu.bridge.resources.uplink_use import UplinkUse
from shibafu.cni.errors import INVALID_CONFIG, NETWORK_SETUP, CniError
from shibafu.cni.names import BOND_GROUP, calc_bond
from shibafu.netlink.codec import parse_int
from shibafu.netlink.constants import BOND_ACTIVE_BACKUP, IFLA_BOND_ACTIVE_SLAVE, IFLA_BOND_MODE
from shibafu.netlink.errors import NetlinkError
from shibafu.netlink.link import Link, link_by_name, link_list
from shibafu.netlink.link_requests import link_add_bond, link_del, link_set
from shibafu.netlink.socket import NetlinkSocket
from shibafu.resource.base import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def is_own_bond(link: Link, bridge: str) -> bool:
    """Return whether a link is the bond that was made for a bridge's uplinks."""
    return link.kind == "bond" and link.group == BOND_GROUP and link.name == calc_bond(bridge)


def find_bond(sock: NetlinkSocket, bridge: str) -> Link | None:
    """Return the bond of a bridge's uplinks; None if there is none."""
    link = link_by_name(sock, calc_bond(bridge))
    return link if link is not None and is_own_bond(link, bridge) else None


def dissolve_bond(sock: NetlinkSocket, bridge: str) -> str:
    """Delete the bond of a bridge's uplinks and return its name; empty if there is none.

    Its slaves are down afterwards, and belong to nobody.

    Raises:
        NetlinkError: the kernel refuses.
    """
    bond = find_bond(sock, bridge)
    if bond is None:
        return ""
    sock.request(link_del(bond.index).ignoring(ENODEV))
    return bond.name


def find_active_slave(bond: Link) -> int:
    """Return the number of the slave through which a bond sends; 0 if there is none."""
    return parse_int(bond.data.get(IFLA_BOND_ACTIVE_SLAVE, bytes(4)), 4)


class BondedUplinks(UplinkUse):
    """How uplinks are used with `uplinkMode` bond; see `UplinkUse`."""

    __slots__ = ("_created",)

    def __init__(self, names: "tuple[str, ...]", former: list[Link]) -> None:
        super().__init__(names, former)
        # The number of the bond that this call has made; 0 if it has made none.
        self._created = 0

    def find_faults(self, sock: NetlinkSocket, bridge: Link, links: list[Link]) -> "Iterator[Fault]":
        """See `UplinkUse.find_faults`."""
        bond = link_by_name(sock, calc_bond(bridge.name))
        if bond is None:
            yield Fault(f"bond {calc_bond(bridge.name)} is missing")
            return
        refusal = _refuse_bond(bond, bridge.name)
        if refusal is not None:
            yield Fault(refusal.msg, refusal.details, is_mendable=False)
            return
        yield from self._find_dropped_faults(sock, bridge, (bond.name, *self._names))
        if not bond.up:
            yield Fault(f"bond {bond.name} is down")
        if bond.master != bridge.index:
            yield Fault(f"bond {bond.name} is not a port of bridge {bridge.name}")
        for link in links:
            if link.master in (0, bridge.index):
                yield Fault(f"uplink {link.name} is not a slave of bond {bond.name}")
        for link in link_list(sock, master=bond.index):
            if link.name not in self._names:
                yield Fault(f"{link.name} is a slave of bond {bond.name}, and no longer one of its uplinks")

    def apply(self, sock: NetlinkSocket, bridge: Link, had_uplink: bool) -> None:
        """See `UplinkUse.apply`: they are slaves, and the bond is the bridge's port.

        Raises:
            CniError: the kernel has no bonding, or the bond's name is taken.
            NetlinkError: the kernel refuses something else.
        """
        # Before all else: where it cannot be made, nothing has changed.
        bond = self._ensure_bond(sock, bridge.name)
        found = self._find_links(sock)
        leave_tree(sock, bridge)
        release_dropped(sock, bridge, [bond.name])
        for link in link_list(sock, master=bond.index):
            if link.name not in self._names:
                sock.request(link_set(link.index, master=0).ignoring(ENODEV))
        self._release_ports(sock, bridge, found)
        for link in found:
            if link.master in (0, bridge.index):
                # What is up is refused.
                sock.request(link_set(link.index, up=False))
                sock.request(link_set(link.index, master=bond.index))
            elif not link.up:
                sock.request(link_set(link.index, up=True))
        remember_uplinks(bridge, [bond])
        if bond.master != bridge.index or not bond.up:
            sock.request(link_set(bond.index, up=True, master=bridge.index))
        if had_uplink:
            self._former.clear()
            self._created = 0

    def _release_ports(self, sock: NetlinkSocket, bridge: Link, links: list[Link]) -> None:
        """Take what is a port by itself away from the bridge, before the bond can be another one."""
        for link in links:
            if link.master in (0, bridge.index):
                self._former.append(link)
            if link.master == bridge.index:
                sock.request(link_set(link.index, master=0))

    def _ensure_bond(self, sock: NetlinkSocket, bridge: str) -> Link:
        name = calc_bond(bridge)
        bond = link_by_name(sock, name)
        if bond is None:
            try:
                is_new = sock.request(link_add_bond(name, BOND_GROUP).ignoring(EEXIST)) == 0
            except NetlinkError as error:
                if error.errno != EOPNOTSUPP:
                    raise
                advice = 'set "uplinkMode" to "active-backup", or use a kernel with the module bonding'
                msg = "this kernel has no bonding; use active-backup"
                raise CniError(NETWORK_SETUP, msg, advice) from None
            bond = link_by_name(sock, name)
            if bond is None:
                raise CniError(NETWORK_SETUP, f"failed to create bond {name}: it vanished")
            self._created = bond.index if is_new else 0
        refusal = _refuse_bond(bond, bridge)
        if refusal is not None:
            raise refusal
        return bond

    def undo(self, sock: NetlinkSocket) -> None:
        """See `UplinkUse.undo`: delete the bond, if this call has made it; then its slaves are restored."""
        if self._created:
            sock.request(link_del(self._created).ignoring(ENODEV))


def _refuse_bond(link: Link, bridge: str) -> CniError | None:
    """Return why a link of a bond's name cannot be used; None if it can."""
    if not is_own_bond(link, bridge):
        what = f"{link.name} already exists, and was not made for the uplinks of bridge {bridge}"
        return CniError(INVALID_CONFIG, what, f"rename that link, or give another name to bridge {bridge}")
    if link.data.get(IFLA_BOND_MODE) != bytes((BOND_ACTIVE_BACKUP,)):
        what = f"bond {link.name} is not in the mode active-backup"
        return CniError(
            INVALID_CONFIG, what, f"delete it (ip link del {link.name}): the next ADD makes it again"
        )
    return None
