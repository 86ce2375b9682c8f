"""A spare process of the engine: waits for one call, does it as a plugin's process would, and ends."""

import os
import sys
import time
from _signal import (  # type: ignore[import-not-found]  # typeshed knows only `signal`, which pulls in enum
    SIG_BLOCK,
    SIG_DFL,
    SIG_IGN,
    SIG_UNBLOCK,
    SIGCHLD,
    SIGHUP,
    SIGINT,
    SIGTERM,
    default_int_handler,
    pthread_sigmask,
    set_wakeup_fd,
    signal,
)
from _socket import (
    CMSG_SPACE,
    MSG_CMSG_CLOEXEC,
    MSG_CTRUNC,
    MSG_DONTWAIT,
    MSG_NOSIGNAL,
    MSG_PEEK,
    MSG_TRUNC,
    SCM_RIGHTS,
    SHUT_WR,
    SO_RCVTIMEO,
    SOL_SOCKET,
)
from _thread import _count as count_threads
from fcntl import F_SETFL, F_SETOWN, F_SETSIG, fcntl
from struct import Struct

from shibafu.engine import protocol
from shibafu.engine.announced_output import AnnouncedOutput
from shibafu.engine.caller import Baseline, become_caller, check_caller
from shibafu.engine.entrance import Entrance
from shibafu.engine.programs import SERVED
from shibafu.engine.protocol import Call, RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket as _socket
    from collections.abc import Callable

# Seconds that a launcher has for its message, and what may still run after a call has for its end.
_PATIENCE = 2
_REST = 60.0
_PAUSE = 0.005
# Seconds between the answer and the report of the call's end: on a busy machine, the parent would otherwise
# take the processor from the launcher, or from the runtime that waits for it.
_COURTESY = 0.001
_DESCRIPTOR = Struct("=i")
_PATIENCE_TIMEVAL = Struct("@ll").pack(_PATIENCE, 0)


