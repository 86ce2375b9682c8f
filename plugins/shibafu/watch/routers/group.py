"""The routers of one family: which of them the default route leads to."""

import time
from errno import EEXIST, ENODEV, ESRCH

from shibafu.netlink.constants import AF_INET
from shibafu.netlink.errors import NetlinkError
from shibafu.netlink.socket import NetlinkSocket
from shibafu.networks.text import format_count
from shibafu.watch.backoff import NEVER, Backoff
from shibafu.watch.carriers import Carriers
from shibafu.watch.routers.health import calc_raised
from shibafu.watch.routers.host_routes import (
    DefaultRoutes,
    describe_route,
    make_default_route,
    remove_default_route,
)
from shibafu.watch.routers.linkdown import LinkdownSwitches
from shibafu.watch.routers.masqueraded_flows import forget_flows
from shibafu.watch.routers.router_settings import RouterSettings
from shibafu.watch.routers.watched_router import WatchedRouter, calc_router_state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu.watch.journal import Journal

# Seconds between two questions.
_PERIOD = 0.1


class RouterGroup:
    """The routers of one family.

    Args:
        family: AF_INET or AF_INET6.
        switches: those of links.
        journal: takes what is done.
        is_dry_run: whether to log what would be done, and change nothing.
    """

    def __init__(self, family: int, switches: LinkdownSwitches, journal: "Journal", is_dry_run: bool) -> None:
        self._family = family
        self._version = 4 if family == AF_INET else 6
        self._sock = NetlinkSocket()
        self._carriers = Carriers()
        self._switches = switches
        self._journal = journal
        self._is_dry_run = is_dry_run
        self._backoff = Backoff()
        self._routers: list[WatchedRouter] = []
        self._defaults = DefaultRoutes(self._sock, family)
        # The one that packets are sent to, unless others' routes are preferred; and the last one of which
        # that was told: the kernel deletes routes, too.
        self._active: WatchedRouter | None = None
        self._announced: WatchedRouter | None = None
        # Links whose switch was set.
        self._switched: set[str] = set()
        self._next_question = 0.0
        # When routes are to be compared with what they have to be.
        self._next_comparison = 0.0

    def close(self) -> None:
        """Close what is open."""
        for router in self._routers:
            router.close()
        self._carriers.close()
        self._sock.close()

    def list_links(self) -> list[int]:
        """Return the numbers of the routers' links; 0 for one that does not exist."""
        return [router.link.index if router.link is not None else 0 for router in self._routers]

    def describe(self) -> list[dict[str, object]]:
        """Return the state as JSON."""
        return [calc_router_state(router, self._active) for router in self._routers]

    def follow(self, settings: list[RouterSettings]) -> None:
        """Watch these routers, and no others; of those that stay is known what was known before."""
        former = {(router.settings.gateway, router.settings.dev): router for router in self._routers}
        routers = []
        for one in settings:
            router = former.pop((one.gateway, one.dev), None) or WatchedRouter(one)
            if router.settings != one:
                router.settings, router.stated = one, 0
            routers.append(router)
        for router in former.values():
            router.close()
        self._routers = routers
        self._backoff = Backoff()

    # Looking

    def refresh(self) -> None:
        """Look at links, switches and routes, since something has changed.

        Raises:
            OSError: the kernel refuses.
        """
        self._next_comparison = 0.0
        for router in self._routers:
            router.find_link(self._sock)
            if router.obstacle:
                self._remind(f"{router} cannot be used: {router.obstacle}")
            if router.link is not None:
                self._ensure_switch(router.settings.dev)
        self._read_routes()

    def look(self, now: float) -> None:
        """Look at carriers and answers, change routes, and ask again.

        Raises:
            OSError: the kernel refuses.
        """
        former = [router.is_raised for router in self._routers]
        is_lost = False
        for router in self._routers:
            was_connected = router.health.is_connected
            has_carrier = self._carriers.has_carrier(router.settings.dev)
            router.health.note_connection(not router.obstacle and has_carrier)
            is_lost |= was_connected and not router.health.is_connected
            router.take_answer()
        if is_lost:
            # Perhaps with its link, of which the kernel tells later.
            self.refresh()
        raised = calc_raised([router.health for router in self._routers], former)
        for router, is_raised in zip(self._routers, raised, strict=True):
            router.is_raised = is_raised
        told = None
        if now >= self._next_comparison or raised != former:
            told = self._switch(now)
        self._tell(told)
        if now >= self._next_question:
            self._next_question = now + _PERIOD
            for router in self._routers:
                router.ask()

    def _tell(self, told: WatchedRouter | None) -> None:
        """Say which routers have died or live again, apart from one of which that was told."""
        changed = [router for router in self._routers if router.health.is_alive != router.was_alive]
        for router in changed:
            router.was_alive = router.health.is_alive
            if router is not told and not router.obstacle:
                self._note(f"{router} {router.explain()}")
        if changed and not any(router.was_alive for router in self._routers):
            self._note("all are dead, so nothing is changed")

    # Changing

    def _ensure_switch(self, dev: str) -> None:
        """Have the kernel pass over routes through a link without a carrier."""
        if self._switches.is_on(self._version, dev):
            return
        what = f"ignore_routes_with_linkdown of link {dev} for IPv{self._version}"
        if self._is_dry_run:
            self._remind(f"would set {what}")
        elif self._is_due(what, dev in self._switched):
            try:
                self._switches.turn_on(self._version, dev)
            except OSError as error:
                self._remind(f"cannot set {what}: {error}")
                return
            self._note(f"set {what} again" if dev in self._switched else f"set {what}")
            self._switched.add(dev)

    def _switch(self, now: float) -> WatchedRouter | None:
        """Make routes what they have to be; return the router of which the log tells why."""
        self._next_comparison = NEVER
        self._make_routes()
        self._remove_routes()
        if self._active is None:
            return None
        former, self._announced = self._announced, self._active
        if former is None or former is self._active:
            return None
        self._active.takeovers += 1
        # It was left because it died, or for a better one that works again.
        cause = former if former in self._routers and not former.health.is_alive else self._active
        forgotten = self._forget_flows(former, self._active)
        why = f"{cause} {cause.explain()}" if cause is former else "it works and is preferred"
        self._note(
            f"{self._active} is active now, since {why}; "
            f"switched in {(time.monotonic() - now) * 1000:.0f} ms{forgotten}"
        )
        return cause

    def _make_routes(self) -> None:
        """Add the routes that are missing, before those that they replace go."""
        # Of two own routes with one metric, the one that no router has any more is replaced.
        own, others = (
            {route.priority for route in routes} for routes in (self._defaults.own, self._defaults.others)
        )
        for router in self._routers:
            if router.has_route or router.obstacle or router.link is None:
                continue
            what = f"default route via {router} metric {router.metric}"
            if self._is_dry_run:
                self._remind(f"would add {what}")
                continue
            is_lost = router.stated == router.metric
            if not self._is_due(what, is_lost):
                continue
            try:
                replaces = router.metric in own - others
                self._sock.request(make_default_route(router.settings, router.link, router.metric, replaces))
            except NetlinkError as error:
                taken = "another default route has this metric" if error.errno == EEXIST else str(error)
                self._remind(f"cannot add {what}: {taken}")
                continue
            if is_lost or not router.routes:
                self._note(f"added {what}{' again' if is_lost else ''}")
            router.stated = router.metric
        self._read_routes()

    def _remove_routes(self) -> None:
        """Remove own routes that no router has, or that have been replaced."""
        kept = [
            route
            for router in self._routers
            for route in router.routes
            if route.priority == router.metric or not router.has_route
        ]
        gone = [route for route in self._defaults.own if route not in kept]
        if self._is_dry_run or not gone:
            for route in gone:
                self._remind(f"would remove default route {describe_route(route)}")
            return
        self._sock.request_all([remove_default_route(route).ignoring(ESRCH, ENODEV) for route in gone])
        self._read_routes()

    def _read_routes(self) -> None:
        self._defaults = DefaultRoutes(self._sock, self._family)
        for router in self._routers:
            router.keep_routes(self._defaults.list_own(router.settings, router.link))
            router.shadow = ""
        best = min(
            (router for router in self._routers if router.routes),
            key=lambda router: router.routes[0].priority,
            default=None,
        )
        better = self._defaults.find_better(best.routes[0].priority) if best is not None else None
        if best is not None and better is not None:
            best.shadow = f"not used, since another default route is preferred: {describe_route(better)}"
            self._remind(f"{best} is {best.shadow}")
            best = None
        self._active = best

    def _forget_flows(self, former: WatchedRouter, active: WatchedRouter) -> str:
        """Forget connections that were masqueraded for the former way; return that as words."""
        if self._is_dry_run or former.link is None or active.link is None:
            return ""
        try:
            count = forget_flows(self._sock, self._family, former.link.index, active.link.index)
        except NetlinkError as error:
            self._remind(f"cannot forget connections through {former}: {error}")
            return ""
        connections = format_count(count, "connection")
        return f", {connections} through {former.settings.dev} forgotten" if count else ""

    def _is_due(self, what: str, is_lost: bool) -> bool:
        """Return whether something is to be done now; what is undone again and again is left alone."""
        if not is_lost:
            return True
        now = time.monotonic()
        wait = self._backoff.calc_wait(("routers", what), now)
        if wait == NEVER:
            self._remind(f"contested, no longer restored: {what}")
        elif wait:
            self._next_comparison = min(self._next_comparison, now + wait)
        else:
            self._backoff.note(("routers", what), now)
        return not wait

    def _note(self, line: str) -> None:
        self._journal.note(f"routers: {line}")

    def _remind(self, line: str) -> None:
        self._journal.remind(f"routers: {line}", time.monotonic())
