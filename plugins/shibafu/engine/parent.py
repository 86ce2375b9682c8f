"""The engine's parent: keeps spares ready, counts what they did, and ends with its installation.

It runs no call itself. Whatever happens to a call happens to the one process that has it.
"""

import gc
import os
import sys
import time
from _signal import (  # type: ignore[import-not-found]  # typeshed knows only `signal`, which pulls in enum
    SIG_IGN,
    SIG_SETMASK,
    SIGCHLD,
    SIGHUP,
    SIGINT,
    SIGKILL,
    SIGTERM,
    pthread_sigmask,
    set_wakeup_fd,
    signal,
)
from _socket import (
    AF_UNIX,
    MSG_DONTWAIT,
    MSG_NOSIGNAL,
    SOCK_CLOEXEC,
    SOCK_DGRAM,
    SOCK_SEQPACKET,
    SOCK_STREAM,
    socketpair,
)
from _socket import socket as _socket
from select import POLLIN, poll

import shibafu
from shibafu.engine import protocol
from shibafu.engine.caller import Baseline
from shibafu.engine.entrance import Entrance
from shibafu.engine.location import EngineLocation
from shibafu.engine.metrics import OUTCOME_FAILED, OUTCOME_LOST, OUTCOME_SERVED, Metrics, write_metrics
from shibafu.engine.sole_engine import bind_socket, lock_place
from shibafu.engine.systemd import is_service, notify
from shibafu.engine.warmup import rehearse_reception
from shibafu.engine.worker import Worker
from shibafu.lean.json import dumps
from shibafu.netlink.constants import CLONE_NEWNET, CLONE_NEWNS
from shibafu.netlink.libc import load_libc_function

SPARES = 4
_BACKLOG = 1024
_LARGEST_REPORT = 4096
# Seconds between looks at the installation, and between writes of the metrics.
_LOOK = 1.0
# Seconds without news of calls after which more spares are forked than the next call needs: one call is often
# followed by others, from which forking and preparing a spare would take the processor. The second is for
# calls that take long.
_QUIET, _QUIET_BUSY = 0.005, 0.1
_METRICS = 15.0
# Seconds that calls have to end when the engine ends, more than the longest delegate takes; and spares.
_DRAIN = 95.0
_DRAIN_IDLE = 2.0
# Spares that may fail between two looks before the engine gives up.
_MAX_FAILURES = 20


