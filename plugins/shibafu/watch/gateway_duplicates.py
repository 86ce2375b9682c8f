"""Detection of other hosts that have an address of this one: that of the shared gateway, or the host's own.

VRRP cannot notice it: two hosts that do not hear each other both become the gateway. But if they are on the
same segment, every host that has an address answers ARP requests for it. keepalived adds the gateway to the
bridge, and leaves the bridge its hardware address (no `use_vmac`), so each host answers with its own. The
gateway's IPv6 addresses move with its IPv4 address, so asking for the latter is enough.
"""

import time

from shibafu.netlink.address import addr_list
from shibafu.netlink.link import link_by_name
from shibafu.netlink.socket import NetlinkSocket
from shibafu.networks.gateway_place import Duplicate
from shibafu.watch.arp_probe import ArpProbe
from shibafu.watch.backoff import NEVER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from shibafu.bridge.config import BridgeConfig
    from shibafu.bridge.shared_gateway import SharedGateway
    from shibafu.networks.configured import ConfiguredNetwork
    from shibafu.watch.journal import Journal

# Seconds between two requests.
_PERIOD = 1.0
# While the gateway moves, two hosts may have it for some tenths of a second: a duplicate is reported after
# this many answers in a row, and counts as gone after as many requests without one.
_CERTAIN = 3
# Seconds in which an answer comes, and how often a single look asks.
_ANSWER = 0.1
_ATTEMPTS = 2


class DuplicateWatch:
    """Asks who has this host's addresses on the networks whose gateway hosts share.

    Args:
        journal: takes what is found.
    """

    def __init__(self, journal: "Journal") -> None:
        self._journal = journal
        self._questions: dict[str, _Question] = {}
        self._answers: dict[str, dict[Duplicate, int]] = {}
        self._next = NEVER

    @property
    def due(self) -> float:
        """When `look` has something to do, on the monotonic clock; perhaps NEVER."""
        return self._next

    def follow(self, networks: "Mapping[str, ConfiguredNetwork]") -> None:
        """Ask for the addresses of these networks, and no others."""
        former, self._questions = self._questions, {}
        for name, network in networks.items():
            question = _ask_about(network)
            if question is None:
                continue
            if name in former:
                former[name].config, former[name].shared = question.config, question.shared
                question = former.pop(name)
            self._questions[name] = question
        for name, question in former.items():
            question.close()
            self._answers.pop(name, None)
        if not self._questions:
            self._next = NEVER
        elif self._next == NEVER:
            self._next = time.monotonic()

    def look(self) -> None:
        """Take the answers to the last requests, and ask again, if it is time."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _PERIOD
        with NetlinkSocket() as sock:
            for name, question in self._questions.items():
                self._count(name, question)
                try:
                    question.ask(sock)
                except OSError:
                    question.close()  # the link is gone, or has just come

    def _count(self, network: str, question: "_Question") -> None:
        found = question.take_answers()
        former = self._answers.get(network, {})
        counts = {one: min(former.get(one, 0) + 1, 2 * _CERTAIN - 1) for one in found}
        counts |= {one: count - 1 for one, count in former.items() if one not in found and count > 1}
        self._answers[network] = counts
        certain = sorted(one for one, count in counts.items() if count >= _CERTAIN)
        for one in certain:
            if former.get(one, 0) < _CERTAIN:
                self._journal.note(f"network {network}: {one.describe()}; {one.advise()}")
        for one, count in former.items():
            if count >= _CERTAIN and one not in certain:
                self._journal.note(f"network {network}: {one.mac} no longer answers for {one.address}")
        self._journal.keep_duplicates(
            network,
            [{"address": one.address, "mac": one.mac, "gateway": one.is_gateway} for one in certain],
        )


def _ask_about(network: "ConfiguredNetwork") -> "_Question | None":
    """Return what to ask about a network whose gateway hosts share; None of any other."""
    config = network.bridge
    if config is None or config.shared_gateway is None:
        return None
    return _Question(config, config.shared_gateway)


def find_duplicates(network: "ConfiguredNetwork") -> list[Duplicate]:
    """Return which of this host's addresses on a network other hosts also have; it takes a moment.

    Args:
        network: the network; where hosts do not share its gateway, nobody is asked.

    Raises:
        OSError: the kernel refuses.
    """
    question = _ask_about(network)
    if question is None:
        return []
    found: set[Duplicate] = set()
    try:
        with NetlinkSocket() as sock:
            for _ in range(_ATTEMPTS):
                if not question.ask(sock):
                    break
                time.sleep(_ANSWER)
                found |= question.take_answers()
    finally:
        question.close()
    return sorted(found)


class _Question:
    """Who else has the addresses that this host has on one network?"""

    def __init__(self, config: "BridgeConfig", shared: "SharedGateway") -> None:
        self.config = config
        self.shared = shared
        # The number and the hardware address of the link that is asked through.
        self._link = (0, b"")
        self._probes: dict[str, ArpProbe] = {}

    def ask(self, sock: NetlinkSocket) -> bool:
        """Ask for each address that is here; return whether there is any.

        Raises:
            OSError: the link has just gone.
        """
        link = link_by_name(sock, self.config.gateway_link)
        if link is None or not link.up:
            self.close()
            return False
        if (link.index, link.mac) != self._link:
            self.close()
            self._link = (link.index, link.mac)
        present = {address.ip for address in addr_list(sock, link.index)}
        stated = [one.address for one in (*self.shared.gateways, *self.shared.host_ips) if one.version == 4]
        wanted = {str(one): one.packed for one in stated if one.packed in present}
        for text in self._probes.keys() - wanted.keys():
            self._probes.pop(text).close()
        for text, packed in wanted.items():
            if text not in self._probes:
                self._probes[text] = ArpProbe(link.name, link.mac, packed, is_port=False)
            self._probes[text].ask()
        return bool(wanted)

    def take_answers(self) -> set[Duplicate]:
        """Return the addresses that others have answered for."""
        own = self._link[1]
        gateways = [str(gateway.address) for gateway in self.shared.gateways]
        return {
            Duplicate(text, mac.hex(":"), text in gateways)
            for text, probe in self._probes.items()
            for mac in probe.take_senders()
            if mac != own
        }

    def close(self) -> None:
        """Close what is open."""
        for probe in self._probes.values():
            probe.close()
        self._probes.clear()
