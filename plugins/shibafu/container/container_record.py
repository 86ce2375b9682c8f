"""A container's directory: what it contains, and whether the container is running.

<data directory>/containers/<name>/
container.json        what was asked for
config.json           the bundle
rootfs/ upper/ work/  its root file system, and the layer that it writes to
hosts, hostname, ...  files of its /etc
log, log.1            what it printed, if it runs in the background; see shibafu.monitor.log_writer
lock                  held by the process that runs it, as long as it runs
exit pid runc.log     see shibafu.monitor
"""

import fcntl
import json
import os
from dataclasses import dataclass
from pathlib import Path

from shibafu.container.errors import ContainerError
from shibafu.container.specification import Specification, load_specification
from shibafu.lean.files import NotRegularError, open_file, read_file

# Not below /run/shibafu: that has a directory for each network namespace.
ROOT = "/run/shibafu-runc"
_RUNC_ROOT = "/run/runc"
_OURS, _NOBODY = "ours", "nobody's"
_MAX_FILE = 4096


def find_root(bundle: Path) -> str:
    """Return the root of runc in which the container of a bundle is; empty when runc does not know it."""
    return next((root for root in (ROOT, _RUNC_ROOT) if _find_owner(root, bundle) == _OURS), "")


def require_free_name(bundle: Path) -> None:
    """Refuse the name of a bundle if it is the name of another container of runc.

    It is not only runc that would take one for the other: networks know containers by their names, too.

    Raises:
        ContainerError: there is one.
    """
    for root in (ROOT, _RUNC_ROOT):
        owner = _find_owner(root, bundle)
        if owner not in (_OURS, _NOBODY):
            raise ContainerError(
                f"runc already has another container {bundle.name}, {owner}",
                f"choose another name, or inspect that container: runc --root {root} state {bundle.name}",
            )


def _find_owner(root: str, bundle: Path) -> str:
    """Return whose the state of the bundle's name is, in words."""
    directory = f"{root}/{bundle.name}"
    try:
        with open(f"{directory}/state.json", "rb") as file:
            labels = [str(label).partition("=") for label in json.load(file)["config"]["labels"]]
        found = next(value for key, _, value in labels if key == "bundle")
    except (OSError, ValueError, KeyError, TypeError, StopIteration):
        if not os.path.isdir(directory):
            return _NOBODY
        # What a runc leaves that was killed early. In our root nobody else's can be.
        return _OURS if root == ROOT else "which cannot be inspected"
    return _OURS if os.path.realpath(found) == os.path.realpath(bundle) else f"of the bundle {found}"


@dataclass(frozen=True)
class Status:
    """How a container is.

    Args:
        state: `running`, `exited`, `created`: it never ran, or `killed`: nobody saw its end.
        pid: its process; 0 when it has none.
        exit_code: of its program; None when it is not known.
        since: when it began or ended, seconds since 1970.
    """

    state: str
    pid: int = 0
    exit_code: int | None = None
    since: float = 0


class ContainerRecord:
    """A container on this machine.

    Args:
        directory: its directory, called by its name.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @property
    def name(self) -> str:
        """The container's name."""
        return self.directory.name

    @property
    def log(self) -> Path:
        """What it printed last in the background; see `shibafu.container.log_reader` for all of it."""
        return self.directory / "log"

    def load(self) -> Specification:
        """Return what was asked for; see `load_specification`."""
        return load_specification(self.directory / "container.json")

    def try_lock(self) -> int | None:
        """Return a descriptor that holds the container's lock; None if it is running, or gone."""
        try:
            descriptor = open_file(f"{self.directory}/lock", os.O_RDWR | os.O_CREAT)
        except FileNotFoundError:
            return None
        except NotRegularError:
            # Its directory stands for it, so that the container can be seen and removed.
            descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return descriptor

    def is_held(self) -> bool:
        """Return whether a process runs the container."""
        descriptor = self.try_lock()
        if descriptor is not None:
            os.close(descriptor)
        return descriptor is None and self.directory.exists()

    def runc_root(self) -> str:
        """Return the root in which runc knows the container; empty when it does not."""
        return find_root(self.directory)

    def calc_status(self) -> Status:
        """Return how the container is."""
        pid = self._read_pid()
        is_alive = pid > 0 and _is_running(pid) and bool(self.runc_root())
        if self.is_held() or is_alive:
            # While it starts, it has no process: its bundle was written then.
            since = _mtime(self.directory / "pid") or _mtime(self.directory / "config.json")
            return Status("running", pid if is_alive else 0, since=since or _mtime(self.directory / "lock"))
        try:
            ended = json.loads(read_file(f"{self.directory}/exit", _MAX_FILE) or b"")
            return Status("exited", exit_code=int(ended["exitCode"]), since=float(ended["finishedAt"]))
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            began = _mtime(self.directory / "pid")
            return Status("killed" if began else "created", since=began or _mtime(self.directory / "lock"))

    def _read_pid(self) -> int:
        try:
            return int(read_file(f"{self.directory}/pid", _MAX_FILE) or b"")
        except (OSError, ValueError):
            return 0


def _is_running(pid: int) -> bool:
    """Return whether a process has not ended, even if nobody reaps it (proc_pid_stat(5))."""
    try:
        stat = read_file(f"/proc/{pid}/stat", _MAX_FILE) or b""
    except OSError:
        return False
    # The program's name in parentheses may have such characters itself.
    return stat.rpartition(b")")[2].split()[:1] not in ([], [b"Z"], [b"X"])


def _mtime(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0