class Parent:
    """The engine of one installation.

    Args:
        place: where it listens.
        metrics: a file that its metrics are written to; empty for none.

    Raises:
        AlreadyRunningError: another process is that engine.
        OSError, CniError: it cannot listen.
    """

    def __init__(self, place: EngineLocation, metrics: str = "") -> None:
        self._place = place
        self._metrics_file = metrics
        self._build = place.read_build()
        self._identity = place.read_identity()
        self._started = time.time()
        self._metrics = Metrics()
        self._idle: set[int] = set()
        self._busy: dict[int, tuple[str, str, float]] = {}
        self._failures = 0
        # When a call has begun or ended, and whether the kernel has refused the last fork.
        self._last_news = 0.0
        self._is_refused = False
        self._is_ending = False
        self._is_trained = False
        place.make()
        # Everything is opened before this process leaves for the first process's namespaces.
        self._directory = os.open(place.directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._lock = lock_place(place)
        calls = bind_socket(place.calls, SOCK_SEQPACKET)
        self._status = bind_socket(place.status, SOCK_STREAM)
        self._inodes = {path: os.stat(path).st_ino for path in (place.calls, place.status, place.lock)}
        self._nothing = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        stop, self._stop_spares = os.pipe2(os.O_CLOEXEC)
        self._entrance = Entrance(calls, stop)
        self._reports, self._report_here = socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)
        self._signals, wakeup = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        set_wakeup_fd(wakeup, warn_on_full_buffer=False)
        for number in (SIGCHLD, SIGINT, SIGTERM):
            signal(number, _note)
        signal(SIGHUP, SIG_IGN)
        # Its starter may have blocked the signals that stop it, or that end a killed launcher's call.
        pthread_sigmask(SIG_SETMASK, [])

    def leave(self) -> None:
        """Go to the first process's namespaces, so that those which the engine was started in can end."""
        setns = load_libc_function("setns")
        for name, kind in (("mnt", CLONE_NEWNS), ("net", CLONE_NEWNET)):
            try:
                descriptor = os.open(f"/proc/1/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                continue  # a container without the right to look: this is as far out as it gets
            try:
                setns(descriptor, kind)
            except OSError:
                pass  # likewise
            finally:
                os.close(descriptor)
        os.chdir("/")

    def run(self, is_trained: bool) -> int:
        """Serve calls until told to end, or until another build takes this one's place.

        Args:
            is_trained: whether calls have been made before, for the status.

        Returns:
            The exit status.
        """
        self._is_trained = is_trained
        self._own = Baseline()
        if is_trained:
            rehearse_reception(self._make_worker(), self._build, self._own)
        gc.collect()
        # What is there is shared with all spares; the collector would write to each object.
        gc.freeze()
        self._entrance.listen(_BACKLOG)
        self._refill(is_quiet=True)
        self._status.listen(_BACKLOG)
        notify("READY=1")
        poller = poll()
        for descriptor in (self._reports.fileno(), self._status.fileno(), self._signals):
            poller.register(descriptor, POLLIN)
        next_look = next_metrics = time.monotonic()
        while not self._is_ending:
            ready = [descriptor for descriptor, _ in poller.poll(self._calc_pause() * 1000)]
            self._handle(ready)
            now = time.monotonic()
            if now >= next_look:
                next_look = now + _LOOK
                notify("WATCHDOG=1")
                self._look()
            if self._metrics_file and now >= next_metrics:
                next_metrics = now + _METRICS
                self._write_metrics()
            if self._failures >= _MAX_FAILURES:
                sys.stderr.write("shibafu-engine: its processes end before they have served: giving up\n")
                self._is_ending = True
        self._end()
        return 1 if self._failures >= _MAX_FAILURES else 0

    def describe(self) -> dict[str, object]:
        """Return the engine's status: what `shibafu engine status --format json` prints.

        `started` is in seconds since 1970, `seconds` since then, `memory` in bytes.
        """
        processes = [os.getpid(), *self._idle, *self._busy]
        return {
            "running": True,
            "ending": self._is_ending or self._is_replaced(),
            "home": self._place.home,
            "pid": os.getpid(),
            "version": shibafu.__version__,
            "build": self._build,
            "started": round(self._started, 3),
            "seconds": round(time.time() - self._started, 3),
            "trained": self._is_trained,
            "supervisor": "systemd" if is_service() else "",
            "spares": len(self._idle),
            "busy": len(self._busy),
            "memory": sum(map(_read_memory, processes)),
            **self._metrics.to_json(),
        }

    def _handle(self, ready: list[int]) -> None:
        now = time.monotonic()
        if self._reports.fileno() in ready:
            self._read_reports()
            self._last_news = now
        if self._signals in ready:
            self._read_signals()
            self._last_news = now
        if self._status.fileno() in ready:
            self._answer_status()
        if not self._is_ending:
            self._refill(is_quiet=now - self._last_news >= self._calc_pause())

    def _is_short(self) -> bool:
        """Return whether there are fewer processes than there should be."""
        return len(self._idle) + len(self._busy) < SPARES

    def _calc_pause(self) -> float:
        """Return after how many seconds without news of calls there is something to do."""
        if self._is_refused or not self._is_short():
            return _LOOK
        return _QUIET_BUSY if self._busy else _QUIET

    def _refill(self, is_quiet: bool) -> None:
        """Fork spares: one if there is none, and up to `SPARES` processes when it is quiet.

        There always is one, since a call may wait for others that it has started itself.

        Args:
            is_quiet: whether no call has begun or ended for a while.
        """
        while not self._idle or (is_quiet and self._is_short()):
            is_needed = not self._idle
            try:
                pid = os.fork()
            except OSError:
                self._is_refused = True
                return  # calls go cold, or wait for those that are running
            self._is_refused = False
            if pid == 0:
                self._become_spare(is_needed)
            self._idle.add(pid)

    def _become_spare(self, is_needed: bool) -> None:
        """Serve one call in this process, which has just been forked, and end it; see `Entrance.accept`."""
        try:
            for descriptor in (self._lock, self._directory, self._signals, self._stop_spares):
                os.close(descriptor)
            self._status.close()
            self._reports.close()
            gc.disable()
            self._make_worker().serve(is_needed)
            os._exit(0)
        finally:
            # Not even an exception may go up from here: that code belongs to the parent.
            os._exit(1)

    def _make_worker(self) -> Worker:
        return Worker(self._entrance, self._report_here, self._nothing, self._build, self._own)

    def _read_reports(self) -> None:
        while True:
            try:
                report = self._reports.recv(_LARGEST_REPORT, MSG_DONTWAIT)
            except BlockingIOError:
                return
            event, pid, words = protocol.parse_event(report)
            self._idle.discard(pid)
            self._failures = 0
            if event == protocol.EVENT_ACCEPTED:
                self._busy[pid] = (words[0], words[1], time.monotonic())
            elif event == protocol.EVENT_DONE:
                program, verb, status, microseconds = words
                self._busy.pop(pid, None)
                outcome = OUTCOME_SERVED if status == "0" else OUTCOME_FAILED
                self._metrics.count_call(program, verb, outcome, int(microseconds) / 1e6)
            else:
                self._metrics.count_cold(words[0])

    def _read_signals(self) -> None:
        for number in os.read(self._signals, _LARGEST_REPORT):
            self._is_ending |= number in (SIGINT, SIGTERM)
        self._reap()

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            # What it has said comes before its end.
            self._read_reports()
            if not self._is_ending:
                # It may have been woken for a launcher, and killed before or after it was told.
                self._entrance.wake_another()
            if pid in self._idle:
                self._idle.discard(pid)
                self._failures += status != 0
            lost = self._busy.pop(pid, None)
            if lost is not None:
                program, verb, begin = lost
                self._metrics.count_call(program, verb, OUTCOME_LOST, time.monotonic() - begin)

    def _answer_status(self) -> None:
        try:
            descriptor, _ = self._status._accept()  # type: ignore[attr-defined]  # what socket.accept calls
        except OSError:
            return
        connection = _socket(AF_UNIX, SOCK_STREAM, 0, descriptor)
        try:
            connection.send(dumps(self.describe()).encode() + b"\n", MSG_DONTWAIT | MSG_NOSIGNAL)
        except OSError:
            pass  # the client has gone
        finally:
            connection.close()

    def _look(self) -> None:
        """End when launchers can no longer find this engine, to make way for one that they find."""
        # Those that fail do so at once.
        self._failures = 0
        if self._is_replaced():
            sys.stderr.write(f"shibafu-engine: another build is in {self._place.home}, or none: ending\n")
        elif not self._is_there(self._place.calls):
            sys.stderr.write(f"shibafu-engine: {self._place.calls} has been removed: ending\n")
        else:
            return
        self._is_ending = True

    def _is_replaced(self) -> bool:
        """Return whether the executables are no longer those that this engine is of."""
        return self._place.read_identity() != self._identity

    def _is_there(self, path: str) -> bool:
        """Return whether a file of this engine's is where it was made, wherever this process is now."""
        try:
            found = os.stat(path.rpartition("/")[2], dir_fd=self._directory, follow_symlinks=False)
        except OSError:
            return False
        return found.st_ino == self._inodes[path]

    def _write_metrics(self) -> None:
        try:
            write_metrics(self._metrics_file, self.describe())
        except OSError as error:
            sys.stderr.write(f"shibafu-engine: cannot write {self._metrics_file}: {error.strerror}\n")

    def _end(self) -> None:
        """Take no more calls, which go cold from here on, and wait for those that are running.

        Requests for the status are answered until then, so that clients can wait for the end. A service only
        waits for its spares: its successor is to start at once, and its calls need nobody to finish.
        """
        notify("STOPPING=1")
        self._unlink(self._place.calls)
        os.close(self._stop_spares)
        self._entrance.close()
        now = time.monotonic()
        deadline, deadline_idle = now + _DRAIN, now + _DRAIN_IDLE
        poller = poll()
        for descriptor in (self._reports.fileno(), self._status.fileno(), self._signals):
            poller.register(descriptor, POLLIN)
        self._reap()
        while (self._idle or (self._busy and not is_service())) and (now := time.monotonic()) < deadline:
            self._handle([descriptor for descriptor, _ in poller.poll(100)])
            notify("WATCHDOG=1")
            if now > deadline_idle:
                # Stopped, for example: nobody would ever end those.
                for pid in self._idle:
                    os.kill(pid, SIGKILL)
        if self._busy and not is_service():
            sys.stderr.write(f"shibafu-engine: ended calls that took {_DRAIN:g} seconds: {len(self._busy)}\n")
            for pid in self._busy:
                os.kill(pid, SIGKILL)
        if self._metrics_file:
            self._write_metrics()
        self._unlink(self._place.status)
        # Last: from here on another engine may be this one's successor.
        self._unlink(self._place.lock)

    def _unlink(self, path: str) -> None:
        """Remove a file of this engine's, unless another engine has put its own there."""
        if self._is_there(path):
            try:
                os.unlink(path.rpartition("/")[2], dir_fd=self._directory)
            except OSError:
                pass  # just now, or /run is read-only


def _note(_number: int, _frame: object) -> None:
    """Do nothing: a signal that has a handler is written to the wakeup descriptor."""


def _read_memory(pid: int) -> int:
    """Return a process's memory in bytes, with its share of what is shared; 0 if it has ended."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb", buffering=0) as file:
            lines = file.read().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(b"Pss:"))
