"""The agent's loop: it takes what etcd and the kernel announce, and has each network brought up to date.

It never waits for etcd: threads of each network do. Whatever happens to it or to etcd, what the kernel has
stays, and containers go on talking to each other.
"""

import errno
import os
import signal
import time
from collections.abc import Callable, Sequence
from functools import partial
from select import POLLIN, poll

from shibafu.cni.errors import CniError
from shibafu.engine.systemd import notify
from shibafu.lean.files import publish_file
from shibafu.lean.machine_id import read_machine_id
from shibafu.netlink.errors import NetlinkDecodeError
from shibafu.netlink.socket import NetlinkSocket
from shibafu.overlay import rejoining
from shibafu.overlay.agent_metrics import render_overlay_metrics
from shibafu.overlay.agent_state import calc_state_path, claim_agent, read_start_ticks, write_agent_state
from shibafu.overlay.collisions import require_apart_from_network
from shibafu.overlay.config import OverlaySettings
from shibafu.overlay.errors import OverlayError
from shibafu.overlay.kernel_events import KernelEvents
from shibafu.overlay.messages import Crashed, Mailbox, NetworkKnown
from shibafu.overlay.network_agent import NetworkAgent
from shibafu.overlay.unfinished_files import remove_unfinished

# Seconds between looks for what is not announced, between signs of life for the service manager, and between
# writes of the state, if they succeed and if they fail.
_QUIET, _SIGN_OF_LIFE, _STATE_PAUSE, _LONG_STATE_PAUSE = 30.0, 10.0, 0.2, 2.0
# Bytes that signal.set_wakeup_fd() has written, one for each signal.
_MANY_SIGNALS = 64


