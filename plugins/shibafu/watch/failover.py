"""Switching a bridge from one uplink to another when the first has died."""

import socket
import time

from shibafu.bridge.resources.active_uplink import activate_uplink, lock_uplinks
from shibafu.cni.errors import CniError
from shibafu.lean.ip import parse_address
from shibafu.netlink.inet import ip_text
from shibafu.netlink.link import Link, link_by_name
from shibafu.netlink.neighbour import fdb_list_bridge
from shibafu.netlink.socket import NetlinkSocket
from shibafu.resource.pause import is_paused
from shibafu.resource.records import NetworkState
from shibafu.watch.arp_probe import ArpProbe, calc_arp_request
from shibafu.watch.backoff import NEVER
from shibafu.watch.carriers import Carriers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from shibafu.bridge.uplink_keys import UplinkKeys
    from shibafu.networks.configured import ConfiguredNetwork
    from shibafu.watch.journal import Journal

# Seconds between looks at carriers, and while an answer through another uplink is awaited.
_POLL = 0.02
_SOON = 0.01
# Seconds between two requests, and which one in a row without an answer goes out of the others, too.
_PROBE = 0.1
_MISSES = 3
# Seconds between looks at which uplink is active, which others may change, too.
_LOOK = 0.5
# For how many seconds the preferred uplink has to work until it is active again, where that is wanted.
_PROVEN = 30.0
# When, after a switch, other switches are told where MACs are, and about how many at most.
_ANNOUNCEMENTS = (0.0, 0.1, 0.5)
_MOST = 1000
# Seconds that a change by somebody else may take.
_PATIENCE = 0.2

ACTIVE, BACKUP, DEAD = "active", "backup", "dead"


class UplinkWatch:
    """Watches the uplinks of all bridges.

    Args:
        journal: takes what is done.
        is_dry_run: whether to say only what would be.
    """

    def __init__(self, journal: "Journal", is_dry_run: bool) -> None:
        self._journal = journal
        self._is_dry_run = is_dry_run
        self._bridges: dict[str, _BridgeUplinks] = {}

    @property
    def due(self) -> float:
        """When `look` has something to do, on the monotonic clock; perhaps NEVER."""
        return min((one.due for one in self._bridges.values()), default=NEVER)

    def follow(self, networks: "Mapping[str, ConfiguredNetwork]") -> None:
        """Watch the bridges of these networks, and no others."""
        wanted: dict[str, tuple[UplinkKeys, list[ConfiguredNetwork]]] = {}
        for network in networks.values():
            keys = network.bridge.uplinks if network.bridge is not None else None
            if network.bridge is not None and keys is not None and "bridge" in network.bridge.watch:
                wanted.setdefault(network.bridge.bridge, (keys, []))[1].append(network)
        former, self._bridges = self._bridges, {}
        for name, (keys, users) in wanted.items():
            bridge = former.pop(name, None)
            if bridge is None or bridge.keys is not keys:
                if bridge is not None:
                    bridge.close()
                bridge = _BridgeUplinks(name, keys, self._journal, self._is_dry_run)
            bridge.networks = users
            self._bridges[name] = bridge
        for bridge in former.values():
            bridge.close()
        if former or wanted:
            self._report()

    def look(self) -> None:
        """Do what is due."""
        is_changed = False
        for bridge in self._bridges.values():
            is_changed |= bridge.look(time.monotonic())
        if is_changed:
            self._report()

    def _report(self) -> None:
        self._journal.keep_uplinks([bridge.describe() for bridge in self._bridges.values()])