class Worker:
    """One spare.

    Args:
        entrance: where launchers connect.
        reports: takes what the parent is told.
        nothing: a descriptor of /dev/null, which a caller's namespace may lack.
        build: the id of this build.
        engine: where the engine is, and what it may do.
    """

    __slots__ = ("_build", "_engine", "_entrance", "_nothing", "_pid", "_reports")

    def __init__(
        self, entrance: Entrance, reports: "_socket", nothing: int, build: str, engine: Baseline
    ) -> None:
        self._entrance = entrance
        self._reports = reports
        self._nothing = nothing
        self._build = build.encode()
        self._engine = engine
        self._pid = os.getpid()

    def serve(self, is_needed: bool) -> None:
        """Wait for one call and do it; see `Entrance.accept`."""
        set_wakeup_fd(-1)
        for number in (SIGCHLD, SIGHUP, SIGTERM):
            signal(number, SIG_DFL)
        signal(SIGINT, default_int_handler)
        # What is typed at the terminal that the engine runs in is for the engine. A call may read from the
        # same one, for which processes of its session would be stopped.
        os.setsid()
        os.environ.clear()
        connection = self._entrance.accept(is_needed)
        if connection is None:
            return
        begin = time.monotonic()
        try:
            # The launcher takes as long to hear of it as it takes to see who that is.
            connection.send(protocol.READY, MSG_NOSIGNAL)
            check_caller(connection, self._engine.power)
            call = self.receive(connection)
            environment = self._take_over(call, connection)
        except RefusedError as refusal:
            self._report(protocol.EVENT_REFUSED, refusal)
            return
        except ConnectionError:
            self._report(protocol.EVENT_REFUSED, "the caller has not waited")
            return
        except OSError as error:
            self._report(protocol.EVENT_REFUSED, f"{error.strerror}")
            return
        self._report(protocol.EVENT_ACCEPTED, call.program, call.verb)
        status = run_interruptibly(SERVED[call.program], environment)
        self._answer(connection, status)
        took = int((time.monotonic() - begin) * 1e6)
        time.sleep(_COURTESY)
        self._report(protocol.EVENT_DONE, call.program, call.verb, status, took)
        wait_for_threads()

    def receive(self, connection: "_socket") -> Call:
        """Return the call that a launcher sends.

        Raises:
            RefusedError: it sends nothing, or something else.
            OSError: the kernel's refusal.
        """
        try:
            # Room for the largest message would be mapped, and most of it touched for nothing.
            size = min(_await_message(connection), protocol.MAX_MESSAGE)
            space = CMSG_SPACE(protocol.DESCRIPTORS * _DESCRIPTOR.size)
            received = connection.recvmsg(size, space, MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            raise RefusedError("the caller sends nothing") from None
        message, ancillary, flags, _ = received
        descriptors = [
            descriptor
            for level, kind, content in ancillary
            if (level, kind) == (SOL_SOCKET, SCM_RIGHTS)
            for (descriptor,) in _DESCRIPTOR.iter_unpack(content)
        ]
        if flags & (MSG_TRUNC | MSG_CTRUNC):
            raise RefusedError("malformed")
        call = protocol.parse_call(message, descriptors, self._build)
        if call.program not in SERVED:
            raise RefusedError("unknown program")
        return call

    def _take_over(self, call: Call, connection: "_socket") -> dict[str, str]:
        """Become like the caller, and accept the call: from here on nobody else will do it.

        Returns:
            The caller's environment.

        Raises:
            RefusedError: see `become_caller`.
            OSError: the kernel's refusal, or the caller has ended.
        """
        environment = become_caller(call, self._engine)
        sys.argv = [os.fsdecode(word) for word in call.argv]
        # When the launcher is killed, the connection's end is a signal that ends this process, as it would
        # have ended the plugin, and with it the delegate that it may be waiting for.
        descriptor = connection.fileno()
        fcntl(descriptor, F_SETSIG, SIGTERM)
        fcntl(descriptor, F_SETOWN, self._pid)
        fcntl(descriptor, F_SETFL, os.O_ASYNC)
        # The launcher passes interruptions on from here; they wait until the program runs.
        pthread_sigmask(SIG_BLOCK, [SIGINT])
        connection.send(protocol.ACCEPTED + _DESCRIPTOR.pack(self._pid), MSG_NOSIGNAL)
        AnnouncedOutput.launcher = connection
        return environment

    def _answer(self, connection: "_socket", status: int) -> None:
        """Report the exit status, and release everything that is the caller's."""
        descriptor = connection.fileno()
        fcntl(descriptor, F_SETFL, 0)
        for number in range(3):
            os.dup2(self._nothing, number)
        try:
            ending = protocol.INTERRUPTED if status == -SIGINT else protocol.DONE + bytes([status & 0xFF])
            connection.send(ending, MSG_NOSIGNAL)
            # What wakes the launcher up.
            connection.shutdown(SHUT_WR)
        except OSError:
            pass  # the launcher was killed meanwhile

    def _report(self, event: str, *words: object) -> None:
        try:
            self._reports.send(protocol.render_event(event, self._pid, *words), MSG_DONTWAIT | MSG_NOSIGNAL)
        except OSError:
            pass  # the parent has ended, or has too much to read: nothing that a call could wait for


def _await_message(connection: "_socket") -> int:
    """Return the size of the message that comes next.

    Raises:
        BlockingIOError: none has come in time.
    """
    # Always set: trying without waiting first costs more whenever the message has not arrived yet.
    connection.setsockopt(SOL_SOCKET, SO_RCVTIMEO, _PATIENCE_TIMEVAL)
    return connection.recv_into(bytearray(1), 1, MSG_PEEK | MSG_TRUNC)


def run_interruptibly(module: str, env: dict[str, str]) -> int:
    """Run a program as `run_program` does; return -SIGINT, which ends a process, when it was interrupted."""
    try:
        pthread_sigmask(SIG_UNBLOCK, [SIGINT])
        status = run_program(module, env)
        # From here on it is too late.
        signal(SIGINT, SIG_IGN)
    except KeyboardInterrupt:
        signal(SIGINT, SIG_IGN)
        status = -SIGINT
    return status


def run_program(module: str, env: dict[str, str]) -> int:
    """Run the `main` of a module that is loaded, and return the exit status that its process would have.

    Args:
        module: its name.
        env: the environment of that process.

    Raises:
        KeyboardInterrupt: it was interrupted.
    """
    try:
        status = sys.modules[module].main(env) or 0
    except SystemExit as ending:
        status = _end(ending.code)
    except Exception:  # whatever it is: as the interpreter ends a process of its own
        sys.excepthook(*sys.exc_info())
        status = 1
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:  # the program has given it up
                stream.flush()
        except OSError:
            status = status or 1
    return int(status)


def _end(code: object) -> int:
    """Do what the interpreter does with the argument of `sys.exit`, and return the exit status."""
    if code is None or isinstance(code, int):
        return code or 0
    if sys.stderr is not None:
        sys.stderr.write(f"{code}\n")
    return 1


def wait_for_threads() -> None:
    """Wait for what the call has left running, which is the kernel's work on links that are gone."""
    wait_until(lambda: count_threads() == 0)


def wait_until(is_over: "Callable[[], bool]") -> None:
    """Look every few milliseconds whether something is over; give up after a minute."""
    deadline = time.monotonic() + _REST
    while not is_over() and time.monotonic() < deadline:
        time.sleep(_PAUSE)
