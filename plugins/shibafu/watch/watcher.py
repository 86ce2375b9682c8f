"""The watcher's loop: it waits for announcements, lets them settle, and has networks healed."""

import errno
import os
import signal
import sys
import time
from select import POLLIN, poll

from shibafu.cni.errors import CniError
from shibafu.engine.systemd import notify
from shibafu.lean.files import publish_file
from shibafu.netlink.errors import NetlinkDecodeError
from shibafu.networks.errors import CommandError
from shibafu.watch.backoff import NEVER, Backoff
from shibafu.watch.exposition import render_watch_metrics
from shibafu.watch.failover import UplinkWatch
from shibafu.watch.gateway_duplicates import DuplicateWatch
from shibafu.watch.healer import Healer
from shibafu.watch.interests import Interests
from shibafu.watch.journal import Journal
from shibafu.watch.link_events import LinkEvents
from shibafu.watch.marks import Marks
from shibafu.watch.quiet import QuietState, has_legacy_rules
from shibafu.watch.routers.router_watch import RouterWatch
from shibafu.watch.rule_events import RuleEvents
from shibafu.watch.status import claim_watch, remove_watch_status, write_watch_status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu.networks.machine import Directories

# Seconds between looks for what is not announced, and between signs of life for the service manager.
_QUIET = 30.0
_SIGN_OF_LIFE = 10.0
# Seconds between two looks at the same network.
_PAUSE = 0.1


