"""Switching a bridge from one uplink to another when the first has died."""

import time

from shibafu.bridge.resources.active_uplink import (
    activate_uplink,
    list_uplinks,
    lock_uplinks,
    note_outage,
)
from shibafu.bridge.uplink_keys import ACTIVE_BACKUP
from shibafu.cni.errors import CniError
from shibafu.netlink.inet import ip_text
from shibafu.netlink.link import Link, link_by_name
from shibafu.netlink.neighbour import fdb_list_bridge
from shibafu.netlink.socket import NetlinkSocket
from shibafu.resource.pause_file import is_paused
from shibafu.resource.records import NetworkState
from shibafu.watch.arp_probe import announce
from shibafu.watch.backoff import NEVER
from shibafu.watch.carriers import Carriers
from shibafu.watch.gateway_probe import GatewayProbe, find_gateway
from shibafu.watch.kernel_uplinks import ACTIVE, BACKUP, DEAD, KernelUplinks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from shibafu.bridge.uplink_keys import UplinkKeys
    from shibafu.networks.configured import ConfiguredNetwork
    from shibafu.watch.journal import Journal

# Seconds between looks at carriers, and while an answer through another uplink is awaited.
_POLL = 0.03
_URGENT_POLL = 0.01
# Seconds between looks at which uplink is active, which others may change, too; also until what could not be
# done is tried again.
_LOOK = 0.5
# For how many seconds an uplink is passed over that could not be a port.
_PASSED_OVER = 5.0
# For how many seconds the preferred uplink has to work until it is active again, where that is wanted.
_PROVING = 30.0
# For how many seconds an uplink has to have a carrier, when all were dead, until this host may be a gateway
# for others again: nothing gets through at first, so that it would not hear the one that has become it.
_RETURNING = 2.0
# When, after a switch, other switches are told where MACs are, and of how many at most.
_ANNOUNCEMENTS = (0.0, 0.1, 0.5)
_MAX_MACS = 1000
# Seconds that a change by somebody else may take.
_PATIENCE = 0.2


