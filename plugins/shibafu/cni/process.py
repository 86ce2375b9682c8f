"""Running other programs, without the import of `subprocess` (15 ms) and without a shell.

Input and output are files in memory (memfd_create(2)) in place of pipes: neither side can block
the other however much it writes, and a grandchild that keeps its output open holds nobody up.
"""

import os

# `signal` pulls in enum; typeshed knows only that one.
from _signal import SIG_DFL, SIG_IGN, SIGCHLD, SIGPIPE, getsignal, signal  # type: ignore[import-not-found]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class Child:
    """A program that runs beside this one until `wait` collects it.

    Args:
        path: the executable.
        argv: its arguments, the first being its name.
        env: its whole environment.
        stdin: what it reads.
        keep_stderr: whether its stderr is captured; otherwise it is this program's.

    Raises:
        OSError: the executable cannot be started.
    """

    __slots__ = ("_pid", "_stderr", "_stdout")

    def __init__(
        self, path: str, argv: list[str], env: "Mapping[str, str]", stdin: bytes, keep_stderr: bool
    ) -> None:
        if getsignal(SIGCHLD) == SIG_IGN:
            # Inherited from the caller; the kernel would forget the child's status.
            signal(SIGCHLD, SIG_DFL)
        descriptors: list[int] = []
        try:
            source = _memory_file(descriptors, "stdin")
            _write_all(source, stdin)
            os.lseek(source, 0, os.SEEK_SET)
            self._stdout = _memory_file(descriptors, "stdout")
            self._stderr = _memory_file(descriptors, "stderr") if keep_stderr else -1
            actions = [(os.POSIX_SPAWN_DUP2, source, 0), (os.POSIX_SPAWN_DUP2, self._stdout, 1)]
            if keep_stderr:
                actions.append((os.POSIX_SPAWN_DUP2, self._stderr, 2))
            # Python ignores SIGPIPE, and a child would inherit that.
            self._pid = os.posix_spawn(path, argv, env, file_actions=actions, setsigdef=[SIGPIPE])
        except BaseException:
            for descriptor in descriptors:
                os.close(descriptor)
            raise
        os.close(source)

    def wait(self) -> tuple[int, bytes, bytes]:
        """Wait for the end.

        Returns:
            Exit status (negative: the signal that ended it), stdout, and stderr where it is kept.
        """
        _, status = os.waitpid(self._pid, 0)
        stderr = _read_all(self._stderr) if self._stderr >= 0 else b""
        return os.waitstatus_to_exitcode(status), _read_all(self._stdout), stderr


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


def find_program(name: str, search_path: str) -> str | None:
    """Return the path of an executable from PATH's value or one of the system's directories.

    The latter because OCI hooks run with an empty environment, and the firewall's programs live in sbin.
    """
    for directory in [*search_path.split(":"), "/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"]:
        candidate = f"{directory}/{name}"
        if directory.startswith("/") and os.path.isfile(candidate) and os.access(candidate, os.X_OK):
            return candidate
    return None
