"""Starting programs and measuring them from outside: what a runtime waits for."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from tempfile import NamedTemporaryFile
from time import perf_counter_ns

_TIME = "/usr/bin/time"


class Failed(Exception):
    """A program that is measured did not do what it was asked to."""


@dataclass(frozen=True)
class Sample:
    """One run of a program.

    Args:
        wall: milliseconds from just before it was started until its exit was collected.
        output: what it printed.
    """

    wall: float
    output: bytes


class Started:
    """A program that was started; its files are in memory, so that no pipe is waited for.

    Args:
        argv: the program, by its path, and its arguments.
        env: its whole environment.
        stdin: what it reads.

    Attributes:
        pid: its process.
    """

    def __init__(self, argv: list[str], env: Mapping[str, str], stdin: bytes = b"") -> None:
        self.argv = argv
        self._files = [os.memfd_create(name, os.MFD_CLOEXEC) for name in ("stdin", "stdout", "stderr")]
        os.write(self._files[0], stdin)
        os.lseek(self._files[0], 0, os.SEEK_SET)
        actions = [(os.POSIX_SPAWN_DUP2, file, number) for number, file in enumerate(self._files)]
        self._begin = perf_counter_ns()
        self.pid = os.posix_spawn(argv[0], argv, env, file_actions=actions)

    def has_ended(self) -> bool:
        """Return whether it has exited; it is to be waited for all the same."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def wait(self) -> Sample:
        """Wait until it has exited.

        Raises:
            Failed: with another status than 0.
        """
        _, status = os.waitpid(self.pid, 0)
        wall = (perf_counter_ns() - self._begin) / 1e6
        output, error = (os.pread(file, 1 << 24, 0) for file in self._files[1:])
        for file in self._files:
            os.close(file)
        if status != 0:
            said = (output + error).decode(errors="replace")
            raise Failed(f"{' '.join(self.argv)}: status {os.waitstatus_to_exitcode(status)}: {said}")
        return Sample(wall, output)


def run(argv: list[str], env: Mapping[str, str] | None = None, stdin: bytes = b"") -> Sample:
    """Run a program, in the environment of this one unless another is given.

    Raises:
        Failed: it exited with another status than 0.
    """
    return Started(argv, os.environ if env is None else env, stdin).wait()


def measure_peak(argv: list[str], env: Mapping[str, str], stdin: bytes) -> tuple[float, bytes]:
    """Run a program and return the largest resident set, in MiB, of it or a child, and what it printed.

    The kernel counts to a process what its memory was before exec, which is its parent's. Hence the parent
    is time(1) here, which is smaller than anything that is measured.

    Raises:
        Failed: it exited with another status than 0.
    """
    with NamedTemporaryFile() as answer:
        sample = run([_TIME, "--format", "%M", "--output", answer.name, *argv], env, stdin)
        return int(answer.read()) / 1024, sample.output
