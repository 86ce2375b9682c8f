"""`isolate`: the group by which rules know the link that a network's packets enter and leave the host by.

That of an open network is in a group as well, by which strictly isolated ones know it.
"""

from shibafu.cni.names import NETWORK_GROUPS, STRICT, calc_isolate
from shibafu.resource.base import HOST, Resource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu.bridge.config import BridgeConfig
    from shibafu.netlink.link import Link
    from shibafu.resource.base import Fault
    from shibafu.resource.view import View

OWN_GROUPS = frozenset(NETWORK_GROUPS.values())
# The kernel's for links that nobody put into one.
NO_GROUP = 0


class NetworkGroup(Resource):
    """The group of a network's link: of the bridge, or of the gateway's link in a VLAN.

    Args:
        config: the network's configuration.
        port: the attachment's link on the host: it alone does not keep a failed ADD from undoing the change.
    """

    __slots__ = ("_config", "_former", "_port")
    scope = HOST

    def __init__(self, config: "BridgeConfig", port: str) -> None:
        self._config = config
        self._port = port
        # The group that this call has changed.
        self._former: int | None = None

    @property
    def title(self) -> str:
        """See `Resource.title`."""
        return f"the interface group of {self._config.gateway_link}"

    def faults(self, view: "View") -> "list[Fault]":
        """See `Resource.faults`."""
        config = self._config
        link = self._find_link(view)
        faults: list[Fault] = []
        if link is not None and link.group != NETWORK_GROUPS[config.isolate]:
            from shibafu.bridge.resources.groups import find_group_faults

            faults += find_group_faults(config, link)
        if config.isolate == STRICT:
            from shibafu.bridge.resources.groups import find_faults_of_others

            faults += view.once("unknown bridges", lambda: find_faults_of_others(view.sock))
        return faults

    def describe(self) -> dict[str, object]:
        """See `Resource.describe`."""
        return {"link": self._config.gateway_link, "isolate": calc_isolate(self._config.isolate)}

    def ensure(self, view: "View") -> bool:
        """See `Resource.ensure`.

        Raises:
            CniError: another network has containers on the link, and isolates them more strictly.
        """
        config = self._config
        link = self._find_link(view)
        if link is not None and self._is_to_be_changed(link):
            from shibafu.bridge.resources.groups import change_group

            change_group(view.sock, link, config)
            self._former = link.group
        if config.isolate == STRICT:
            from shibafu.bridge.resources.groups import ensure_others

            ensure_others(view.sock)
        return self._former is not None

    def _find_link(self, view: "View") -> "Link | None":
        """Return the network's link; None where it is missing, or another kind of link is in its place."""
        config = self._config
        if config.vlan:
            return view.link(config.gateway_link) if config.is_gateway else None
        link = view.link(config.bridge)
        return link if link is not None and link.kind == "bridge" else None

    def _is_to_be_changed(self, link: "Link") -> bool:
        """Return whether a link's group has to change; what somebody else gave to an open network's stays."""
        config = self._config
        if link.group == NETWORK_GROUPS[config.isolate]:
            return False
        if config.isolate or link.group:
            return bool(config.isolate) or link.group in OWN_GROUPS
        from shibafu.bridge.resources.fabric import calc_bridge_mac

        # A bridge of the administrator's may lead to the outside, which strictly isolated networks reach.
        return bool(config.vlan) or link.mac == calc_bridge_mac(config)

    def remove(self) -> None:
        """Restore the group that this call has changed, unless other containers depend on it."""
        if self._former is not None:
            from shibafu.bridge.resources.groups import restore_group

            restore_group(self._config, self._port, self._former)
