"""The interface whose attributes are configured."""

from shibafu.cni.errors import NETWORK_SETUP, CniError, merge_errors
from shibafu.netlink.errors import NetlinkError
from shibafu.netlink.link import link_by_name
from shibafu.netlink.link_requests import link_set
from shibafu.resource.base import INSIDE, Fault, Resource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from shibafu.netlink.link import Link
    from shibafu.netlink.socket import NetlinkRequest
    from shibafu.resource.netns import Netns
    from shibafu.resource.view import View
    from shibafu.tuning.attributes import Attributes
    from shibafu.tuning.backup import Backup

_ADVICE = "it was changed in the container; change it back, or attach the container again"


class TunedInterface(Resource):
    """An interface of a container.

    Args:
        ifname: its name.
        wanted: its attributes.
        backup: what it was like before.
        netns: the container's namespace; None when it is gone.
    """

    __slots__ = ("_backup", "_ifname", "_netns", "_wanted")
    medium = INSIDE
    is_inside = True

    def __init__(self, ifname: str, wanted: "Attributes", backup: "Backup", netns: "Netns | None") -> None:
        self._ifname = ifname
        self._wanted = wanted
        self._backup = backup
        self._netns = netns

    @property
    def title(self) -> str:
        """See `Resource.title`."""
        return f"attributes of interface {self._ifname}"

    def describe(self) -> dict[str, object]:
        """See `Resource.describe`."""
        wanted = self._wanted
        stated = {
            "mac": wanted.mac.hex(":") if wanted.mac is not None else None,
            "mtu": wanted.mtu,
            "promisc": bool(wanted.promisc),
            "allmulti": wanted.allmulti,
            "txQLen": wanted.txqlen,
        }
        return {"name": self._ifname} | {key: value for key, value in stated.items() if value is not None}

    def faults(self, view: "View") -> "Iterator[Fault]":
        """See `Resource.faults`."""
        link = view.link(self._ifname)
        if link is None:
            yield Fault(
                f"Cannot find container link {self._ifname}",
                "it was deleted or renamed; attach the container again",
                is_mendable=False,
            )
            return
        for what, wanted, current in self._compare(link):
            yield Fault(f"Error: Tuning {what} is {wanted}, current value is {current}", _ADVICE)
        if link.promisc and not self._wanted.promisc:
            yield Fault(
                f"Error: Tuning link {self._ifname} configured promisc is false, current value is 1",
                f'turn it off with `ip link set {self._ifname} promisc off`, or set "promisc" to true',
                is_mendable=False,
            )

    def _compare(self, link: "Link") -> "Iterator[tuple[str, object, object]]":
        """Yield what is otherwise than it is to be, in the reference's words."""
        wanted, name = self._wanted, self._ifname
        if wanted.mac not in (None, link.mac):
            yield f"configured Ethernet of {name}", wanted.mac.hex(":"), link.mac.hex(":")
        if wanted.promisc and not link.promisc:
            yield f"link {name} configured promisc", "true", 0
        if wanted.mtu not in (None, link.mtu):
            yield f"configured MTU of {name}", wanted.mtu, link.mtu
        if wanted.allmulti not in (None, link.allmulti):
            texts = str(wanted.allmulti).lower(), str(link.allmulti).lower()
            yield f"configured all-multicast mode of {name}", *texts
        if wanted.txqlen not in (None, link.txqlen):
            yield f"configured Transmit Queue Length of {name}", wanted.txqlen, link.txqlen

    def ensure(self, view: "View") -> bool:
        """See `Resource.ensure`.

        Raises:
            CniError: there is no such interface.
            NetlinkError: the kernel refuses.
        """
        wanted = self._wanted
        if not wanted:
            return False
        link = view.link(self._ifname)
        if link is None:
            raise CniError(
                NETWORK_SETUP,
                f'failed to get "{self._ifname}": Link not found',
                "shibafu-tuning must come after the plugin that creates it in the chain",
            )
        if any(self._compare(link)):
            view.sock.request(
                link_set(
                    link.index,
                    mac=wanted.mac,
                    mtu=wanted.mtu,
                    promisc=wanted.promisc,
                    allmulti=wanted.allmulti,
                    txqlen=wanted.txqlen,
                )
            )
        return True

    def remove(self) -> None:
        """Make the interface what it was before; one that is gone has nothing to restore.

        Raises:
            CniError: the kernel refuses; the rest is restored all the same.
        """
        former = self._backup.former
        if self._netns is None or not former:
            return
        sock = self._netns.sock
        link = link_by_name(sock, self._ifname)
        if link is None:
            return
        errors = []
        for what, request in _render_requests(link.index, former):
            try:
                sock.request(request)
            except NetlinkError as error:
                errors.append(CniError(NETWORK_SETUP, f"failed to restore {what}: {error}"))
        if errors:
            raise merge_errors(errors)


def _render_requests(index: int, former: "Attributes") -> "Iterator[tuple[str, NetlinkRequest]]":
    """Yield a request for each attribute, so that one that is refused does not keep the others."""
    if former.mtu is not None:
        yield "MTU", link_set(index, mtu=former.mtu)
    if former.mac is not None:
        yield "MAC address", link_set(index, mac=former.mac)
    if former.promisc is not None:
        yield "promiscuous mode", link_set(index, promisc=former.promisc)
    if former.allmulti is not None:
        yield "all-multicast mode", link_set(index, allmulti=former.allmulti)
    if former.txqlen is not None:
        yield "transmit queue length", link_set(index, txqlen=former.txqlen)
