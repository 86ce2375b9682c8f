"""What containers let their root do, as probe/main.go finds it inside; where one of two lets it do more."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shibafu.container.privileges import NAMES

# What a system call ends with that is not for containers.
_DENIED = ("operation not permitted", "function not implemented")
_SAFE_OPTIONS = ("ro", "nosuid", "nodev", "noexec")
_CAPABILITY_SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
_UNLIMITED = 1 << 64
_KINDS = {"cgroup", "ipc", "mnt", "net", "pid", "user", "uts"}
# A row whose cells are others with cgroup v2, as most distributions have it.
NAMESPACES = "Namespaces of its own, with cgroup v1"
_MOUNTS = ("/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys/fs/cgroup")


@dataclass(frozen=True)
class Confinement:
    """A container's.

    Args:
        found: the probe's report.
        limits: the resource limits that a process starts with, soft and hard, by their names in proc(5).
        masked: paths that its config.json hides; they need not exist on this kernel.
        read_only: paths that it makes read-only.
        host: the namespaces of who started it, by their kinds.
    """

    found: Mapping[str, Any]
    limits: Mapping[str, tuple[int, int]]
    masked: frozenset[str]
    read_only: frozenset[str]
    host: Mapping[str, str]

    @property
    def capabilities(self) -> int:
        """The bounding set, as the kernel numbers it."""
        return int(self.found["Status"]["CapBnd"], 16)

    @property
    def max_processes(self) -> int:
        """How many processes there may be."""
        return _parse_limit(self.found["Pids"].replace("max", "unlimited"))

    @property
    def mounts(self) -> dict[str, frozenset[str]]:
        """Mount points with what makes them safe."""
        lines = [line.split() for line in self.found["Mounts"]]
        return {fields[4]: frozenset(fields[5].split(",")) & {*_SAFE_OPTIONS} for fields in lines}

    @property
    def spaces(self) -> frozenset[str]:
        """The kinds of namespaces that are its own."""
        return frozenset(kind for kind, name in self.found["Spaces"].items() if name != self.host[kind])

    @property
    def calls(self) -> frozenset[str]:
        """System calls that are not denied."""
        return frozenset(name for name, error in self.found["Calls"].items() if error not in _DENIED)

    def files(self, how: str) -> frozenset[str]:
        """Return the files of /proc and /sys that are Readable, or Writable.

        With N for numbers: the machine's devices come and go between two containers.
        """
        return frozenset(re.sub(r"\d+", "N", path) for path in self.found[how])

    @property
    def ping_groups(self) -> int:
        """How many groups may open sockets for ICMP."""
        first, last = (int(word) for word in self.found["Ping"].split())
        return max(last - first + 1, 0)


def parse_confinement(
    text: str, masked: list[str], read_only: list[str], host: Mapping[str, str]
) -> Confinement:
    """Return what a container printed: /proc/self/limits, then the probe's report in the last line."""
    *lines, report = text.splitlines()
    rows = [re.split(r"\s{2,}", line.strip()) for line in lines[1:]]
    limits = {row[0]: (_parse_limit(row[1]), _parse_limit(row[2])) for row in rows}
    return Confinement(json.loads(report), limits, frozenset(masked), frozenset(read_only), host)


