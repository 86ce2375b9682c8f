"""What makes finding a lease and a free address cost the same however many leases there are.

    <dataDir>/.shibafu/<network>/
        stamp             the boot in which the index was made; its mtime says what it is valid for
        records/          who has which addresses, see `records`
        pages/            which addresses are taken, see `pages`
        aside             a lease that is being written

The index is a hint: what it says of a lease is verified against the lease, and it is rebuilt when
anybody else has changed the network's directory. That shows in the directory's mtime: after each
operation the directory and the stamp get the same one, which no later change by the kernel can
produce. The same comparison finds an operation that was killed before its end.
"""

import os
import time

from shibafu.cni.boot import parse_boot_id, read_boot_id
from shibafu.cni.directories import make_directory
from shibafu.lean.files import NotRegularError, open_file, write_file
from shibafu_ipam.bitmap import FilePages
from shibafu_ipam.index_records import IndexRecords
from shibafu_ipam.store import Store

# Stamps lie this many nanoseconds in the past. The kernel stamps changes with the present, cut to
# the file system's granularity (at most 2 s, and a tick of the clock), so that none can look like ours.
STAMP_LAG = 3_000_000_000
_NEVER = 0


class Index:
    """The index of one network. Its store must be locked.

    Args:
        store: the leases.
    """

    __slots__ = ("_stamp", "boot_id", "directory", "pages", "records", "stamped_at", "stamped_boot", "store")

    def __init__(self, store: Store) -> None:
        self.store = store
        self.directory = store.index_directory
        self.pages = FilePages(f"{self.directory}/pages")
        self.records = IndexRecords(store.records_directory)
        self.boot_id = read_boot_id()
        # The boot and the time of the last operation that ended; None and 0 when there is no index. An
        # empty boot is one that cannot be told.
        self.stamped_boot: str | None = None
        self.stamped_at = _NEVER
        self._stamp = -1
        self._open_stamp()

    def __enter__(self) -> "Index":
        return self

    def __exit__(self, *exception: object) -> None:
        self._close_stamp()

    # Validity

    def is_valid(self) -> bool:
        """Return whether the index was made in this boot and the directory has not been changed since."""
        return (
            self._stamp >= 0
            and self.stamped_boot == self.boot_id
            and os.stat(self.store.directory).st_mtime_ns == self.stamped_at
        )

    def is_of_earlier_boot(self) -> bool:
        """Return whether the index was certainly made in another boot than this one."""
        return bool(self.stamped_boot and self.boot_id) and self.stamped_boot != self.boot_id

    def begin(self) -> None:
        """Make the index invalid until `commit`: an index that a killed process leaves says so."""
        os.utime(self.store.directory, ns=(_NEVER, _NEVER))

    def commit(self) -> None:
        """Make the index valid, after the leases and the index have been changed alike."""
        now = _calc_stamp()
        os.utime(self.store.directory, ns=now)
        os.utime(self._stamp, ns=now)

    def write_stamp(self) -> None:
        """Say that the index is of this boot; it is valid with the next `commit`."""
        self._close_stamp()
        path = f"{self.directory}/stamp"
        write_file(path + ".new", self.boot_id.encode())
        # The kernel's time could be that of a change of the directory within the same tick of its clock.
        os.utime(path + ".new", ns=_calc_stamp())
        os.rename(path + ".new", path)
        self._open_stamp()

    def ensure_directories(self) -> None:
        """Make the index's directories, readable by root only: records name other users' containers."""
        for name in ("records", "pages"):
            path = f"{self.directory}/{name}"
            if not os.path.isdir(path):
                make_directory(path, 0o700, parents=0o700)

    def is_blocked_by(self, error: OSError) -> bool:
        """Return whether an error comes from something in the index that is not what it should be."""
        kinds = (NotRegularError, NotADirectoryError, IsADirectoryError, FileExistsError, FileNotFoundError)
        return isinstance(error, kinds) and str(error.filename).startswith(self.directory)

    def _open_stamp(self) -> None:
        try:
            self._stamp = open_file(f"{self.directory}/stamp", os.O_RDONLY)
        except (FileNotFoundError, NotADirectoryError, NotRegularError):
            return
        self.stamped_at = os.fstat(self._stamp).st_mtime_ns
        self.stamped_boot = parse_boot_id(os.read(self._stamp, 64))

    def _close_stamp(self) -> None:
        if self._stamp >= 0:
            os.close(self._stamp)
            self._stamp = -1


def _calc_stamp() -> tuple[int, int]:
    """Return atime and mtime in nanoseconds."""
    stamp = time.time_ns() - STAMP_LAG
    return stamp, stamp