class UplinkWatch:
    """Watches the uplinks of all bridges.

    Args:
        journal: takes what is done.
        is_dry_run: whether to log what would be done, and change nothing.
    """

    def __init__(self, journal: "Journal", is_dry_run: bool) -> None:
        self._journal = journal
        self._is_dry_run = is_dry_run
        self._bridges: dict[str, _BridgeUplinks | KernelUplinks] = {}

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
            if bridge is None or bridge.keys != keys:
                if bridge is not None:
                    bridge.close()
                bridge = self._make_watch(name, keys)
            bridge.networks = users
            self._bridges[name] = bridge
        for bridge in former.values():
            bridge.close()
        if former or wanted:
            self._report()

    def _make_watch(self, bridge: str, keys: "UplinkKeys") -> "_BridgeUplinks | KernelUplinks":
        if keys.mode == ACTIVE_BACKUP:
            return _BridgeUplinks(bridge, keys, self._journal, self._is_dry_run)
        return KernelUplinks(bridge, keys)

    def close(self) -> None:
        """End the watch; nobody would tell keepalived that an uplink works again."""
        for bridge in self._bridges.values():
            bridge.forget_outage()
            bridge.close()

    def look(self) -> None:
        """Do what is due."""
        is_changed = False
        for bridge in self._bridges.values():
            try:
                is_changed |= bridge.look(time.monotonic())
            except (CniError, OSError) as error:
                # Such as of a bridge that has just gone. Others are not to suffer from it.
                bridge.postpone(error)
                is_changed = True
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
        self._name = bridge
        self._journal = journal
        self._is_dry_run = is_dry_run
        self._sock = NetlinkSocket()
        self._reader = Carriers()
        self._probe = GatewayProbe(bridge, journal, self._sock, keys.probe)
        self._carriers: dict[str, bool] = {}
        # As of the last look: the bridge, the uplink that is its port, and those that belong to nobody.
        self._bridge: Link | None = None
        self._active = ""
        self._free: list[str] = []
        self._switches = 0
        # What keepalived has been told of them; None before that.
        self._has_outage: bool | None = None
        # Since when any of them has a carrier; NEVER while none has.
        self._alive_since = NEVER
        self._next_look = self._next_switch = self._next_work = 0.0
        # Until when uplinks are passed over that could not be a port.
        self._passed_over: dict[str, float] = {}
        # Since when the preferred uplink works, if it is not active; NEVER while it does not.
        self._preferred_since = NEVER
        self._announcements: list[tuple[float, str]] = []

    def close(self) -> None:
        """Close what is open."""
        self._probe.close()
        self._reader.close()
        self._sock.close()

    def describe(self) -> dict[str, object]:
        """Return the state as JSON."""
        links = [{"name": name, "state": self._find_state(name)} for name in self.keys.links]
        return {"bridge": self._name, "links": links, "switches": self._switches}

    def _find_state(self, name: str) -> str:
        # Until the first look, nothing is known to be dead.
        return DEAD if not self._carriers.get(name, True) else ACTIVE if name == self._active else BACKUP

    def postpone(self, error: CniError | OSError) -> None:
        """Look again later, since a look has failed."""
        self.due = time.monotonic() + _LOOK
        self._say(f"cannot look at the uplinks of bridge {self._name}: {error}")

    def look(self, now: float) -> bool:
        """Look at the carriers, ask for the gateway, and switch; return whether the state has changed."""
        self.due = now + _POLL
        # The usual case, thirty times a second: the others only matter once the active one is dead.
        is_alive = self._carriers.get(self._active, False)
        if now < self._next_work and is_alive and self._reader.has_carrier(self._active):
            return False
        has_changed = self._read_carriers()
        before = (self._active, self._switches)
        if now >= self._next_look or has_changed:
            self._next_look = now + _LOOK
            self._find_active()
            self._find_target()
        if self._bridge is None:
            self.due = self._next_look
        else:
            self._announce(now)
            self._probe.take_answers(self._active, self._list_proven(now))
            self._leave_dead_uplink(now)
            self._return_to_preferred(now)
            self._ask(now)
            self._tell_keepalived(now)
        self._next_work = self._calc_next_work(now)
        return has_changed or before != (self._active, self._switches)

    def _calc_next_work(self, now: float) -> float:
        """Return when there is more to do than to look at carriers, if these stay as they are."""
        due = [self._next_look, *(at for at, _ in self._announcements[:1])]
        if not self._carriers.get(self._active):
            due += [self._next_switch] if self._list_others(now) else []
        elif self._probe.target is not None:
            due.append(now if self._probe.is_urgent else self._probe.due)
        return min(due)

    def _read_carriers(self) -> bool:
        """Look at the carriers; return whether any has changed."""
        before = dict(self._carriers)
        for name in self.keys.links:
            has_carrier = self._reader.has_carrier(name)
            # The first time, only what is dead is worth a line.
            if has_carrier != self._carriers.get(name, True):
                what = "has a carrier again" if has_carrier else "has no carrier"
                self._journal.note(f"bridge {self._name}: uplink {name} {what}")
            self._carriers[name] = has_carrier
        return before != self._carriers

    def _find_active(self) -> list[Link]:
        """Find the uplink that is a port of the bridge, whether an ADD, a repair or a watcher made it one.

        Returns:
            The uplinks that belong to the bridge, or to nothing.
        """
        self._bridge = link_by_name(self._sock, self._name)
        index = self._bridge.index if self._bridge is not None else 0
        links = [link for link in self._find_links() if link.master in (0, index)]
        self._free = [link.name for link in links if not link.master]
        active = next((link.name for link in links if link.master), "")
        if active != self._active:
            self._active = active
            self._probe.restart()
            # ADD and `repair` tell no switches; nor did a watcher that has died.
            self._announce_soon()
        return links

    def _find_links(self) -> list[Link]:
        return list_uplinks(self._sock, self.keys.links)

    def _find_target(self) -> None:
        """Find out whom to ask for, where that is not stated: there is no gateway before a container."""
        if self._probe.target is None and self.keys.is_probed:
            try:
                self._probe.target = find_gateway(self.networks)
            except (CniError, OSError) as error:
                # Carriers are looked at nevertheless.
                self._say(f"cannot find the gateway to ask for: {error}")

    # Switching

    def _leave_dead_uplink(self, now: float) -> None:
        """Switch to another uplink if the active one has no carrier, or nobody answers through it."""
        others = self._list_others(now)
        if not self._carriers.get(self._active):
            why = f"{self._active} has no carrier" if self._active else "none was active"
            self._switch(now, others, why)
        elif self._probe.is_silent:
            answering = [name for name in others if self._probe.has_answered(name)]
            address = ip_text(self._probe.target or b"")
            self._switch(now, answering, f"{address} does not answer through {self._active}")

    def _list_others(self, now: float) -> list[str]:
        """Return the uplinks that could be active instead."""
        return [
            name for name in self._free if self._carriers[name] and now >= self._passed_over.get(name, 0.0)
        ]

    def _return_to_preferred(self, now: float) -> None:
        """Return to the preferred uplink, once it has worked for some time."""
        preferred = self.keys.links[0]
        if not self.keys.is_reselected or preferred not in self._free or not self._carriers[preferred]:
            self._preferred_since = NEVER
        elif self._preferred_since == NEVER:
            self._preferred_since = now
        elif self._list_proven(now) and (
            self._probe.target is None or (self._probe.is_answered and self._probe.has_answered(preferred))
        ):
            self._switch(now, [preferred], "it is preferred")

    def _ask(self, now: float) -> None:
        """Ask for the gateway, if it is time."""
        if self._probe.target is not None and self._carriers.get(self._active):
            others = self._list_others(now)
            self._probe.ask(now, self._active, others, self._list_proven(now))
            if self._probe.is_urgent and others:
                self.due = now + _URGENT_POLL

    def _tell_keepalived(self, now: float) -> None:
        """Have keepalived leave the gateway to another host while nobody can reach this one."""
        self._alive_since = min(self._alive_since, now) if any(self._carriers.values()) else NEVER
        is_dead = self._alive_since == NEVER or (
            self._has_outage is True and now - self._alive_since < _RETURNING
        )
        if is_dead != self._has_outage and not self._is_dry_run and self._shares_gateway():
            note_outage(self._name, is_dead)
            self._has_outage = is_dead

    def forget_outage(self) -> None:
        """Have keepalived take part again, if it does not."""
        if self._has_outage:
            try:
                note_outage(self._name, False)
            except (CniError, OSError) as error:
                self._say(f"cannot tell keepalived that nobody watches the uplinks: {error}")

    def _shares_gateway(self) -> bool:
        bridges = [network.bridge for network in self.networks]
        return any(bridge is not None and bridge.shared_gateway is not None for bridge in bridges)

    def _list_proven(self, now: float) -> list[str]:
        """Return the preferred uplink if it has had a carrier for long enough to be active again."""
        return [self.keys.links[0]] if now - self._preferred_since >= _PROVING else []

    def _switch(self, now: float, names: list[str], why: str) -> None:
        """Make the first uplink active that can be, unless somebody else has switched in the meantime."""
        if not names or now < self._next_switch:
            return
        self._next_switch = now + _LOOK
        if all(is_paused(NetworkState(network.name)) for network in self.networks):
            return
        if self._is_dry_run:
            self._say(f"would switch to uplink {names[0]}: {why}")
            return
        former, is_switched = self._active, False
        try:
            with lock_uplinks(self._name, _PATIENCE):
                links = self._find_active()
                if self._active == former:
                    is_switched = self._activate_first(links, names)
        except CniError as error:  # somebody else holds the lock
            self._say(f"cannot switch to uplink {names[0]}: {error}")
        if is_switched:
            self._next_switch = 0.0
            self._conclude_switch(why, time.monotonic() - now)

    def _activate_first(self, links: list[Link], names: "Iterable[str]") -> bool:
        """Make the first of some uplinks active that can be; return whether one is. The lock is held."""
        known = {link.name: link for link in links}
        for name in names:
            if self._bridge is None or name not in known:
                continue
            try:
                activate_uplink(self._sock, self._bridge, links, known[name])
            except OSError as error:
                self._passed_over[name] = time.monotonic() + _PASSED_OVER
                self._say(f"cannot switch to uplink {name}: {error}")
                continue
            self._active = name
            self._switches += 1
            return True
        return False

    def _conclude_switch(self, why: str, took: float) -> None:
        self._free = [name for name in self._free if name != self._active]
        self._next_look = 0.0
        self._probe.restart()
        self._announce_soon()
        self._announce(time.monotonic())
        self._journal.note(
            f"bridge {self._name}: uplink {self._active} is active now, since {why}; "
            f"switched in {took * 1000:.0f} ms"
        )

    def _announce_soon(self) -> None:
        if self._active and not self._is_dry_run:
            now = time.monotonic()
            self._announcements = [(now + delay, self._active) for delay in _ANNOUNCEMENTS]

    def _announce(self, now: float) -> None:
        """Tell the switches behind the active uplink where the MACs are that they have reached elsewhere."""
        while self._announcements and self._announcements[0][0] <= now:
            _, name = self._announcements.pop(0)
            if name == self._active and self._bridge is not None:
                try:
                    announce(name, self._list_macs(self._bridge))
                except OSError:
                    pass  # link or bridge are gone, or a queue is full: the next announcement follows

    def _list_macs(self, bridge: Link) -> list[bytes]:
        outside = {link.index for link in self._find_links()}
        learnt = fdb_list_bridge(self._sock, bridge.index)
        inside = (one.mac for one in learnt if not one.permanent and one.index not in outside)
        return list(dict.fromkeys([bridge.mac, *inside]))[:_MAX_MACS]

    def _say(self, what: str) -> None:
        self._journal.say(self.networks[0].name, what, time.monotonic())