def find_weaker(ours: Confinement, theirs: Confinement) -> dict[str, list[str]]:
    """Return in what respects a container is confined less than another one, with the details."""
    findings = {
        "capabilities": [
            f"{name} {ours.found['Status'][name]}"
            for name in _CAPABILITY_SETS
            if int(ours.found["Status"][name], 16) & ~int(theirs.found["Status"][name], 16)
        ],
        "system calls": sorted(ours.calls - theirs.calls),
        "no_new_privs": _if_more(theirs.found["Status"]["NoNewPrivs"], ours.found["Status"]["NoNewPrivs"]),
        "seccomp": _if_more(theirs.found["Status"]["Seccomp"], ours.found["Status"]["Seccomp"]),
        "processes": _if_more(ours.max_processes, theirs.max_processes),
        "ping": _if_more(ours.ping_groups, theirs.ping_groups),
        "readable files": sorted(ours.files("Readable") - theirs.files("Readable")),
        "writable files": sorted(ours.files("Writable") - theirs.files("Writable")),
        "masked paths": sorted(theirs.masked - ours.masked),
        "read-only paths": sorted(theirs.read_only - ours.read_only - ours.masked),
        "mounts": [
            f"{path} lacks {','.join(sorted(missing))}"
            for path, options in ours.mounts.items()
            if (missing := theirs.mounts.get(path, frozenset()) - options)
        ],
        "namespaces": sorted(theirs.spaces - ours.spaces),
        "devices": sorted({*ours.found["Devices"]} - {*theirs.found["Devices"]}),
        "shared memory": _if_more(ours.found["Shm"], theirs.found["Shm"]),
        "umask": [f"{ours.found['Umask']:o}"] if theirs.found["Umask"] & ~ours.found["Umask"] else [],
        "limits of resources": [
            f"{name} {limit}"
            for name, limit in ours.limits.items()
            if any(mine > other for mine, other in zip(limit, theirs.limits[name], strict=True))
        ],
        "volumes": [
            path
            for path, writable in ours.found["Volumes"].items()
            if writable and not theirs.found["Volumes"][path]
        ],
        "profile": [f"{ours.found['Attr']!r}"] if _has_profile(theirs) and not _has_profile(ours) else [],
    }
    return {aspect: details for aspect, details in findings.items() if details}


def describe(container: Confinement, beside: Confinement | None = None) -> dict[str, str]:
    """Return a container's column of the table in docs/security.md: rows -> cells.

    Args:
        container: what the column is about.
        beside: what the column before it is about; what is as there is called the same.
    """
    found = container.found
    capabilities = [name[4:] for number, name in enumerate(NAMES) if container.capabilities >> number & 1]
    sys = container.mounts["/sys"]
    cells = {
        "Capabilities": " ".join(sorted(capabilities)),
        "System calls (seccomp)": {"0": "all", "2": "filtered"}[found["Status"]["Seccomp"]],
        "no_new_privs": {"0": "no", "1": "yes"}[found["Status"]["NoNewPrivs"]],
        "Processes": "no limit" if container.max_processes == _UNLIMITED else str(container.max_processes),
        "Groups that may `ping` without NET_RAW": str(container.ping_groups),
        "Masked in `/proc`": _list_below("/proc/", container.masked),
        "Masked in `/sys`": _list_below("/sys/", container.masked),
        "Read-only in `/proc`": _list_below("/proc/", container.read_only),
        "`/sys`": f"its own, {'read-only' if 'ro' in sys else 'writable'}",
        NAMESPACES: " ".join(sorted(container.spaces & _KINDS)),
        "Devices": " ".join(sorted(line.split()[0][len("/dev/") :] for line in found["Devices"])),
        "Size of `/dev/shm` in bytes": str(found["Shm"]),
        "umask": f"{found['Umask']:04o}",
        **{f"`{path}`": " ".join(sorted(container.mounts[path])) for path in _MOUNTS},
        "`-v ...:ro`": {
            (False, False): "with all that is mounted below",
            (True, False): "the mount itself",
        }[tuple(found["Volumes"].values())],
    }
    if beside is not None:
        before = describe(beside)
        cells = {row: _compare(cell, before[row]) for row, cell in cells.items()}
    return cells


def _list_below(directory: str, paths: frozenset[str]) -> str:
    return " ".join(sorted(path.removeprefix(directory) for path in paths if path.startswith(directory)))


def _compare(cell: str, before: str) -> str:
    if cell == before:
        return "the same"
    more = [word for word in cell.split() if word not in before.split()]
    less = [word for word in before.split() if word not in cell.split()]
    if len(less) < len(before.split()) / 2 and len(before.split()) > 1:
        return "the same" + _join(" and", more) + _join(" without", less)
    return cell


def _join(how: str, words: list[str]) -> str:
    return f",{how} {' '.join(words)}" if words else ""


def _if_more(mine: int | str, other: int | str) -> list[str]:
    return [f"{mine}, not {other}"] if int(mine) > int(other) else []


def _has_profile(confinement: Confinement) -> bool:
    return confinement.found["Attr"].partition(" ")[0] not in ("", "unconfined", "kernel")


def _parse_limit(word: str) -> int:
    return _UNLIMITED if word == "unlimited" else int(word)
