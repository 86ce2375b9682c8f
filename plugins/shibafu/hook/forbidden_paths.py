"""What a path must not lead through or to: where the container can write, and files of the host's own."""

import os
from stat import S_ISDIR

from shibafu.cni.errors import IO_FAILURE, CniError
from shibafu.hook.mounts import MountTable, identify_mount, is_within, read_mounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from shibafu.hook.container import Source
    from shibafu.hook.mounts import Location

    # What a directory or file is, whatever it is called: device and inode.
    Identity = tuple[int, int]


class ForbiddenPaths:
    """Directories and files by identity, and where a container can write by location, at any depth below.

    Args:
        identities: of directories and files.
        mounts: what locations are looked up in; None to look at identities only.
        locations: of directories, with all that is in them.
    """

    __slots__ = ("_identities", "_locations", "_mounts")

    def __init__(
        self,
        identities: "Iterable[Identity]",
        mounts: MountTable | None = None,
        locations: "Iterable[Location]" = (),
    ) -> None:
        self._identities = frozenset(identities)
        self._mounts = mounts
        self._locations = frozenset(locations)

    def covers(self, descriptor: int) -> bool:
        """Return whether an open file or directory is, or lies, in it.

        Raises:
            CniError: its location cannot be found out.
        """
        if identify(os.fstat(descriptor)) in self._identities:
            return True
        if self._mounts is None:
            return False
        above = self._mounts.find_above(*identify_mount(descriptor))
        return any(is_within(location, self._locations) for location in above)

    def with_locations(self, sources: "Iterable[Source]") -> "ForbiddenPaths":
        """Return it with everything that a container can write to, through any mount.

        Raises:
            CniError: the locations cannot be found out.
        """
        mounts = read_mounts()
        found: set[Location] = set()
        for source in sources:
            found.update(_find_locations(source, mounts))
        return ForbiddenPaths(self._identities, mounts, found)


def identify(status: os.stat_result) -> "Identity":
    """Return what a file is, whatever it is called."""
    return status.st_dev, status.st_ino


def find_identity(path: str) -> "Identity | None":
    """Return what lies at a path; None when nothing does."""
    try:
        return identify(os.stat(path))
    except (OSError, ValueError):
        return None


def _find_locations(source: "Source", mounts: MountTable) -> "list[Location]":
    """Return the locations of what a container can write to by one of its mounts; none for a file."""
    try:
        descriptor = os.open(source.path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (OSError, ValueError) as error:
        raise CniError(IO_FAILURE, f"cannot find out where {source.path!r} is: {error}") from None
    try:
        if not S_ISDIR(os.fstat(descriptor).st_mode):
            return []
        number, path = identify_mount(descriptor)
        own = [mounts.locate(number, path)] if source.is_writable else []
        return own + (mounts.find_beneath(number, path) if source.is_deep else [])
    finally:
        os.close(descriptor)