class Agent:
    """The agent of all networks of a host: of the namespace that the process is in.

    Args:
        networks: the networks.
        log: takes lines for people.
        metrics: a file that metrics are written to; empty for none.
    """

    def __init__(
        self, networks: Sequence[OverlaySettings], log: Callable[[str], None], metrics: str = ""
    ) -> None:
        self._log = log
        self._metrics = metrics
        self._mailbox = Mailbox()
        self._sock = NetlinkSocket()
        self._started = time.time()
        self._is_ending = False
        # Perhaps since before it was started.
        self._has_requests = True
        self._state_due = 0.0
        self._state_trouble = ""
        machine_id = read_machine_id()
        self._networks = {
            settings.name: NetworkAgent(
                settings,
                machine_id,
                self._sock,
                partial(self._mailbox.put, settings.name),
                partial(self._log_of, settings.name),
            )
            for settings in networks
        }

    def run(self) -> None:
        """Work until SIGTERM or SIGINT. What is in the kernel and in etcd stays.

        Raises:
            AgentRunningError: another agent is already running.
        """
        with claim_agent():
            self._signals, wakeup = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
            for number in (signal.SIGINT, signal.SIGTERM, rejoining.SIGNAL):
                signal.signal(number, self._note_signal)
            self._events = KernelEvents(self._sock)
            self._remove_unfinished_files()
            try:
                for network in self._networks.values():
                    network.start()
                self._write_states()
                notify("READY=1")
                self._work()
                notify("STOPPING=1")
            finally:
                for network in self._networks.values():
                    network.end()
                self._write_states(is_running=False)

    def _work(self) -> None:
        poller = poll()
        for descriptor in (self._signals, self._events.fileno(), self._mailbox.fileno()):
            poller.register(descriptor, POLLIN)
        now = time.monotonic()
        next_quiet, next_sign = now + _QUIET, now
        while not self._is_ending:
            due = min([next_quiet, next_sign, *(network.due for network in self._networks.values())])
            if any(network.is_changed for network in self._networks.values()):
                due = min(due, self._state_due)
            # poll(2) counts whole milliseconds, and rounds none of them up.
            wait = max(0.0, due - time.monotonic()) * 1000
            poller.poll(wait + 1 if wait else 0)
            self._read_signals()
            self._take_messages()
            self._read_events()
            now = time.monotonic()
            if now >= next_quiet:
                next_quiet = now + _QUIET
                self._mark_everything()
                self._has_requests = True
            if self._has_requests:
                self._has_requests = False
                for network in self._networks.values():
                    network.take_request()
            if now >= next_sign:
                next_sign = now + _SIGN_OF_LIFE
                notify("WATCHDOG=1")
            for network in self._networks.values():
                if network.due <= now:
                    network.reconcile()
            if now >= self._state_due and any(network.is_changed for network in self._networks.values()):
                self._write_states()

    def _read_signals(self) -> None:
        try:
            os.read(self._signals, _MANY_SIGNALS)
        except BlockingIOError:
            pass  # none has come

    def _take_messages(self) -> None:
        """Take all messages that are there: changes of many hosts are one batch for the kernel."""
        for name, message in self._mailbox.take():
            if isinstance(message, Crashed):
                raise message.error
            if isinstance(message, NetworkKnown) and self._refuse_twin(name, message):
                continue
            self._networks[name].handle(message)
        for network in self._networks.values():
            network.apply_changes()

    def _refuse_twin(self, name: str, known: NetworkKnown) -> bool:
        """Refuse the later one of two networks that collide; return whether that is the one now known.

        Which of them etcd describes first does not matter: the configuration's order decides.
        """
        order = list(self._networks)
        for other, network in self._networks.items():
            if other == name or network.network is None:
                continue
            described = {name: known.network, other: network.network}
            earlier, later = sorted(described, key=order.index)
            try:
                require_apart_from_network(described[later], earlier, described[earlier])
            except OverlayError as error:
                hint = "change one of them in etcd, or remove it from the configuration"
                has_own_devices = described[later].vni != described[earlier].vni
                self._networks[later].refuse(error.message, hint, has_own_devices)
                if later == name:
                    return True
        return False

    def _read_events(self) -> None:
        try:
            for network in self._networks.values():
                outer = network.outer.index if network.outer else 0
                self._events.set_interest(network.settings.name, outer, network.devices.values())
            marked, is_outer = self._events.read()
        except NetlinkDecodeError:
            self._mark_everything()
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            self._mark_everything()
        else:
            for name in is_outer:
                self._networks[name].look_at_outer()
            for name in marked:
                self._networks[name].mark()

    def _mark_everything(self) -> None:
        for network in self._networks.values():
            network.look_at_outer()
            network.mark()

    def describe(self, is_running: bool = True) -> list[dict[str, object]]:
        """Return the states of all networks, for programs."""
        pid = os.getpid()
        whole = {
            "running": is_running,
            "pid": pid,
            "startTicks": read_start_ticks(pid),
            "started": self._started,
        }
        return [whole | network.describe() for network in self._networks.values()]

    def _write_states(self, is_running: bool = True) -> None:
        states = self.describe(is_running)
        is_written = self._write_files(states)
        self._state_due = time.monotonic() + (_STATE_PAUSE if is_written else _LONG_STATE_PAUSE)
        for network in self._networks.values() if is_written else ():
            network.is_changed = False
            # The command that made the request reads the state next.
            network.answer_request()

    def _write_files(self, states: list[dict[str, object]]) -> bool:
        """Write the states and the metrics; return whether that has succeeded."""
        trouble = ""
        try:
            for state in states:
                write_agent_state(str(state["network"]), state)
            if self._metrics:
                publish_file(self._metrics, render_overlay_metrics(states).encode())
        except (CniError, OSError) as error:
            trouble = f"the agent's state cannot be written: {error}"
        if trouble and trouble != self._state_trouble:
            self._log(trouble)
        self._state_trouble = trouble
        return not trouble

    def _remove_unfinished_files(self) -> None:
        """Remove what an agent has left that was killed while it wrote."""
        paths = [self._metrics] if self._metrics else []
        for name, network in self._networks.items():
            paths += [calc_state_path(name), network.settings.subnet_file]
        for path in paths:
            try:
                remove_unfinished(path)
            except OSError as error:
                self._log(str(error))

    def _log_of(self, network: str, line: str) -> None:
        self._log(f"{network}: {line}")

    def _note_signal(self, number: int, _frame: object) -> None:
        if number == rejoining.SIGNAL:
            self._has_requests = True
        else:
            self._is_ending = True
