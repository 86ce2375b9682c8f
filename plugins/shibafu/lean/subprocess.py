"""Running other programs, without the import of `subprocess` (15 ms) and without a shell.

Input and output are files in memory (memfd_create(2)) in place of pipes: neither side can block
the other however much it writes, and a grandchild that keeps its output open holds nobody up. Only
what is kept of stderr comes through a pipe, whose end tells that the program has done its work.

A program that others have written may never end. It gets a session of its own, by which it is ended with
all that it has started when it takes too long.
"""

import os
import time

# `signal` pulls in enum; typeshed knows only that one.
from _signal import (  # type: ignore[import-not-found]
    SIG_BLOCK,
    SIG_DFL,
    SIG_IGN,
    SIG_SETMASK,
    SIGCHLD,
    SIGKILL,
    SIGPIPE,
    SIGTERM,
    getsignal,
    pthread_sigmask,
    signal,
)
from fcntl import F_SETPIPE_SZ, fcntl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


# What a pipe takes unasked (pipe(7)).
_PIPE_SIZE = 65536
# A program that ends at once has ended by the last look; one that waits for the kernel has not.
_EXIT_LOOKS = 3
_EXIT_PAUSE = 0.0003
# Seconds that a program has after SIGTERM, and that the kernel has after SIGKILL.
_GRACE = 2.0
# How often to look whether a program has ended, where the kernel does not tell (before Linux 5.3).
_LOOK_PAUSE = 0.005


