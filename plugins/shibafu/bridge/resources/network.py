"""What is left of a network when its last container goes: rules, records, switches."""

from shibafu.bridge.config import BridgeConfig, is_valid_link_name
from shibafu.resource.base import NETWORK, Resource
from shibafu.resource.records import NetworkState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from shibafu.cni.errors import CniError
    from shibafu.cni.request import Request
    from shibafu.resource.view import View


class NetworkRecord(Resource):
    """What the network's containers share; it is removed with the last of them.

    Args:
        state: the network's records.
        config: the network's configuration.
        env: the environment.
    """

    __slots__ = ("_config", "_env", "_is_new", "_state")
    scope = NETWORK

    def __init__(self, state: NetworkState, config: BridgeConfig, env: "Mapping[str, str]") -> None:
        self._state = state
        self._config = config
        self._env = env
        self._is_new = False

    @classmethod
    def obstacle(cls, request: "Request", config: BridgeConfig) -> "CniError | None":
        """See `Resource.obstacle`: a directory that cannot be written to."""
        from shibafu.resource.obstacles import find_closed_directory

        directory = NetworkState(config.network).directory
        return find_closed_directory(directory, f"records of attachments are kept in {directory}")

    @property
    def title(self) -> str:
        """See `Resource.title`."""
        return "the network's record"

    def ensure(self, view: "View") -> bool:
        """Leave it to the records of its containers and rules, with which it comes.

        Rules that this very call makes go when it fails, even if there are containers without
        a record: these had no rules of this network, as far as is known.
        """
        self._is_new = not self._state.has_rules()
        if self._state.has_pause():
            from shibafu.resource.pause_file import discard_stale_pause

            discard_stale_pause(self._state)
        return False

    def remove(self) -> None:
        """See `Resource.remove`.

        Raises:
            CniError: the firewall's rules could not be removed.
        """
        if self._state.read_rules():
            from shibafu.bridge.resources.rules_removal import teardown_if_unused

            teardown_if_unused(self._state, self._env, None if self._is_new else self._config.bridge)
        self._state.remove_if_unused()
        if self._config.has_ipam:
            self._close_loopback()

    def _close_loopback(self) -> None:
        """Stop routing 127.0.0.1 to a bridge whose last port is gone: nothing is published there.

        The reference's portmap plugin switches that on, and leaves it on.
        """
        name = self._config.bridge
        if self._state.attachments() or not is_valid_link_name(name):
            return
        from shibafu.netfilter.forwarding import routes_loopback, stop_routing_loopback

        if not routes_loopback(name):
            return
        from shibafu.netlink.link import link_by_name, link_list
        from shibafu.netlink.socket import NetlinkSocket

        with NetlinkSocket() as sock:
            bridge = link_by_name(sock, name)
            # Other networks may be on the same bridge.
            is_empty = bridge is not None and not link_list(sock, master=bridge.index)
        if is_empty:
            stop_routing_loopback(name)
