"""`macspoofchk`: a network's MAC spoof check, which exists while containers need it."""

from shibafu.bridge.resources.port_table import PortTable, remove_port_rules
from shibafu.netfilter.nftables import Nftables
from shibafu.netfilter.port_rulesets import calc_spoofcheck
from shibafu.resource.base import Fault
from shibafu.resource.records import NetworkState, link_exists

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from shibafu.netfilter.ruleset import Ruleset
    from shibafu.resource.claim import Claim


class SpoofCheck(PortTable):
    """The MAC spoof check of one port.

    Args:
        state: the network's records.
        bridge: the bridge that the configuration names.
        port: the link on the host.
        mac: the hardware address that its frames may have.
        env: the environment.
        claim: the claim to the attachment, which may have been made before the network had the key.
    """

    __slots__ = ("_claim", "_mac")
    nft_advice = 'install nftables, or set "macspoofchk" to false'

    def __init__(
        self,
        state: NetworkState,
        bridge: str,
        port: str,
        mac: str,
        env: "Mapping[str, str]",
        claim: "Claim | None" = None,
    ) -> None:
        super().__init__(state, bridge, port, env)
        self._mac = mac
        self._claim = claim

    @property
    def title(self) -> str:
        """See `Resource.title`."""
        return "the MAC spoof check"

    def describe(self) -> dict[str, object]:
        """See `Resource.describe`."""
        return {"port": self._port, "mac": self._mac}

    def _calc_ruleset(self) -> "Ruleset":
        return calc_spoofcheck(self._state.network, [(self._port, self._mac)])

    @property
    def _hint(self) -> str:
        return self._port

    def _calc_fault(self, seen: str) -> Fault:
        return find_missing_check(self._port, seen)

    def _note_in_record(self) -> None:
        if self._claim is not None:
            self._claim.note_port_rules(has_spoof_check=True)

    def _make(self, table: Nftables) -> None:
        """Check this port, and all others of the network if their check was flushed, unless it is paused."""
        from shibafu.bridge.resources.occupancy import find_lost_ports

        state, port = self._state, self._port
        # The first has nothing to add to, and to find that out is what a call of nft costs.
        is_first = len(state.attachments()) < 2 and not find_lost_ports(state, self._bridge, port)
        if is_first or not table.extend():
            from shibafu.resource.pause_file import is_paused

            others = [] if is_paused(state) else list_checked(state, besides=port)
            ports = [*others, (port, self._mac)]
            Nftables(calc_spoofcheck(state.network, ports), self._env).repair()

    def _is_needed(self) -> bool:
        from shibafu.bridge.resources.occupancy import is_in_use

        return is_in_use(self._state, self._bridge, self._port)


def find_missing_check(port: str, seen: str) -> Fault:
    """Return the fault of a port that has no check; `seen` says what is missing."""
    return Fault(
        f"the MAC spoof check of port {port} is missing",
        f"{seen}; the next ADD of this network restores it",
    )


def list_checked(state: NetworkState, besides: str = "") -> list[tuple[str, str]]:
    """Return the ports to check, as the records have them, and the address of each."""
    ports = []
    for link in state.attachments():
        record = state.read_attachment(link)
        if link != besides and record.has_spoof_check and record.mac and link_exists(link):
            ports.append((link, record.mac))
    return ports


def release_checks(
    state: NetworkState, bridge: str, ports: list[tuple[str, str]], env: "Mapping[str, str]"
) -> None:
    """Stop checking ports at once; with the network's last link goes the table.

    Args:
        state: the network's records.
        bridge: the bridge that the configuration names.
        ports: the ports, whose links are gone, each with its address.
        env: the environment.

    Raises:
        CniError: nft is not installed, or refused.
    """
    from shibafu.bridge.resources.occupancy import is_in_use

    ruleset = calc_spoofcheck(state.network, ports)
    remove_port_rules(state, ruleset, env, lambda: is_in_use(state, bridge))
    for port, _ in ports:
        state.remove_hint(port)
