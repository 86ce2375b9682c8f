"""shibafu-monitor, the executable.

`shibafu run -d` starts it, and returns when it says that the container is there. It stays until the
container ends: it keeps what that prints, learns the exit status, which the kernel tells a parent only, has
the container detached from its networks, takes its root file system off, and removes it if it was to be
removed. It is as lean as a plugin, not for its start but for its memory: there is one for each container.

    shibafu-monitor --runc=PATH --runc-root=DIRECTORY --ready-fd=N --lock-fd=N [--remove] DIRECTORY

DIRECTORY is the container's: a bundle with the container's name, in which this leaves

    exit        a JSON object: exitCode, 128 + N for signal N; finishedAt, in seconds since 1970
    pid         the container's process, by runc
    runc.log    what runc complained of
    log, log.1  what the container printed, and what its hooks did; see shibafu.monitor.log_writer

The container counts as running while the lock is held. When the monitor is killed, nobody reads what the
container prints: its programs get SIGPIPE, which the first of them, as init, is spared, and EPIPE.
"""

import os
import sys
import time
from fcntl import F_GETPIPE_SZ, fcntl
from select import POLLIN, poll

from shibafu.cni.directories import UMASK
from shibafu.cni.errors import CniError
from shibafu.lean.files import read_file, write_file
from shibafu.lean.json import dumps
from shibafu.lean.subprocess import find_program
from shibafu.monitor.log_writer import LogWriter
from shibafu.monitor.runc_error import read_runc_error
from shibafu.netlink.libc import load_libc_function

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_PR_SET_CHILD_SUBREAPER = 36  # include/uapi/linux/prctl.h
_MAX_PID = 32  # digits and a line's end
_PIECE = 1 << 16


class Monitor:
    """The monitor of one container.

    Args:
        directory: the container's.
        runc: how runc is called: its path and its root.
        is_removed: whether the container is removed at its end.
    """

    __slots__ = ("_directory", "_is_removed", "_log", "_name", "_output", "_runc")

    def __init__(self, directory: str, runc: "Sequence[str]", is_removed: bool) -> None:
        self._directory = directory
        self._name = directory.rpartition("/")[2]
        self._runc = runc
        self._is_removed = is_removed
        self._log = LogWriter(f"{directory}/log")
        self._output = -1

    def start(self) -> str:
        """Start the container and return what went wrong; empty when nothing did."""
        # runc ends when the container has begun: its process is ours from then on.
        load_libc_function("prctl")(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        log = f"{self._directory}/runc.log"
        options = ["--log", log, "--log-format", "json"]
        flags = ["--detach", "--pid-file", f"{self._directory}/pid", "--bundle", self._directory]
        # One pipe for standard output and error keeps their order. runc gives it to the container's user, who
        # can open it as /dev/stdout.
        self._output, written = os.pipe()
        os.set_blocking(self._output, False)
        status = self._execute(written, *self._runc, *options, "run", *flags, self._name)
        os.close(written)
        if status == 0:
            return ""
        self._keep_rest()
        return read_runc_error(log) or f"runc ended with status {status}"

    def wait(self) -> None:
        """Record what the container prints until its end, and its exit status."""
        pid = int(read_file(f"{self._directory}/pid", _MAX_PID) or b"")
        process = os.pidfd_open(pid)
        poller = poll()
        poller.register(process, POLLIN)
        poller.register(self._output, POLLIN)
        # Not until the pipe's end: what hooks have left running may have it, too, for ever.
        while process not in (ready := dict(poller.poll())):
            if self._output in ready and not self._keep(_PIECE):
                poller.unregister(self._output)
        self._keep_rest()
        status = 0
        ended = 0
        while ended != pid:
            ended, status = os.wait()
        code = os.waitstatus_to_exitcode(status)
        exit_code = 128 - code if code < 0 else code
        ended_how = {"exitCode": exit_code, "finishedAt": int(time.time())}
        write_file(f"{self._directory}/exit", dumps(ended_how).encode())

    def clean_up(self) -> None:
        """Remove what is left of a container that has ended."""
        # With its hooks of poststop, which detach it from its networks.
        log = self._log.descriptor
        self._execute(log, *self._runc, "delete", "--force", self._name)
        self._execute(log, _require("umount"), f"{self._directory}/rootfs")
        if self._is_removed:
            self._execute(log, _require("rm"), "-rf", "--one-file-system", self._directory)

    def _keep(self, size: int) -> bool:
        """Keep what was printed, up to `size` bytes; return whether more may come."""
        try:
            content = os.read(self._output, size)
        except BlockingIOError:
            return True
        self._log.write(content)
        return bool(content)

    def _keep_rest(self) -> None:
        """Keep what is in the pipe: all that the processes of a container wrote that has ended."""
        self._keep(fcntl(self._output, F_GETPIPE_SZ))

    def _execute(self, output: int, *argv: str) -> int:
        """Run a program, which prints to the descriptor `output`; return its exit status."""
        actions = [(os.POSIX_SPAWN_DUP2, output, descriptor) for descriptor in (1, 2)]
        pid = os.posix_spawn(argv[0], argv, os.environ, file_actions=actions)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _require(name: str) -> str:
    return find_program(name, os.environ.get("PATH", "")) or name


def parse_arguments(argv: "Sequence[str]") -> tuple[dict[str, str], str]:
    """Return the flags, by their names without dashes, and the directory.

    Raises:
        ValueError: something is missing.
    """
    flags = dict(word[2:].partition("=")[::2] for word in argv if word.startswith("--"))
    directories = [word for word in argv if not word.startswith("--")]
    if len(directories) != 1 or not {"runc", "runc-root", "ready-fd", "lock-fd"} <= flags.keys():
        raise ValueError("it is started by `shibafu run -d`, not by hand")
    return flags, directories[0]


def run(argv: "Sequence[str]") -> int:
    """Run a container from its start to its end; return the exit status."""
    flags, directory = parse_arguments(argv)
    ready, lock = int(flags["ready-fd"]), int(flags["lock-fd"])
    for descriptor in (ready, lock):
        os.set_inheritable(descriptor, False)
    monitor = Monitor(directory, [flags["runc"], "--root", flags["runc-root"]], "remove" in flags)
    problem = monitor.start()
    os.write(ready, problem.encode() or b"started")
    os.close(ready)
    if problem:
        return 1
    monitor.wait()
    monitor.clean_up()
    return 0


def main() -> None:
    """Run as a process."""
    os.umask(UMASK)
    try:
        sys.exit(run(sys.argv[1:]))
    except (CniError, OSError, ValueError) as error:
        sys.stderr.write(f"shibafu-monitor: {error}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
