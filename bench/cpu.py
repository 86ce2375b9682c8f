"""CPU time of all that works for calls: of the engine, too, and of what calls leave behind."""

import os
from pathlib import Path
from time import monotonic, process_time_ns, sleep
from typing import Self

# Seconds for what calls have left behind to end.
_PATIENCE = 10.0


class CpuAccount:
    """The control group (version 2) that this process joins, and with it all that it starts from then on.

    What the kernel does for everybody, such as taking namespaces apart, is in no group.

    Raises:
        OSError: this machine has no control groups of version 2, or they cannot be made.
    """

    def __init__(self) -> None:
        self._outer = _find_own_group()
        self._group = self._outer / f"shibafu-bench-{os.getpid()}"
        self._group.mkdir()
        self._join(self._group)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._join(self._outer)
        deadline = monotonic() + _PATIENCE
        while (self._group / "cgroup.procs").read_text() and monotonic() < deadline:
            sleep(0.05)
        self._group.rmdir()

    def read(self) -> float:
        """Return the milliseconds so far, without those of this process itself."""
        words = (self._group / "cpu.stat").read_text().split()
        return int(words[words.index("usage_usec") + 1]) / 1e3 - process_time_ns() / 1e6

    @staticmethod
    def _join(group: Path) -> None:
        (group / "cgroup.procs").write_text(f"{os.getpid()}\n")


def _find_own_group() -> Path:
    """Return the directory of the group that this process is in; see cgroups(7)."""
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        mounts = [line.split() for line in file]
    mount = next((words[4] for words in mounts if words[words.index("-") + 1] == "cgroup2"), "")
    with open("/proc/self/cgroup", encoding="utf-8") as file:
        group = next((line.strip().partition("::/")[2] for line in file if line.startswith("0::")), None)
    if not mount or group is None:
        raise FileNotFoundError("no control groups of version 2")
    return Path(mount) / group
