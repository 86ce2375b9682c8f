"""That packets get through: a port that forwards, a carrier, and neighbours that know the addresses."""

import time
from errno import EBUSY, ENETDOWN, ENODEV

from shibafu.bridge.attachment import Attachment
from shibafu.bridge.resources.interface import announce_addresses
from shibafu.cni.errors import NETWORK_SETUP, CniError
from shibafu.cni.result import Result
from shibafu.netlink.constants import BR_STATE_DISABLED, BR_STATE_FORWARDING, IF_OPER_UP
from shibafu.netlink.errors import NetlinkError
from shibafu.netlink.link import Link, link_by_name
from shibafu.netlink.link_requests import link_set, link_set_port
from shibafu.resource.base import MEND, Fault, Resource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from shibafu.resource.claim import Claim
    from shibafu.resource.view import View

# Pauses, in seconds, between looks at a port that packets do not get through yet.
_PAUSES = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.2, 0.5, 1.0, 1.0)


class Carrier(Resource):
    """The last step of an attachment, before which nothing gets through.

    Args:
        attachment: whose.
        own: what its network gave to its interface.
        port: the name of its link on the host.
        claim: the claim to it; None when there is none.
    """

    __slots__ = ("_attachment", "_claim", "_own", "_port")
    is_barrier = True

    def __init__(self, attachment: Attachment, own: Result, port: str, claim: "Claim | None" = None) -> None:
        self._attachment = attachment
        self._own = own
        self._port = port
        self._claim = claim

    def faults(self, view: "View") -> list[Fault]:
        """See `Resource.faults`."""
        link = view.link(self._port)
        if link is None or link.port is None:
            return []  # that is the port's
        if not link.up:
            return [Fault(f"link {link.name} of the host is down")]
        if _is_disabled(link):
            bridge = self._attachment.config.bridge
            return [
                Fault(
                    f"port {link.name} of bridge {bridge} is disabled",
                    f"its state was changed; {MEND}",
                )
            ]
        return []

    @property
    def title(self) -> str:
        """See `Resource.title`."""
        return f"port {self._port}"

    def describe(self) -> dict[str, object]:
        """See `Resource.describe`."""
        # One whose other end is left down has no carrier.
        is_dark = self._attachment.config.disable_container_interface
        return {"state": "up"} if is_dark else {"state": "up", "portState": "forwarding"}

    def ensure(self, view: "View") -> bool:
        """Set the port up, and wait until packets get through: the container's first ones would be lost.

        Two things come later than the request: the bridge forwards, and the container's end, of which a
        worker of the kernel learns that it has a carrier (net/core/link_watch.c), begins to send.

        Raises:
            CniError: they do not within three seconds, or what STP of uplinks takes besides; or the link is
                deleted meanwhile.
            NetlinkError: the kernel refuses.
        """
        try:
            view.sock.request(link_set(self._port, up=True))
            link = view.link(self._port)
            if link is not None and _is_disabled(link):
                # Where spanning tree is at work it decides, and refuses.
                forwarding = link_set_port(self._port, state=BR_STATE_FORWARDING)
                view.sock.request(forwarding.ignoring(EBUSY, ENETDOWN))
            view.learn(self._wait(view))
            self._announce(view)
        except NetlinkError as error:
            if error.errno != ENODEV or self._claim is None:
                raise
            raise self._claim.describe_overtaken() from None
        return False

    def remove(self) -> None:
        """Leave it: it goes with the link."""

    def _wait(self, view: "View") -> Link:
        """Return the port as soon as packets get through."""
        ifname = self._attachment.ifname
        for pause in self._list_pauses(view):
            link = link_by_name(view.sock, self._port)
            if link is None:
                raise NetlinkError(ENODEV, what=f"cannot look at port {self._port}")
            # A bridge that is down on purpose does not forward.
            is_paused = self._claim is not None and self._claim.is_paused
            is_forwarding = is_paused or link.port is None or link.port.state == BR_STATE_FORWARDING
            # The carrier of a link whose other end is left down never comes.
            is_dark = view.inside is None or self._attachment.config.disable_container_interface
            if is_dark or (is_forwarding and view.inside is not None and _has_carrier(view.inside, ifname)):
                return link
            time.sleep(pause)
        if is_forwarding:
            raise CniError(
                NETWORK_SETUP,
                f"interface {ifname} has no carrier",
                "it was set down or renamed while it was being attached",
            )
        raise CniError(
            NETWORK_SETUP,
            f"bridge port in error state: {self._port}",
            "the bridge does not forward its frames; is spanning tree enabled, or the bridge down?",
        )

    def _list_pauses(self, view: "View") -> "Iterable[float]":
        """Return the pauses between looks; where uplinks need STP, a port does not forward for seconds."""
        config = self._attachment.config
        if config.uplinks is None:
            return _PAUSES
        from shibafu.bridge.resources.uplink_tree import calc_tree_delay
        from shibafu.bridge.uplink_keys import STP

        bridge = view.link(config.bridge) if config.uplinks.mode == STP else None
        delay = calc_tree_delay(bridge) if bridge is not None else 0.0
        return (*_PAUSES, *(0.2 for _ in range(round(delay / 0.2))))

    def _announce(self, view: "View") -> None:
        """Announce the addresses to neighbours, once nobody else is found to have them."""
        if view.inside is None or not self._own.ips:
            return
        sock, ifname = view.inside.sock, self._attachment.ifname
        if self._attachment.config.enable_dad:
            from shibafu.bridge.resources.dad import wait_for_dad

            wait_for_dad(sock, ifname, self._own)
        link = view.inside.link(ifname)
        announce_addresses(sock, ifname, link.mac if link is not None else self._attachment.mac, self._own)


def _is_disabled(link: Link) -> bool:
    """Return whether somebody has disabled a port that has a carrier."""
    return link.port is not None and link.port.state == BR_STATE_DISABLED and link.operstate == IF_OPER_UP


def _has_carrier(inside: "View", ifname: str) -> bool:
    link = link_by_name(inside.sock, ifname)
    return link is not None and link.operstate == IF_OPER_UP