class Watcher:
    """Watches the networks of the namespace that the process is in.

    Args:
        directories: where networks, plugins and results are.
        journal: takes what is done.
        is_dry_run: whether to log what would be done, and change nothing.
        routers: the configuration of the host's routers, which may be missing.
        metrics: a file that metrics are written to; empty for none.
    """

    def __init__(
        self,
        directories: "Directories",
        journal: Journal,
        is_dry_run: bool,
        routers: str,
        metrics: str = "",
    ) -> None:
        self._metrics = metrics
        self._journal = journal
        self._backoff = Backoff()
        self._healer = Healer(directories, self._backoff, journal, is_dry_run, self._attend)
        self._uplinks = UplinkWatch(journal, is_dry_run)
        self._duplicates = DuplicateWatch(journal)
        self._routers = RouterWatch(routers, journal, is_dry_run)
        self._next_sign = 0.0
        self._is_dry_run = is_dry_run
        self._interests = Interests(directories.conf_dir)
        self._quiet = QuietState()
        self._marks: dict[str, Marks] = {}
        self._looked: dict[str, float] = {}
        self._is_ending = False
        self._rules: RuleEvents | None = None

    def run_once(self) -> None:
        """Look at everything once, and heal it."""
        with claim_watch():
            try:
                self._routers.look()
                self._refresh()
                self._mark_everything()
                self._heal_due(NEVER)
            finally:
                self._remove_status()

    def run(self) -> None:
        """Watch until SIGTERM or SIGINT.

        Raises:
            CommandError: another watcher is already running.
        """
        with claim_watch():
            self._signals, wakeup = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, self._note_signal)
            self._links = LinkEvents()
            self._rules = _open_rule_events()
            try:
                self._watch()
            finally:
                self._uplinks.close()
                self._remove_status()

    def _watch(self) -> None:
        poller = poll()
        poller.register(self._signals, POLLIN)
        poller.register(self._links.fileno(), POLLIN)
        if self._rules is not None:
            poller.register(self._rules.fileno(), POLLIN)
        self._routers.look()
        self._look_for_the_unannounced()
        self._mark_everything()
        self._heal_due(NEVER)
        self._write_status()
        notify("READY=1")
        now = time.monotonic()
        next_quiet = now + _QUIET
        while not self._is_ending:
            marked = (marks.due for marks in self._marks.values())
            own = (self._duplicates.due, self._routers.due)
            due = min([next_quiet, self._next_sign, *own, *marked])
            # poll(2) counts whole milliseconds, and rounds none of them up.
            wait = max(0.0, min(due, self._uplinks.due) - time.monotonic()) * 1000
            announced = poller.poll(wait + 1 if wait else 0)
            # Before what takes longer; an announcement may be of a lost carrier.
            self._uplinks.look()
            if not announced and not self._journal.is_changed and time.monotonic() < due:
                continue
            self._routers.look()
            for descriptor, _ in announced:
                self._read(descriptor)
            now = time.monotonic()
            if now >= next_quiet:
                next_quiet = now + _QUIET
                self._look_for_the_unannounced()
            self._heal_due(now)
            self._duplicates.look()
            self._write_status()
            self._give_sign()
        notify("STOPPING=1")

    def _attend(self) -> None:
        """Do what cannot wait until a look at many containers is over."""
        self._give_sign()
        if self._uplinks.due <= time.monotonic():
            self._uplinks.look()
        self._routers.look()

    def _give_sign(self) -> None:
        """Tell the service manager, now and then, that this process is at work."""
        now = time.monotonic()
        if now >= self._next_sign:
            self._next_sign = now + _SIGN_OF_LIFE
            notify("WATCHDOG=1")

    # Marking

    def _read(self, descriptor: int, is_own: bool = False) -> None:
        try:
            if descriptor == self._links.fileno():
                self._links.read(self._interests, self._mark_links, self._mark_inside)
            elif self._rules is not None and descriptor == self._rules.fileno():
                mark = self._mark_own_rules if is_own else self._mark_rules
                self._rules.read(self._interests, mark)
        except NetlinkDecodeError:
            self._mark_everything()
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            self._journal.note("announcements were lost: checking everything")
            self._interests.forget_indexes()
            self._refresh()
            self._mark_everything()

    def _mark(self, network: str, culprit: str = "") -> Marks:
        now = time.monotonic()
        marks = self._marks.get(network)
        if marks is None:
            marks = self._marks[network] = Marks(now)
        marks.touch(now, culprit)
        marks.due = max(marks.due, self._looked.get(network, 0.0) + _PAUSE)
        return marks

    def _mark_links(self, network: str, link: str, culprit: str) -> None:
        marks = self._mark(network, culprit)
        if link:
            marks.links.add(link)
        else:
            marks.has_links = True

    def _mark_inside(self, network: str, link: str) -> None:
        self._mark(network).inside.add(link)

    def _mark_rules(self, network: str, culprit: str) -> None:
        self._mark(network, culprit).has_rules = True

    def _mark_own_rules(self, network: str, _culprit: str) -> None:
        self._mark(network).has_rules = True

    def _mark_everything(self) -> None:
        for name in self._interests.networks:
            self._mark(name).mark_everything()

    def _look_for_the_unannounced(self) -> None:
        self._refresh()
        is_legacy = has_legacy_rules()
        for name, network in self._interests.networks.items():
            self._healer.check_pause(name)
            self._journal.keep_lost(name, self._interests.list_links(name), ())
            has_other_switches = self._quiet.has_other_switches(network)
            has_other_leases = self._quiet.has_other_leases(network)
            is_open = network.bridge is not None and "container" in network.bridge.watch
            if is_legacy or has_other_switches or has_other_leases or is_open:
                marks = self._mark(name)
                marks.has_inside |= is_open
                marks.has_rules |= is_legacy or has_other_switches
                marks.has_links |= has_other_switches
                marks.has_files |= has_other_leases

    def _refresh(self) -> None:
        self._interests.refresh()
        self._uplinks.follow(self._interests.networks)
        self._duplicates.follow(self._interests.networks)
        for network in self._interests.take_grown():
            self._backoff.forget(network)
        for line in self._interests.take_broken():
            self._journal.note(line)
        self._journal.settle(self._backoff.list_contested())
        self._journal.keep_gateways(self._interests.networks)

    # Healing

    def _heal_due(self, now: float) -> None:
        for name in [name for name, marks in self._marks.items() if marks.due <= now]:
            marks = self._marks.pop(name)
            self._refresh()
            network = self._interests.networks.get(name)
            if network is None:
                continue
            try:
                wait = self._healer.heal(network, marks)
            except (CniError, CommandError, OSError) as error:
                self._journal.say(name, f"cannot be looked at: {error}", now)
                wait = _QUIET
            if self._rules is not None:
                # What this look itself has changed is not to be blamed on anybody.
                self._read(self._rules.fileno(), is_own=True)
            self._looked[name] = time.monotonic()
            if wait != NEVER:
                again = self._mark(name)
                again.merge(marks)
                again.due = self._looked[name] + max(wait, _PAUSE)

    def _write_status(self) -> None:
        if not self._journal.is_changed:
            return
        self._journal.is_changed = False
        try:
            if not self._is_dry_run:
                write_watch_status(self._journal.describe())
            if self._metrics:
                publish_file(self._metrics, render_watch_metrics(self._journal.describe()).encode())
        except (CniError, OSError) as error:
            sys.stderr.write(f"shibafu: the watcher's status cannot be written: {error}\n")

    def _remove_status(self) -> None:
        """Leave no status of a watcher that has ended, only its last metrics."""
        if not self._is_dry_run:
            remove_watch_status()
        if self._metrics:
            status = self._journal.describe() | {"running": False}
            publish_file(self._metrics, render_watch_metrics(status).encode())

    def _note_signal(self, _number: int, _frame: object) -> None:
        self._is_ending = True


def _open_rule_events() -> RuleEvents | None:
    try:
        return RuleEvents()
    except OSError:
        return None  # the kernel has no nf_tables
