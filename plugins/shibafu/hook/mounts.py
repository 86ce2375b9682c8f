"""Where files physically lie, whichever mounts lead to them: /proc/self/mountinfo (proc_pid_mountinfo(5)).

A directory can be mounted at several places, so that one path says nothing of what another one reaches.
A location does: the file system's device, and the path inside of that file system.
"""

import os

from shibafu.cni.errors import IO_FAILURE, CniError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    # A file system by its device, MAJOR:MINOR, and the names that lead from its own root to a file.
    Location = tuple[str, tuple[str, ...]]

_LEAST_FIELDS = 10  # without optional ones


class Mount:
    """A line of mountinfo.

    Args:
        parent: the ID of the mount that it lies on; its own, or one that is not listed, for the topmost.
        location: its root.
        point: the names that lead from the process's root to it.
    """

    __slots__ = ("location", "parent", "point")

    def __init__(self, parent: int, location: "Location", point: "tuple[str, ...]") -> None:
        self.parent = parent
        self.location = location
        self.point = point


class MountTable:
    """The mounts of a process.

    Args:
        text: mountinfo.

    Raises:
        CniError: a line is malformed.
    """

    def __init__(self, text: bytes) -> None:
        self._mounts = dict(_parse_line(line) for line in text.split(b"\n") if line)

    def locate(self, mount: int, path: str) -> "Location":
        """Return where a file lies.

        Args:
            mount: the ID of the mount that it is in; there may be several at one place.
            path: its path, as the kernel tells it of an open file.

        Raises:
            CniError: that mount is not in the table, or not above the path.
        """
        return self._locate(mount, _split(path))

    def find_above(self, mount: int, path: str) -> "list[Location]":
        """Return where a file is, and everything that the mounts on the way to it are mounted on.

        Raises:
            CniError: as `locate`.
        """
        names = _split(path)
        found = []
        for _ in range(len(self._mounts) + 1):  # not for ever, whatever the table says
            found.append(self._locate(mount, names))
            names, lower = self._mounts[mount].point, self._mounts[mount].parent
            if lower == mount or lower not in self._mounts:
                return found
            mount = lower
        raise CniError(IO_FAILURE, "/proc/self/mountinfo has mounts on top of each other")

    def find_beneath(self, mount: int, path: str) -> "list[Location]":
        """Return what is mounted below a directory, at any depth, as a recursive bind mount of it has it.

        Raises:
            CniError: as `locate`.
        """
        names = _split(path)
        self._locate(mount, names)
        upper: dict[int, list[int]] = {}
        for number, entry in self._mounts.items():
            if entry.parent != number:
                upper.setdefault(entry.parent, []).append(number)
        rest = [number for number in upper.get(mount, ()) if _is_prefix(names, self._mounts[number].point)]
        found = []
        while rest:
            number = rest.pop()
            found.append(self._mounts[number].location)
            rest += upper.pop(number, ())
        return found

    def _locate(self, number: int, names: "tuple[str, ...]") -> "Location":
        mount = self._mounts.get(number)
        if mount is None or not _is_prefix(mount.point, names):
            raise CniError(IO_FAILURE, f"/proc/self/mountinfo does not show where /{'/'.join(names)} is")
        device, root = mount.location
        return device, root + names[len(mount.point) :]


def read_mounts(path: str = "/proc/self/mountinfo") -> MountTable:
    """Read the mounts of this process.

    Raises:
        CniError: they cannot be read, or are malformed.
    """
    try:
        with open(path, "rb") as file:
            return MountTable(file.read())
    except OSError as error:
        raise CniError(IO_FAILURE, f"cannot read {path}: {error.strerror}") from None


def identify_mount(descriptor: int) -> tuple[int, str]:
    """Return an open file's mount and path, as `MountTable` takes them.

    Raises:
        CniError: the kernel does not show them.
    """
    try:
        with open(f"/proc/self/fdinfo/{descriptor}", "rb") as file:
            fields = dict(line.split(b":", 1) for line in file.read().splitlines() if b":" in line)
        return int(fields[b"mnt_id"]), os.readlink(f"/proc/self/fd/{descriptor}")
    except (OSError, KeyError, ValueError) as error:
        raise CniError(IO_FAILURE, f"/proc does not show where a file is: {error}") from None


def is_within(location: "Location", tops: "Iterable[Location]") -> bool:
    """Return whether a file is, or lies below, one of several."""
    return any(location[0] == device and _is_prefix(names, location[1]) for device, names in tops)


def _parse_line(line: bytes) -> tuple[int, Mount]:
    fields = line.split(b" ")
    try:
        number, parent, device, root, point = fields[:5]
        if len(fields) < _LEAST_FIELDS or b"-" not in fields[6:] or not point.startswith(b"/"):
            raise ValueError(point)
        location = (device.decode("ascii"), _split(_decode(root)))
        return int(number), Mount(int(parent), location, _split(_decode(point)))
    except ValueError:
        raise CniError(IO_FAILURE, f"/proc/self/mountinfo has a malformed line: {line[:80]!r}") from None


def _decode(field: bytes) -> str:
    """Return a path in which blanks and the like are octal numbers behind backslashes."""
    return os.fsdecode(b"".join(_unescape(field)))


def _unescape(field: bytes) -> "Iterator[bytes]":
    plain, *escaped = field.split(b"\\")
    yield plain
    for part in escaped:
        yield bytes([int(part[:3], 8)])
        yield part[3:]


def _split(path: str) -> tuple[str, ...]:
    return tuple(name for name in path.split("/") if name)


def _is_prefix(names: tuple[str, ...], longer: tuple[str, ...]) -> bool:
    return longer[: len(names)] == names
