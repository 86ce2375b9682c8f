"""A systemd of a test's own; see systemd.sh."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

_SCRIPT = Path(__file__).with_suffix(".sh")
_NAMESPACES = ("--mount", "--pid", "--cgroup")  # for unshare(1) and nsenter(1)
_TIMEOUT = 60


def find_cgroup() -> Path | None:
    """Return this process's control group, of version 2, if control groups can be made in it."""
    for mount in (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified")):
        if (mount / "cgroup.procs").exists():
            lines = Path("/proc/self/cgroup").read_text().splitlines()
            own = next((line[4:] for line in lines if line.startswith("0::/")), "")
            return mount / own if os.access(mount / own, os.W_OK) else None
    return None


class Systemd:
    """A service manager, in namespaces and in a control group of its own.

    Args:
        cgroup: where to make that.
        unit: the one unit that it knows.
    """

    def __init__(self, cgroup: Path, unit: Path) -> None:
        # The path of a socket in it has to be short.
        self.directory = Path(tempfile.mkdtemp(prefix="shibafu-", dir="/tmp"))
        self.cgroup = cgroup / self.directory.name
        self.unit = unit.name
        (self.directory / "units").mkdir()
        (self.directory / "units" / unit.name).write_text(unit.read_text())
        self.cgroup.mkdir()
        enter = 'echo $$ >"$0/cgroup.procs" && exec unshare "$@"'
        options = [*_NAMESPACES, "--propagation", "private", "--fork", "--kill-child"]
        self._holder = subprocess.Popen(
            ["/bin/sh", "-c", enter, self.cgroup, *options, _SCRIPT, self.directory],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == "ready\n", (self.directory / "log").read_text()
        pid = self._holder.pid
        self._init = Path(f"/proc/{pid}/task/{pid}/children").read_text().strip()

    def __enter__(self) -> "Systemd":
        return self

    def __exit__(self, *exception: object) -> None:
        assert self._holder.stdin is not None
        self._holder.stdin.close()
        self._holder.wait(_TIMEOUT)
        assert self._holder.stdout is not None
        self._holder.stdout.close()
        for directory, _, _ in os.walk(self.cgroup, topdown=False):
            os.rmdir(directory)
        shutil.rmtree(self.directory)

    @property
    def prefix(self) -> list[str]:
        """What starts a program inside."""
        return ["/usr/bin/nsenter", f"--target={self._init}", *_NAMESPACES]

    def run(self, *command: str | Path) -> str:
        """Run a program inside; return what it prints."""
        done = subprocess.run(
            [*self.prefix, *command],
            env={**os.environ, "XDG_RUNTIME_DIR": str(self.directory)},
            capture_output=True,
            text=True,
            check=False,
            timeout=_TIMEOUT,
        )
        assert done.returncode == 0, done.stdout + done.stderr + (self.directory / "log").read_text()
        return done.stdout

    def control(self, verb: str) -> None:
        """Have it do something to the unit."""
        self.run("systemctl", "--user", verb, self.unit)

    def show(self, name: str) -> str:
        """Return a property of the unit."""
        return self.run("systemctl", "--user", "show", "--value", f"--property={name}", self.unit).strip()
