"""What the watcher has done, in lines of a log, and as a status for programs."""

import os
import time
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from shibafu.watch.backoff import Key

_REMEMBERED = 20
# Seconds until what is still wrong is said again.
_SAID_AGAIN = 600.0


class Journal:
    """What has been healed, what could not be, and what is left alone.

    Args:
        log: takes lines.
    """

    def __init__(self, log: "Callable[[str], None]") -> None:
        self._log = log
        self._said: dict[str, float] = {}
        self._counts: dict[tuple[str, str], int] = {}
        self._last: deque[dict[str, object]] = deque(maxlen=_REMEMBERED)
        self._contested: dict[Key, str] = {}
        self._lost: dict[tuple[str, str], str] = {}
        self._gateways: dict[str, bool] = {}
        self._duplicates: dict[str, list[dict[str, object]]] = {}
        self._uplinks: list[dict[str, object]] = []
        self._routers: list[dict[str, object]] = []
        self._router_mistakes: list[str] = []
        self.started = time.time()
        # Whether the status has changed.
        self.is_changed = True

    def note(self, line: str) -> None:
        """Log a line."""
        self._log(line)

    def heal(self, network: str, kind: str, title: str, what: str, culprit: str, seconds: float) -> None:
        """Note that something is as it was.

        Args:
            network: whose.
            kind: the name of the resource's class.
            title: the resource.
            what: was wrong with it.
            culprit: who has changed something last; empty where that is unknown.
            seconds: from the first announcement until now.
        """
        cause = f"{what}; changed by {culprit}" if culprit else what
        self._log(f"network {network}: healed {title} ({cause}) in {seconds * 1000:.0f} ms")
        self._counts[network, kind] = self._counts.get((network, kind), 0) + 1
        self._last.append(
            {
                "time": round(time.time(), 3),
                "network": network,
                "resource": kind,
                "title": title,
                "what": what,
                "culprit": culprit,
                "seconds": round(seconds, 4),
            }
        )
        self.is_changed = True

    def say(self, network: str, what: str, now: float) -> None:
        """Log what is wrong with a network, unless that was said a short time ago."""
        self.remind(f"network {network}: {what}", now)

    def remind(self, line: str, now: float) -> None:
        """Log a line, unless that was done a short time ago."""
        last = self._said.get(line)
        if last is None or now - last >= _SAID_AGAIN:
            self._said[line] = now
            self._log(line)

    def contest(self, network: str, what: str, culprit: str) -> None:
        """Note that something is left alone, since somebody takes it away again and again."""
        if (network, what) not in self._contested:
            self._contested[network, what] = culprit
            whom = f", last by {culprit}" if culprit else ""
            self._log(f"network {network}: contested, no longer healed: {what}{whom}")
            self.is_changed = True

    def settle(self, contested: "Iterable[Key]") -> None:
        """Forget what is no longer contested; the rest is."""
        rest = {key: self._contested[key] for key in contested if key in self._contested}
        self.is_changed |= rest.keys() != self._contested.keys()
        self._contested = rest

    def lose(self, network: str, link: str, what: str) -> None:
        """Note what cannot be healed, since the container's end of a cable is gone, too."""
        if (network, link) not in self._lost:
            self._lost[network, link] = what
            self._log(f"network {network}: lost: {what}")
            self.is_changed = True

    def keep_lost(self, network: str, links: "Collection[str]", found: "Collection[str]") -> None:
        """Forget what is no longer lost of a network.

        Args:
            network: the network.
            links: those of its containers.
            found: those that have just been seen.
        """
        lost = [key for key in self._lost if key[0] == network]
        gone = [key for key in lost if key[1] not in links or key[1] in found]
        for key in gone:
            del self._lost[key]
            self.is_changed = True

    def place_gateway(self, network: str, is_here: bool) -> None:
        """Note whether this host has the gateway of a network that several hosts share."""
        former = self._gateways.get(network)
        if former is is_here:
            return
        self._gateways[network] = is_here
        self.is_changed = True
        if former is not None:
            what = "has become" if is_here else "is no longer"
            self._log(f"network {network}: this host {what} the gateway")

    def keep_gateways(self, networks: "Collection[str]") -> None:
        """Forget the gateways of all other networks."""
        rest = {network: is_here for network, is_here in self._gateways.items() if network in networks}
        self.is_changed |= len(rest) != len(self._gateways)
        self._gateways = rest

    def keep_duplicates(self, network: str, duplicates: "list[dict[str, object]]") -> None:
        """Note which addresses of this host others have, too, where hosts share a network's gateway."""
        self.is_changed |= duplicates != self._duplicates.get(network, [])
        self._duplicates[network] = duplicates

    def keep_uplinks(self, uplinks: "list[dict[str, object]]") -> None:
        """Note the state of the bridges' uplinks."""
        self.is_changed |= uplinks != self._uplinks
        self._uplinks = uplinks

    def keep_routers(self, routers: "list[dict[str, object]]") -> None:
        """Note the state of the host's routers."""
        self.is_changed |= routers != self._routers
        self._routers = routers

    def keep_router_mistakes(self, mistakes: "list[str]") -> None:
        """Log what is wrong with the file of the host's routers, and note it until it is put right."""
        for line in mistakes:
            self.note(f"routers: {line}")
        self.is_changed |= mistakes != self._router_mistakes
        self._router_mistakes = mistakes

    def describe(self) -> dict[str, object]:
        """Return the status as JSON."""
        return {
            "running": True,
            "pid": os.getpid(),
            "started": round(self.started, 3),
            "heals": [
                {"network": network, "resource": kind, "count": count}
                for (network, kind), count in sorted(self._counts.items())
            ],
            "last": list(self._last),
            "contested": [
                {"network": network, "what": what, "culprit": culprit}
                for (network, what), culprit in sorted(self._contested.items())
            ],
            "lost": [{"network": network, "what": what} for (network, _), what in sorted(self._lost.items())],
            "gateways": [
                {"network": network, "here": is_here, "duplicates": self._duplicates.get(network, [])}
                for network, is_here in sorted(self._gateways.items())
            ],
            "uplinks": self._uplinks,
            "routers": self._routers,
            "routerMistakes": self._router_mistakes,
        }
