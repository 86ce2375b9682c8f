"""`macspoofchk`: a network's guard is there while containers need it, and gone with the last of them."""

from shibafu.netfilter.nftables import Nftables
from shibafu.netfilter.port_rulesets import calc_spoofcheck
from shibafu.resource.base import Fault, Resource
from shibafu.resource.records import NetworkState, link_exists

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from shibafu.bridge.config import BridgeConfig
    from shibafu.cni.errors import CniError
    from shibafu.cni.request import Request
    from shibafu.resource.claim import Claim
    from shibafu.resource.view import View


class SpoofCheck(Resource):
    """The guard of one port.

    Args:
        state: the network's records.
        bridge: the bridge that the configuration names.
        port: the link on the host.
        mac: the hardware address that its frames may have.
        env: the environment.
        claim: the claim to the attachment, which may have been made before the network had the key.
    """

    __slots__ = ("_bridge", "_claim", "_env", "_is_removable", "_mac", "_port", "_state")
    is_removal_barrier = True

    def __init__(
        self,
        state: NetworkState,
        bridge: str,
        port: str,
        mac: str,
        env: "Mapping[str, str]",
        claim: "Claim | None" = None,
    ) -> None:
        self._state = state
        self._bridge = bridge
        self._port = port
        self._mac = mac
        self._env = env
        self._claim = claim
        self._is_removable = True

    @classmethod
    def obstacle(cls, request: "Request", config: "BridgeConfig") -> "CniError | None":
        """See `Resource.obstacle`."""
        from shibafu.resource.obstacles import find_missing_program

        return find_missing_program("nft", request.env, 'install nftables, or set "macspoofchk" to false')

    def faults(self, view: "View") -> list[Fault]:
        """See `Resource.faults`."""
        network = self._state.network
        ruleset = calc_spoofcheck(network, [(self._port, self._mac)])
        listing = view.once(("spoofcheck", network), Nftables(ruleset, self._env).read)
        difference = listing.find_difference(ruleset)
        return [find_no_guard(self._port, f"nftables: {difference}")] if difference else []

    @property
    def title(self) -> str:
        """See `Resource.title`."""
        return "the guard against spoofing"

    def describe(self) -> dict[str, object]:
        """See `Resource.describe`."""
        return {"port": self._port, "mac": self._mac}

    def ensure(self, view: "View") -> bool:
        """See `Resource.ensure`. The port's link is there."""
        self._is_removable = False
        guard = Nftables(calc_spoofcheck(self._state.network, [(self._port, self._mac)]), self._env)
        self._is_removable = True
        if self._claim is not None:
            self._claim.note_port_rules(has_spoof_check=True)
        is_locked_here = self._state.hold_shared()
        try:
            ensure_guard(self._state, self._bridge, guard, (self._port, self._mac), self._env)
        finally:
            if is_locked_here:
                self._state.unlock()
        return True

    def remove(self) -> None:
        """See `Resource.remove`. Where nothing could be made, nothing is."""
        if self._is_removable:
            release_guards(self._state, self._bridge, [(self._port, self._mac)], self._env, self._port)


def find_no_guard(port: str, seen: str) -> Fault:
    """Return the fault of a port that has no guard; `seen` says what is missing."""
    return Fault(
        f"the MAC spoof check of port {port} is missing",
        f"{seen}; the next ADD of this network restores it",
    )


def ensure_guard(
    state: NetworkState, bridge: str, own: Nftables, port: tuple[str, str], env: "Mapping[str, str]"
) -> None:
    """Guard a port whose link is there, and all others of the network if their guard was flushed.

    The caller holds the network's lock, so that the last DEL does not take the table away at the same
    moment. Should this process be killed, the program it started goes on holding it.

    Raises:
        CniError: nft refused.
    """
    from shibafu.bridge.resources.occupancy import find_lost_ports

    state.hand_down_lock(True)
    try:
        # The first has nothing to add to, and to find that out is what a call of nft costs.
        is_first = len(state.attachments()) < 2 and not find_lost_ports(state, bridge, port[0])
        if is_first or not own.extend():
            ports = [*list_guarded(state, besides=port[0]), port]
            Nftables(calc_spoofcheck(state.network, ports), env).repair()
    finally:
        state.hand_down_lock(False)


def list_guarded(state: NetworkState, besides: str = "") -> list[tuple[str, str]]:
    """Return the ports to guard, as the records have them, and the address of each."""
    ports = []
    for link in state.attachments():
        record = state.read_attachment(link)
        if link != besides and record.has_spoof_check and record.mac and link_exists(link):
            ports.append((link, record.mac))
    return ports


def release_guards(
    state: NetworkState,
    bridge: str,
    ports: list[tuple[str, str]],
    env: "Mapping[str, str]",
    besides: str = "",
) -> None:
    """Give up guarding ports, each with its address; with the network's last link goes the whole guard.

    Args:
        state: the network's records.
        bridge: the bridge that the configuration names.
        ports: the ports, whose links are gone.
        env: the environment.
        besides: the one of them whose link may still be there.

    Raises:
        CniError: nft is not installed, or refused.
    """
    from shibafu.bridge.resources.occupancy import is_in_use

    guard = Nftables(calc_spoofcheck(state.network, ports), env)
    # Between looking for other links and removing the table, none may come.
    state.lock_exclusive()
    try:
        if is_in_use(state, bridge, besides):
            guard.remove_elements()
        else:
            guard.teardown()
    finally:
        state.unlock()