class Child:
    """A program that runs in parallel with this one until `wait` collects it.

    Args:
        path: the executable.
        argv: its arguments, the first being its name.
        env: its whole environment. A variable without a name, which a caller may have, is left out.
        stdin: what it reads; None when `feed` gives it that later.
        keep_stderr: whether its stderr is captured; otherwise it is this program's.
        inherit: descriptors that it has under the same numbers.
        has_session: whether it gets a session of its own, for `wait_within`.

    Raises:
        OSError: the executable cannot be started.
    """

    __slots__ = ("_mask", "_pid", "_stderr", "_stdin", "_stdout")

    def __init__(
        self,
        path: str,
        argv: list[str],
        env: "Mapping[str, str]",
        stdin: bytes | None,
        keep_stderr: bool,
        inherit: tuple[int, ...] = (),
        has_session: bool = False,
    ) -> None:
        if getsignal(SIGCHLD) == SIG_IGN:
            # Inherited from the caller; the kernel would forget the child's status.
            signal(SIGCHLD, SIG_DFL)
        # Who is told to end between its start and `wait_within` would leave it behind.
        self._mask = pthread_sigmask(SIG_BLOCK, [SIGTERM] if has_session else [])
        descriptors: list[int] = []
        try:
            self._stdin = -1
            if stdin is None:
                source, self._stdin = os.pipe()
                descriptors += [source, self._stdin]
            else:
                source = _memory_file(descriptors, "stdin")
                _write_all(source, stdin)
                os.lseek(source, 0, os.SEEK_SET)
            self._stdout = _memory_file(descriptors, "stdout")
            self._stderr = -1
            actions = [(os.POSIX_SPAWN_DUP2, source, 0), (os.POSIX_SPAWN_DUP2, self._stdout, 1)]
            if keep_stderr:
                self._stderr, stderr = os.pipe()
                descriptors += [self._stderr, stderr]
                actions.append((os.POSIX_SPAWN_DUP2, stderr, 2))
            # Onto itself: takes away close-on-exec.
            actions += [(os.POSIX_SPAWN_DUP2, descriptor, descriptor) for descriptor in inherit]
            # Python ignores SIGPIPE, and a child would inherit that.
            self._pid = os.posix_spawn(
                path,
                argv,
                {name: value for name, value in env.items() if name} if "" in env else env,
                file_actions=actions,
                setsigdef=[SIGPIPE],
                setsigmask=self._mask,
                setsid=has_session,
            )
        except BaseException:
            pthread_sigmask(SIG_SETMASK, self._mask)
            # Whatever it is, nobody else has these descriptors.
            for descriptor in descriptors:
                os.close(descriptor)
            raise
        os.close(source)
        if keep_stderr:
            os.close(stderr)

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._pid

    @property
    def complaints(self) -> int:
        """The descriptor at which its stderr is read, where that is kept."""
        return self._stderr

    def feed(self, content: bytes) -> None:
        """Give the program something to read. It has had the time to load; now it begins to work."""
        if len(content) > _PIPE_SIZE:
            try:
                # So that nobody waits until it has read most of it.
                fcntl(self._stdin, F_SETPIPE_SZ, len(content))
            except OSError:
                pass  # it is more than one user may have in pipes
        try:
            _write_all(self._stdin, content)
        except BrokenPipeError:
            pass  # it has ended already, and its status says how

    def finish_input(self) -> None:
        """Let the program know that it gets no more to read."""
        os.close(self._stdin)

    def wait(self) -> tuple[int, bytes, bytes]:
        """Wait for the end.

        Returns:
            Exit status (negative: the signal that ended it), stdout, and stderr where it is kept.
        """
        stderr = _read_pipe(self._stderr) if self._stderr >= 0 else b""
        _, status = os.waitpid(self._pid, 0)
        return os.waitstatus_to_exitcode(status), _read_all(self._stdout), stderr

    def wait_within(self, seconds: float) -> tuple[int, bytes]:
        """Wait for the end of a program that has a session of its own, and end it when it takes too long.

        It is also ended, with all that it has started, when this process is interrupted or told to end.

        Returns:
            Exit status (negative: the signal that ended it) and stdout.

        Raises:
            TimeoutError: it took longer than `seconds`, and was ended.
        """
        former = _set_handler(SIGTERM, self._die_together)
        try:
            # What has come meanwhile is delivered now.
            pthread_sigmask(SIG_SETMASK, self._mask)
            if not self._has_ended(seconds):
                raise TimeoutError
        except BaseException:
            # After Ctrl-C, too, it is not left to run alone.
            self._end()
            os.close(self._stdout)
            raise
        finally:
            _set_handler(SIGTERM, former)
        _, status = os.waitpid(self._pid, 0)
        return os.waitstatus_to_exitcode(status), _read_all(self._stdout)

    def _has_ended(self, seconds: float) -> bool:
        """Wait for the end, but leave the process to be collected: until then nobody else gets its number."""
        try:
            descriptor = os.pidfd_open(self._pid)
        except OSError:
            return self._look_for_end(seconds)
        from select import POLLIN, poll

        try:
            poller = poll()
            poller.register(descriptor, POLLIN)
            return bool(poller.poll(seconds * 1000))
        finally:
            os.close(descriptor)

    def _look_for_end(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            if time.monotonic() > deadline:
                return False
            time.sleep(_LOOK_PAUSE)
        return True

    def _end(self) -> None:
        """End the program and all of its session that has not left its process group."""
        os.killpg(self._pid, SIGTERM)
        self._has_ended(_GRACE)
        # Its children, too, when it has ended by itself: as long as it is not collected, the group is theirs.
        os.killpg(self._pid, SIGKILL)
        if self._has_ended(_GRACE):
            os.waitpid(self._pid, 0)

    def _die_together(self, number: int, _frame: object) -> None:
        os.killpg(self._pid, SIGKILL)
        signal(number, SIG_DFL)
        os.kill(os.getpid(), number)

    def wait_until_silent(self) -> bool:
        """Wait until the program has closed its output; return whether it did so without a complaint.

        What a program still waits for after that is the kernel (a netlink socket that removed rules
        is closed only when no processor can hold them any more: 10 ms), and nobody needs that wait.
        The program must be one that reports its failure on stderr, which has to be kept.
        """
        if os.read(self._stderr, 1):
            return self.wait()[0] == 0
        self.leave()
        for _ in range(_EXIT_LOOKS):
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if pid:
                return status == 0
            time.sleep(_EXIT_PAUSE)
        return True

    def withdraw(self) -> None:
        """Give a program that was to be fed no more to do, and wait until it has ended."""
        if self._stdin >= 0:
            os.close(self._stdin)
        self.wait()

    def leave(self) -> None:
        """Let the program, whose stderr is kept, end by itself: its work is done, and nobody reads on."""
        os.close(self._stdout)
        os.close(self._stderr)


def _set_handler(number: int, handler: object) -> object:
    """Set what a signal does, unless it is ignored, and return what it did."""
    former = getsignal(number)
    if former != SIG_IGN:
        try:
            signal(number, handler)
        except ValueError:
            pass  # only the main thread may, and another one's end is not the process's
    return former


def _memory_file(descriptors: list[int], name: str) -> int:
    descriptor = os.memfd_create(name)
    descriptors.append(descriptor)
    return descriptor


def _write_all(descriptor: int, content: bytes) -> None:
    while content:
        content = content[os.write(descriptor, content) :]


def _read_all(descriptor: int) -> bytes:
    size = os.fstat(descriptor).st_size
    content = os.pread(descriptor, size, 0) if size else b""
    os.close(descriptor)
    return content


def _read_pipe(descriptor: int) -> bytes:
    content = b""
    while piece := os.read(descriptor, 65536):
        content += piece
    os.close(descriptor)
    return content


def find_program(name: str, search_path: str) -> str | None:
    """Return the path of an executable from PATH's value or one of the system's directories.

    The latter because OCI hooks run with an empty environment, and the firewall's programs live in sbin.
    """
    for directory in [*search_path.split(":"), "/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"]:
        candidate = f"{directory}/{name}"
        if directory.startswith("/") and os.access(candidate, os.X_OK) and os.path.isfile(candidate):
            return candidate
    return None
