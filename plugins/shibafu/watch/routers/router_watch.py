"""The host's routers: default routes that follow the routers that answer.

Nothing is done without a configuration, but for taking back what an earlier one had done.
"""

import os
import time

from shibafu.cni.errors import CniError
from shibafu.documents.errors import DocumentError
from shibafu.netlink.constants import AF_INET, AF_INET6
from shibafu.watch.routers.announcements import RouterEvents
from shibafu.watch.routers.group import RouterGroup
from shibafu.watch.routers.linkdown import LinkdownSwitches

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu.watch.journal import Journal
    from shibafu.watch.routers.router_settings import RouterSettings

# Seconds between looks at carriers, at the configuration, and at everything, announced or not.
_POLL, _RELOAD, _REFRESH = 0.02, 2.0, 30.0
# Seconds between two looks at links and routes, however much is announced.
_PAUSE = 0.1
# Seconds until what has failed is tried again.
_RETRY = 1.0


class RouterWatch:
    """Watches the host's routers.

    Args:
        path: the configuration; there may be none.
        journal: takes what is done.
        is_dry_run: whether to log what would be done, and change nothing.
    """

    def __init__(self, path: str, journal: "Journal", is_dry_run: bool) -> None:
        self._path = path
        self._journal = journal
        self._is_dry_run = is_dry_run
        self._file: object = ()
        self._switches: LinkdownSwitches | None = None
        self._events: RouterEvents | None = None
        self._groups: list[RouterGroup] = []
        self._next_reload = self._next_refresh = self._last_refresh = 0.0
        self.due = 0.0

    def look(self) -> None:
        """Do what is due."""
        now = time.monotonic()
        if now < self.due:
            return
        self.due = now + _POLL
        if now >= self._next_reload:
            self._next_reload = now + _RELOAD
            try:
                self._reload()
            except (CniError, OSError) as error:
                self._remind(error, now)
        if self._groups:
            self._look_at_routers(now)
        else:
            self.due = self._next_reload
        self._journal.keep_routers([router for group in self._groups for router in group.describe()])

    def close(self) -> None:
        """Stop watching; routes and switches stay."""
        for group in self._groups:
            group.close()
        if self._events is not None:
            self._events.close()
        self._groups, self._events = [], None

    def _look_at_routers(self, now: float) -> None:
        """Look at every group; what fails in one neither keeps it from the next look nor stops the other."""
        is_refresh_due = now >= self._next_refresh or self._has_news(now)
        if is_refresh_due:
            self._last_refresh, self._next_refresh = now, now + _REFRESH
        for group in self._groups:
            try:
                if is_refresh_due:
                    group.refresh()
                group.look(now)
            except OSError as error:
                self._remind(error, now)
                self._next_refresh = min(self._next_refresh, now + _RETRY)

    def _has_news(self, now: float) -> bool:
        """Return whether something was announced, and the last look at it is long enough ago."""
        links = [link for group in self._groups for link in group.list_links()]
        try:
            has_news = self._events is not None and self._events.has_news(links, 0 in links)
        except OSError as error:
            self._remind(error, now)
            has_news = True
        if has_news:
            self._next_refresh = min(self._next_refresh, self._last_refresh + _PAUSE)
        return now >= self._next_refresh

    def _remind(self, error: CniError | OSError, now: float) -> None:
        what = error.msg if isinstance(error, CniError) else error
        self._journal.remind(f"routers: cannot look at them: {what}", now)

    # The configuration

    def _reload(self) -> None:
        """Read the configuration if it is another one; one with mistakes changes nothing."""
        file = _identify_file(self._path)
        if file == self._file:
            return
        routers: list[RouterSettings] = []
        if file is not None:
            # Not at the top: YAML is only for those who have routers.
            from shibafu.watch.routers.config import read_router_config

            try:
                routers = read_router_config(self._path)
            except DocumentError as error:
                self._journal.keep_router_mistakes(str(error).splitlines())
                self._file = file
                return
            except OSError as error:
                self._journal.remind(f"routers: {self._path}: {error.strerror}", time.monotonic())
                return
        self._journal.keep_router_mistakes([])
        self._follow(routers)
        self._file = file

    def _follow(self, routers: "list[RouterSettings]") -> None:
        """Watch these routers, and take back what was done for others."""
        switches = self._switches = self._switches or LinkdownSwitches()
        if not routers and not switches.is_in_use and not self._groups:
            return
        if not self._groups:
            self._events = RouterEvents()
            self._groups = [
                RouterGroup(family, switches, self._journal, self._is_dry_run)
                for family in (AF_INET, AF_INET6)
            ]
        for group, family in zip(self._groups, (AF_INET, AF_INET6), strict=True):
            group.follow([router for router in routers if router.family == family])
        self._next_refresh = 0.0
        if self._is_dry_run:
            return
        if routers:
            switches.begin()
        kept = {(4 if router.family == AF_INET else 6, router.dev) for router in routers}
        for link in switches.restore(kept):
            self._journal.note(f"routers: restored ignore_routes_with_linkdown of link {link}")
        if not routers:
            self._look_at_routers(time.monotonic())
            switches.end()
            self.close()


def _identify_file(path: str) -> object:
    """Return what changes whenever a file does; None if there is none."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
