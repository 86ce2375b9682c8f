"""Asking whether the gateway answers through a bridge's uplinks."""

from shibafu.lean.ip import parse_address
from shibafu.netlink.inet import ip_text
from shibafu.netlink.link import link_by_name
from shibafu.netlink.socket import NetlinkSocket
from shibafu.resource.records import NetworkState
from shibafu.watch.arp_probe import ArpProbe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from shibafu.networks.configured import ConfiguredNetwork
    from shibafu.watch.journal import Journal

# Seconds between two requests, and which one in a row without an answer goes out of the others, too.
_PERIOD = 0.1
_MISSES = 3


class GatewayProbe:
    """Asks for an address through the active uplink of a bridge, and through others while nobody answers.

    Args:
        bridge: the bridge's name.
        journal: takes what is found out.
        sock: a socket of the namespace.
        target: the IPv4 address, packed; None where nothing is to be asked for yet.
    """

    def __init__(self, bridge: str, journal: "Journal", sock: NetlinkSocket, target: bytes | None) -> None:
        self.target = target
        self._bridge = bridge
        self._journal = journal
        self._sock = sock
        self._probes: dict[str, ArpProbe] = {}
        # Through which of them the last request was answered.
        self._answered: set[str] = set()
        self._misses = 0
        self._is_gateway_lost = False
        self._next = 0.0

    @property
    def is_silent(self) -> bool:
        """Whether nobody has answered through the active uplink for some time."""
        return self._misses >= _MISSES

    @property
    def is_urgent(self) -> bool:
        """Whether an answer through another uplink is awaited, to switch to it."""
        return _MISSES <= self._misses <= 2 * _MISSES

    @property
    def is_answered(self) -> bool:
        """Whether the active uplink works: the answer to the last request may be on its way."""
        return self._misses <= 1

    @property
    def due(self) -> float:
        """When to ask next, on the monotonic clock."""
        return self._next

    def has_answered(self, name: str) -> bool:
        """Return whether the last request through an uplink was answered."""
        return name in self._answered

    def take_answers(self, active: str, always: "Collection[str]" = ()) -> None:
        """Take the answers that have come.

        Args:
            active: the active uplink.
            always: those to ask through, besides, also while there are answers through that.
        """
        self._answered |= {name for name, probe in self._probes.items() if probe.take_answer()}
        if active in self._answered:
            self._forget_misses(active)
            self._close_except({active, *always})

    def ask(self, now: float, active: str, others: "Iterable[str]", always: "Collection[str]" = ()) -> None:
        """Ask, if it is time.

        Args:
            now: the time, on the monotonic clock.
            active: the active uplink.
            others: those to ask through while nobody answers through that.
            always: those to ask through in any case, besides.
        """
        if now < self._next:
            return
        self._next = now + _PERIOD
        # The first request is no miss.
        self._misses += active in self._probes
        self._say_lost()
        for name in dict.fromkeys([active, *always, *(others if self.is_silent else ())]):
            self._ask(name)

    def _ask(self, name: str) -> None:
        self._answered.discard(name)
        if name not in self._probes:
            link = link_by_name(self._sock, name)
            if link is None or self.target is None:
                return
            try:
                self._probes[name] = ArpProbe(name, link.mac, self.target)
            except OSError:
                return  # it has just gone
        self._probes[name].ask()

    def _say_lost(self) -> None:
        """Say, once, that nobody answers through any uplink: then it is not the uplink's fault."""
        if not self._is_gateway_lost and self._misses > 2 * _MISSES:
            self._is_gateway_lost = True
            address = ip_text(self.target or b"")
            self._journal.note(f"bridge {self._bridge}: {address} does not answer through any uplink")

    def _forget_misses(self, active: str) -> None:
        if self._is_gateway_lost:
            address = ip_text(self.target or b"")
            self._journal.note(f"bridge {self._bridge}: {address} answers again through {active}")
        self._misses, self._is_gateway_lost = 0, False

    def restart(self) -> None:
        """Forget what was answered: another uplink is active."""
        self._misses, self._is_gateway_lost = 0, False
        self.close()

    def close(self) -> None:
        """Close what is open."""
        self._close_except(())

    def _close_except(self, names: "Collection[str]") -> None:
        for name in [name for name in self._probes if name not in names]:
            self._probes.pop(name).close()
            self._answered.discard(name)


def find_gateway(networks: "Iterable[ConfiguredNetwork]") -> bytes | None:
    """Return the IPv4 gateway of a container of networks, packed, where that is not the host itself.

    Raises:
        CniError: others could have forged the records.
        OSError: they cannot be read.
    """
    for network in networks:
        if network.bridge is None or network.bridge.is_gateway:
            continue
        state = NetworkState(network.name)
        for link in state.attachments()[:1]:
            ips = (state.read_attachment(link).result or {}).get("ips")
            for ip in ips if isinstance(ips, list) else ():
                gateway = _parse_gateway(ip.get("gateway") if isinstance(ip, dict) else None)
                if gateway is not None:
                    return gateway
    return None


def _parse_gateway(text: object) -> bytes | None:
    try:
        address = parse_address(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return address.packed if address is not None and address.version == 4 else None
