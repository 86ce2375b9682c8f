"""One router of the host: its link, its routes, and whether it answers."""

from errno import ENODEV

from shibafu.netlink.constants import AF_INET
from shibafu.netlink.errors import NetlinkError
from shibafu.netlink.inet import ip_text
from shibafu.netlink.link import Link, link_by_name
from shibafu.netlink.socket import NetlinkSocket
from shibafu.watch.arp_probe import ArpProbe
from shibafu.watch.routers.health import RouterHealth
from shibafu.watch.routers.host_routes import find_route_obstacle
from shibafu.watch.routers.router_settings import RAISE, RouterSettings
from shibafu.watch.solicitation_probe import SolicitationProbe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu.netlink.route import Route


class WatchedRouter:
    """A router, as of the last look.

    Args:
        settings: which one.

    Attributes:
        settings: likewise.
        health: whether it lives.
        link: that it is on; None if there is none.
        obstacle: why there can be no route to it, in words; empty if there can.
        shadow: whose route is used instead, in words; empty if nobody's is.
        was_alive: whether it lived when that was looked at last.
        is_raised: whether its route is to be behind all others.
        stated: the metric that its route was given last; 0 for none.
        takeovers: how often packets have been sent to it instead of to another one.
    """

    def __init__(self, settings: RouterSettings) -> None:
        self.settings = settings
        self.health = RouterHealth()
        self.link: Link | None = None
        self.obstacle = ""
        self.shadow = ""
        self.was_alive = True
        self.is_raised = False
        self.stated = 0
        self.takeovers = 0
        self._routes: list[Route] | None = None
        self._probe: ArpProbe | SolicitationProbe | None = None

    def __str__(self) -> str:
        return str(self.settings)

    @property
    def metric(self) -> int:
        """The metric that its route has to have: a higher one while another router is used instead."""
        return self.settings.metric + (RAISE if self.is_raised else 0)

    @property
    def routes(self) -> "list[Route]":
        """The watcher's own routes to it, the best first."""
        return self._routes or []

    @property
    def has_route(self) -> bool:
        """Whether it has the route that it has to have."""
        return any(route.priority == self.metric for route in self.routes)

    def find_link(self, sock: NetlinkSocket) -> None:
        """Look for its link, and whether there can be a route.

        Raises:
            NetlinkError: the kernel refuses.
        """
        former, self.link = self.link, link_by_name(sock, self.settings.dev)
        try:
            self.obstacle = find_route_obstacle(sock, self.settings, self.link)
        except NetlinkError as error:
            if error.errno != ENODEV:
                raise
            # It has gone since.
            self.link = None
            self.obstacle = find_route_obstacle(sock, self.settings, None)
        if self.obstacle:
            # The kernel deletes the routes of a link that is down.
            self.stated = 0
        if _identify(former) != _identify(self.link):
            self.close()

    def keep_routes(self, routes: "list[Route]") -> None:
        """Note which own routes to it there are; the first time, an earlier watcher may have left them."""
        if self._routes is None:
            self.is_raised = any(route.priority >= RAISE for route in routes)
            self.was_alive = not self.is_raised
            self.health = RouterHealth(self.was_alive)
        self._routes = routes

    def take_answer(self) -> None:
        """Note whether it has answered since the last call."""
        if self._probe is not None and self._probe.take_answer():
            self.health.note_answer()

    def ask(self) -> None:
        """Ask whether it is there."""
        self.health.note_question()
        if not self.health.is_connected or self.link is None:
            return
        try:
            self._probe = self._probe or _open_probe(self.settings, self.link)
        except OSError:
            return  # the link has just gone
        self._probe.ask()

    def explain(self) -> str:
        """Say what is the matter with it, as the end of a sentence."""
        if self.obstacle:
            return f"cannot be used: {self.obstacle}"
        if not self.health.is_connected:
            return "has no carrier"
        return "works again" if self.health.is_alive else "does not answer"

    def close(self) -> None:
        """Close what is open."""
        if self._probe is not None:
            self._probe.close()
        self._probe = None


def calc_router_state(router: WatchedRouter, active: WatchedRouter | None) -> dict[str, object]:
    """Return the state of a router as JSON.

    Args:
        router: which one.
        active: the one that packets are sent to.
    """
    is_alive = router.health.is_alive
    return {
        "gateway": ip_text(router.settings.gateway),
        "link": router.settings.dev,
        "metric": router.metric,
        "state": "dead" if not is_alive else "active" if router is active else "backup",
        "takeovers": router.takeovers,
        "problem": router.obstacle or router.shadow,
    }


def _identify(link: Link | None) -> object:
    return (link.index, link.mac) if link is not None else None


def _open_probe(settings: RouterSettings, link: Link) -> ArpProbe | SolicitationProbe:
    if settings.family == AF_INET:
        return ArpProbe(link.name, link.mac, settings.gateway, is_port=False)
    return SolicitationProbe(link.name, link.index, link.mac, settings.gateway)
