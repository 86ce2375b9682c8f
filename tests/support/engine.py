"""A resident engine for tests: of a copy of the executables, which nobody else's calls go to."""

import os
import shutil
import signal
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from json import loads
from pathlib import Path
from typing import Any

from shibafu.engine.location import EngineLocation
from shibafu.engine.parent import SPARES
from support.waiting import wait_for

_VERSIONS = Path(__file__).parents[2] / "packaging/install/versions.sh"
_PATIENCE = 60.0  # seconds


def copy_executables(built: Path, home: Path, at: Path | None = None) -> Path:
    """Copy the folder of executables, and have those of the copy be at home there, as install.sh does.

    Args:
        built: the folder.
        home: where the copy is.
        at: where the copy will be when it is used, if that is another place.
    """
    shutil.copytree(built, home, symlinks=True)
    script = f'. "{_VERSIONS}" && write_programs "$0" "$1"'
    subprocess.run(["/bin/sh", "-ec", script, home, at or home], check=True, timeout=60)
    return home


def list_children(pid: int) -> list[int]:
    """Return the processes that one has started, as long as it has not collected them."""
    with suppress(FileNotFoundError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def read_status(path: str | Path) -> Any:
    """Return what the engine tells that answers at a socket.

    Raises:
        OSError: there is none.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_PATIENCE)
        connection.connect(str(path))
        content = b""
        while piece := connection.recv(65536):
            content += piece
    return loads(content)


def is_listening(path: str | Path) -> bool:
    """Say whether an engine answers at a socket."""
    try:
        return bool(read_status(path))
    except OSError:
        return False


def tally(status: Any) -> "Counter[str]":
    """Return how many calls ended in which way: `served shibafu-bridge ADD`, or `cold: REASON`."""
    ended = {
        f"{one['outcome']} {one['program']} {one['verb']}".strip(): one["count"] for one in status["calls"]
    }
    return Counter(ended | {f"cold: {one['reason']}": one["count"] for one in status["cold"]})


def assert_served(ended: "Counter[str]") -> None:
    """See that an engine did its callers' work.

    One call of a hundred may go cold after five seconds on a very busy machine, or be killed by its test; and
    one of a hundred may be that of a test whose callers are in a process namespace of their own.
    """
    apart = ended["cold: the caller is in another process namespace"]
    elsewhere = sum(count for end, count in ended.items() if end.startswith(("cold: ", "lost "))) - apart
    assert max(elsewhere, apart) <= ended.total() / 100 < ended.total(), ended


class Engine:
    """The engine of a folder, running.

    Args:
        home: the folder; see `copy_executables`.
        is_trained: whether it makes calls before those that count, which takes a moment.
        redirection: of sh(1), for its standard files.
        prefix: a program that executes its arguments, for an engine that is started somewhere else.
    """

    def __init__(
        self, home: Path, is_trained: bool = False, redirection: str = "", prefix: tuple[str, ...] = ()
    ) -> None:
        self.home = home
        self.place = EngineLocation(str(home))
        flags = [] if is_trained else ["--untrained"]
        self.process = subprocess.Popen(
            [*prefix, "/bin/sh", "-c", f'exec "$0" "$@" {redirection}', home / "shibafu-engine", *flags],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_for(self._is_listening)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Engine":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _is_listening(self) -> bool:
        assert self.process.poll() is None
        return is_listening(self.place.status)

    @property
    def pid(self) -> int:
        """The number of its first process."""
        return self.process.pid

    def close(self) -> None:
        """End it, and remove what it leaves when it was killed."""
        self.process.terminate()
        try:
            self.process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
        for path in (self.place.calls, self.place.status, self.place.lock):
            Path(path).unlink(missing_ok=True)

    def kill(self) -> None:
        """End all of its processes as a crash would."""
        self.signal_all(signal.SIGKILL)
        self.process.wait(_PATIENCE)

    def signal_all(self, number: int) -> None:
        """Send a signal to all of its processes, the first one first."""
        for pid in (self.pid, *self.processes()):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def processes(self) -> list[int]:
        """Return those that wait for calls, and those that do one."""
        return list_children(self.pid)

    def read_status(self) -> Any:
        """Return what it tells of itself."""
        return read_status(self.place.status)

    def count_busy(self) -> int:
        """Return how many calls it has accepted that have not ended."""
        return int(self.read_status()["busy"])

    def wait_until_idle(self) -> None:
        """Wait until it has nothing to do, and as many processes ready as ever."""
        wait_for(self._is_idle)

    def _is_idle(self) -> bool:
        status = self.read_status()
        # One more is there that has just done a call.
        return (status["busy"], status["spares"], len(self.processes())) == (0, SPARES, SPARES)

    @contextmanager
    def expect(self, *ends: str) -> Iterator[None]:
        """See that calls end in these ways, in the words of `tally`, and no others do."""
        before = tally(self.read_status())
        yield
        wanted = Counter(ends)
        # The last process of the engine may be about to tell how its call ended.
        with suppress(AssertionError):
            wait_for(lambda: tally(self.read_status()) - before == wanted)
        ended = tally(self.read_status()) - before
        assert ended == wanted, ended