class _BridgeUplinks:
    """The uplinks of one bridge; see `UplinkWatch`."""

    def __init__(self, bridge: str, keys: "UplinkKeys", journal: "Journal", is_dry_run: bool) -> None:
        self.keys = keys
        self.networks: list[ConfiguredNetwork] = []
        self.due = 0.0
        self._bridge = bridge
        self._journal = journal
        self._is_dry_run = is_dry_run
        self._sock = NetlinkSocket()
        self._reader = Carriers()
        self._carriers: dict[str, bool] = {}
        self._active = ""
        self._switches = 0
        self._target = keys.probe
        self._probes: dict[str, ArpProbe] = {}
        self._misses = 0
        self._is_forsaken = False
        self._next_look = self._next_probe = 0.0
        # Since when the preferred uplink works, if it is not active; NEVER while it does not.
        self._proven = NEVER
        self._announcements: list[tuple[float, str]] = []

    def close(self) -> None:
        """Close what is open."""
        self._sock.close()
        self._close_probes()

    def describe(self) -> dict[str, object]:
        """Return the state as JSON."""
        links = [{"name": name, "state": self._find_state(name)} for name in self.keys.links]
        return {"bridge": self._bridge, "links": links, "switches": self._switches}

    def _find_state(self, name: str) -> str:
        # Until the first look, nothing is known to be dead.
        return DEAD if not self._carriers.get(name, True) else ACTIVE if name == self._active else BACKUP

    def look(self, now: float) -> bool:
        """Look at the carriers, ask for the gateway, and switch; return whether the state has changed."""
        before = (self._active, dict(self._carriers), self._switches)
        self.due = now + _POLL
        self._read_carriers()
        if now >= self._next_look or before[1] != self._carriers:
            self._next_look = now + _LOOK
            self._find_active()
        self._announce(now)
        others = [name for name in self.keys.links if self._carriers[name] and name != self._active]
        if not self._carriers.get(self._active):
            if others:
                why = f"{self._active} has no carrier" if self._active else "none was active"
                self._switch(others[0], why)
        elif self._is_due_for_probe(now) or self._misses >= _MISSES:
            self._probe(now, others)
        self._reselect(now)
        return before != (self._active, self._carriers, self._switches)

    def _read_carriers(self) -> None:
        for name in self.keys.links:
            has_carrier = self._reader.has_carrier(name)
            # The first time, only what is dead is worth a line.
            if has_carrier != self._carriers.get(name, True):
                what = "has a carrier again" if has_carrier else "has no carrier"
                self._journal.note(f"bridge {self._bridge}: uplink {name} {what}")
            self._carriers[name] = has_carrier

    def _find_active(self) -> None:
        """Look which uplink is a port of the bridge; the resource has made it so, or another watcher."""
        bridge = link_by_name(self._sock, self._bridge)
        ports = [
            link.name for link in self._find_links() if bridge is not None and link.master == bridge.index
        ]
        active = ports[0] if ports else ""
        if active != self._active:
            self._active = active
            self._forget_answers()
        if self._target is None and self.keys.is_probed:
            self._target = self._find_gateway()

    def _find_links(self) -> list[Link]:
        return [link for name in self.keys.links if (link := link_by_name(self._sock, name)) is not None]

    def _find_gateway(self) -> bytes | None:
        """Return the gateway of a container, where that is not the host itself."""
        for network in self.networks:
            if network.bridge is None or network.bridge.is_gateway:
                continue
            state = NetworkState(network.name)
            for link in state.attachments()[:1]:
                ips = (state.read_attachment(link).result or {}).get("ips")
                for ip in ips if isinstance(ips, list) else ():
                    gateway = ip.get("gateway") if isinstance(ip, dict) else None
                    address = parse_address(gateway) if isinstance(gateway, str) and gateway else None
                    if address is not None and address.version == 4:
                        return address.packed
        return None

    # Asking for the gateway

    def _is_due_for_probe(self, now: float) -> bool:
        return self._target is not None and bool(self._active) and now >= self._next_probe

    def _probe(self, now: float, others: list[str]) -> None:
        """Ask through the active uplink; if nobody answers, through the others, until one gets an answer."""
        if self._take_answer(self._active):
            self._forget_misses()
        elif self._misses >= _MISSES:
            for name in others:
                if self._take_answer(name):
                    self._switch(
                        name, f"{ip_text(self._target or b'')} does not answer through {self._active}"
                    )
                    return
        if now >= self._next_probe:
            self._next_probe = now + _PROBE
            # The first request is no miss.
            self._misses += self._active in self._probes
            self._ask(self._active)
            if self._misses >= _MISSES:
                self._say_forsaken()
                for name in others:
                    self._ask(name)
        if self._misses >= _MISSES and others:
            self.due = now + (_SOON if self._misses <= 2 * _MISSES else _POLL)

    def _ask(self, name: str) -> None:
        if name not in self._probes:
            link = link_by_name(self._sock, name)
            if link is None or self._target is None:
                return
            try:
                self._probes[name] = ArpProbe(name, link.mac, self._target)
            except OSError:
                return  # it has just gone
        self._probes[name].ask()

    def _take_answer(self, name: str) -> bool:
        return name in self._probes and self._probes[name].take_answer()

    def _say_forsaken(self) -> None:
        """Say, once, that nobody answers through any uplink: then it is not the uplink's fault."""
        if not self._is_forsaken and self._misses > 2 * _MISSES:
            self._is_forsaken = True
            address = ip_text(self._target or b"")
            self._journal.note(f"bridge {self._bridge}: {address} does not answer through any uplink")

    def _forget_misses(self) -> None:
        if self._is_forsaken:
            address = ip_text(self._target or b"")
            self._journal.note(f"bridge {self._bridge}: {address} answers again through {self._active}")
        self._misses, self._is_forsaken = 0, False
        for name in [name for name in self._probes if name != self._active]:
            self._probes.pop(name).close()

    def _forget_answers(self) -> None:
        self._misses, self._is_forsaken = 0, False
        self._close_probes()

    def _close_probes(self) -> None:
        for probe in self._probes.values():
            probe.close()
        self._probes = {}

    # Switching

    def _reselect(self, now: float) -> None:
        """Return to the preferred uplink, once it has worked for some time."""
        preferred = self.keys.links[0]
        if not self.keys.is_reselected or preferred == self._active or not self._carriers[preferred]:
            self._proven = NEVER
        elif self._proven == NEVER:
            self._proven = now
        elif now - self._proven >= _PROVEN and self._misses <= 1:  # the answer to the last may be on its way
            if self._target is None or self._take_answer(preferred):
                self._switch(preferred, "it is preferred")
            elif self._active in self._probes:
                self._ask(preferred)

    def _switch(self, name: str, why: str) -> None:
        """Make another uplink active, if it is still so that it should be."""
        if all(is_paused(NetworkState(network.name)) for network in self.networks):
            return
        if self._is_dry_run:
            self._journal.say(
                self.networks[0].name, f"would switch to uplink {name}: {why}", time.monotonic()
            )
            return
        began = time.monotonic()
        try:
            with lock_uplinks(self._bridge, _PATIENCE):
                former = self._active
                self._find_active()
                bridge = link_by_name(self._sock, self._bridge)
                links = [link for link in self._find_links() if bridge and link.master in (0, bridge.index)]
                chosen = next((link for link in links if link.name == name), None)
                if bridge is None or chosen is None or former != self._active:
                    return
                activate_uplink(self._sock, bridge, links, chosen)
        except (CniError, OSError) as error:
            self._journal.say(
                self.networks[0].name, f"cannot switch to uplink {name}: {error}", time.monotonic()
            )
            return
        self._active = name
        self._switches += 1
        self._forget_answers()
        now = time.monotonic()
        self._announcements = [(now + delay, name) for delay in _ANNOUNCEMENTS]
        self._announce(now)
        took = (now - began) * 1000
        self._journal.note(
            f"bridge {self._bridge}: uplink {name} is active now, since {why}; switched in {took:.0f} ms"
        )

    def _announce(self, now: float) -> None:
        """Tell the switches behind the active uplink where the MACs are that they have reached elsewhere."""
        while self._announcements and self._announcements[0][0] <= now:
            _, name = self._announcements.pop(0)
            if name == self._active:
                self._send_announcements(name)

    def _send_announcements(self, name: str) -> None:
        bridge = link_by_name(self._sock, self._bridge)
        if bridge is None:
            return
        outside = {link.index for link in self._find_links()}
        learnt = fdb_list_bridge(self._sock, bridge.index)
        inside = (one.mac for one in learnt if not one.permanent and one.index not in outside)
        macs = list(dict.fromkeys([bridge.mac, *inside]))[:_MOST]
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0) as sock:
            try:
                sock.bind((name, 0))
                for mac in macs:
                    sock.send(calc_arp_request(mac))
            except OSError:
                pass  # the link is gone again, or its queue is full: the next announcement follows
