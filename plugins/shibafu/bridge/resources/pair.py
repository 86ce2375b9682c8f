"""The veth pair between the bridge and the container."""

from errno import EEXIST

from shibafu.bridge.attachment import Attachment
from shibafu.cni.errors import INVALID_CONFIG, CniError
from shibafu.netlink.errors import NetlinkError
from shibafu.netlink.link_requests import link_add_veth
from shibafu.resource.base import Resource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from shibafu.resource.claim import Claim
    from shibafu.resource.records import NetworkState
    from shibafu.resource.view import View


class HostLink(Resource):
    """The host's end of a container's link, as far as it can be removed, and the other end with it.

    Args:
        name: its name.
        meanwhile: what to do while the kernel is at work, which is 2 ms.
    """

    __slots__ = ("_meanwhile", "_name")

    def __init__(self, name: str, meanwhile: "Callable[[], object] | None" = None) -> None:
        self._name = name
        self._meanwhile = meanwhile

    @property
    def title(self) -> str:
        """See `Resource.title`."""
        return f"link {self._name}"

    def remove(self) -> None:
        """See `Resource.remove`.

        Raises:
            NetlinkError: the kernel refuses.
        """
        from shibafu.netlink.link_removal import link_del_announced

        link_del_announced(self._name, self._meanwhile)


class Pair(HostLink):
    """The veth pair: one end a port of the bridge, the other in the container's namespace. Only ADD makes it.

    Both are down, and the port stays so until the container is configured (`Carrier`): from the moment
    that there is a carrier, the kernel's workers hold the lock of all links (RTNL) for as long as it takes to
    flood what IPv6 has to say to every container of the bridge, 3 ms with 200, and later requests wait.

    Args:
        attachment: whose.
        claim: the claim to it.
    """

    __slots__ = ("_attachment", "_claim", "_is_ours")

    def __init__(self, attachment: Attachment, claim: "Claim") -> None:
        super().__init__(attachment.host_link)
        self._attachment = attachment
        self._claim = claim
        self._is_ours = True

    def ensure(self, view: "View") -> bool:
        """See `Resource.ensure`.

        Raises:
            CniError: one of the two links already exists and is left alone; or a DEL came before.
            NetlinkError: the kernel refuses.
        """
        attachment, bridge = self._attachment, view.link(self._attachment.config.bridge)
        pair = link_add_veth(
            attachment.host_link,
            attachment.ifname,
            view.inside.descriptor if view.inside is not None else -1,
            mac=attachment.host_mac,
            peer_mac=attachment.mac,
            mtu=attachment.config.mtu or None,
            master=bridge.index if bridge is not None else None,
            up=False,
        )
        try:
            view.sock.request(pair)
        except NetlinkError as error:
            # Only then: after an interruption it may be there.
            self._is_ours = False
            if error.errno != EEXIST:
                raise
            raise refuse_existing(attachment, "another process created it during this ADD") from None
        # From here on, DEL sees the link.
        self._claim.require()
        return True

    def remove(self) -> None:
        """See `Resource.remove`. One that existed before belongs to somebody else."""
        if self._is_ours:
            super().remove()


def refuse_if_attached(attachment: Attachment, view: "View", state: "NetworkState") -> None:
    """Refuse an interface that already exists, before anything of it could be touched.

    Of a namespace that is gone without DEL the host's end of the link may still be there: the kernel takes
    namespaces apart some time later, and once no process has them open.

    Raises:
        CniError: it is.
        NetlinkError: the kernel refuses to delete what is left of an earlier namespace.
    """
    if view.inside is not None and view.inside.sock.has_link(attachment.ifname):
        raise refuse_existing(attachment, "run DEL for that interface first, or choose another CNI_IFNAME")
    if not view.sock.has_link(attachment.host_link):
        return
    if not state.read_attachment(attachment.host_link).has_ended():
        raise refuse_existing(
            attachment, "the container is attached from another namespace; run DEL there first"
        )
    HostLink(attachment.host_link).remove()


def refuse_existing(attachment: Attachment, details: str) -> CniError:
    """Return the refusal of an interface that already exists."""
    names = f'container veth name ("{attachment.ifname}") peer provided ("{attachment.host_link}")'
    return CniError(INVALID_CONFIG, f"{names} already exists", details)
